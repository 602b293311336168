//! What layers take on disk, and which images have them.

use rocker_types::{DiffId, Digest};
use rusqlite::params;

use super::DurableDb;
use crate::DbError;
use crate::live::{parse, strings};

impl DurableDb {
    /// Layers of which nobody has measured what they take on disk.
    ///
    /// # Errors
    ///
    /// [`DbError::Query`] and [`DbError::Corrupt`].
    pub fn unmeasured_layers(&self) -> Result<Vec<DiffId>, DbError> {
        let sql = "SELECT diff_id FROM layers WHERE disk_bytes IS NULL ORDER BY diff_id";
        let ids = strings(&self.db, sql, &[])?;
        ids.into_iter().map(|id| parse("a diff id", id)).collect()
    }

    /// Notes what layers take on disk, in bytes; they never change.
    ///
    /// # Errors
    ///
    /// [`DbError::Query`].
    pub fn record_measures(&mut self, measures: &[(DiffId, u64)]) -> Result<(), DbError> {
        let failed = DbError::query("record what layers take");
        let tx = self.begin()?;
        for (layer, bytes) in measures {
            tx.execute(
                "UPDATE layers SET disk_bytes = ?2 WHERE diff_id = ?1",
                params![layer.to_string(), i64::try_from(*bytes).unwrap_or(i64::MAX)],
            )
            .map_err(&failed)?;
        }
        tx.commit().map_err(failed)
    }

    /// What each layer takes on disk, in bytes, as far as that was measured.
    ///
    /// # Errors
    ///
    /// [`DbError::Query`] and [`DbError::Corrupt`].
    pub fn measures(&self) -> Result<Vec<(DiffId, u64)>, DbError> {
        let failed = DbError::query("read what layers take");
        let sql = "SELECT diff_id, coalesce(disk_bytes, 0) FROM layers";
        let mut statement = self.db.prepare(sql).map_err(&failed)?;
        let rows = statement
            .query_map([], |row| {
                Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?))
            })
            .map_err(&failed)?;
        rows.map(|row| {
            let (layer, bytes) = row.map_err(&failed)?;
            Ok((
                parse("a diff id", layer)?,
                u64::try_from(bytes).unwrap_or(0),
            ))
        })
        .collect()
    }

    /// Every image with every layer that it has, each pair once.
    ///
    /// # Errors
    ///
    /// [`DbError::Query`] and [`DbError::Corrupt`].
    pub fn layers_of_images(&self) -> Result<Vec<(Digest, DiffId)>, DbError> {
        let failed = DbError::query("read layers of images");
        let sql = "SELECT DISTINCT image_id, diff_id FROM image_layers ORDER BY image_id";
        let mut statement = self.db.prepare(sql).map_err(&failed)?;
        let rows = statement
            .query_map([], |row| {
                Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))
            })
            .map_err(&failed)?;
        rows.map(|row| {
            let (image, layer) = row.map_err(&failed)?;
            Ok((parse("an image id", image)?, parse("a diff id", layer)?))
        })
        .collect()
    }
}
