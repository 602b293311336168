//! Volumes.

use std::collections::BTreeMap;

use rocker_types::VolumeName;
use rusqlite::params;

use super::{DurableDb, count_change};
use crate::DbError;
use crate::live::parse;

/// A volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeRow {
    /// Its name.
    pub name: VolumeName,
    /// Nanoseconds since 1970.
    pub created_ns: i64,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Whether it was made for one container and has no name of a person's choice.
    pub anonymous: bool,
}

impl DurableDb {
    /// Records a volume unless it is there; `false` when it was.
    ///
    /// # Errors
    ///
    /// [`DbError::Query`].
    pub fn ensure_volume(&mut self, volume: &VolumeRow) -> Result<bool, DbError> {
        let labels = serde_json::to_string(&volume.labels).unwrap_or_default();
        let failed = DbError::query("record a volume");
        let tx = self.begin()?;
        let rows = tx
            .execute(
                "INSERT OR IGNORE INTO volumes(name, created_ns, labels, anonymous) VALUES(?1, ?2, ?3, ?4)",
                params![
                    volume.name.as_str(),
                    volume.created_ns,
                    labels,
                    volume.anonymous
                ],
            )
            .map_err(&failed)?;
        if rows > 0 {
            count_change(&tx)?;
        }
        tx.commit().map_err(failed)?;
        Ok(rows > 0)
    }

    /// Every volume by name.
    ///
    /// # Errors
    ///
    /// [`DbError::Query`] and [`DbError::Corrupt`].
    pub fn volumes(&self) -> Result<Vec<VolumeRow>, DbError> {
        let failed = DbError::query("read volumes");
        let mut statement = self
            .db
            .prepare("SELECT name, created_ns, labels, anonymous FROM volumes ORDER BY name")
            .map_err(&failed)?;
        let rows = statement
            .query_map([], |row| {
                Ok((
                    row.get::<_, String>(0)?,
                    row.get(1)?,
                    row.get::<_, String>(2)?,
                    row.get(3)?,
                ))
            })
            .map_err(&failed)?;
        rows.map(|row| {
            let (name, created_ns, labels, anonymous) = row.map_err(&failed)?;
            let labels = serde_json::from_str(&labels).map_err(|_| DbError::Corrupt {
                what: "labels",
                value: labels,
            })?;
            Ok(VolumeRow {
                name: parse("a volume name", name)?,
                created_ns,
                labels,
                anonymous,
            })
        })
        .collect()
    }

    /// The volume of this name.
    ///
    /// # Errors
    ///
    /// [`DbError::Query`] and [`DbError::Corrupt`].
    pub fn volume(&self, name: &VolumeName) -> Result<Option<VolumeRow>, DbError> {
        Ok(self
            .volumes()?
            .into_iter()
            .find(|volume| volume.name == *name))
    }

    /// Forgets a volume; `false` when there was none.
    ///
    /// # Errors
    ///
    /// [`DbError::Query`].
    pub fn delete_volume(&mut self, name: &VolumeName) -> Result<bool, DbError> {
        let failed = DbError::query("forget a volume");
        let tx = self.begin()?;
        let rows = tx
            .execute("DELETE FROM volumes WHERE name = ?1", [name.as_str()])
            .map_err(&failed)?;
        count_change(&tx)?;
        tx.commit().map_err(failed)?;
        Ok(rows > 0)
    }
}
