//! Images that somebody has mounted to look into them.

use rocker_types::Digest;
use rusqlite::{Connection, params};

use super::{LiveDb, LiveTransaction, parse};
use crate::DbError;

/// One image, mounted in one mount namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageMountRow {
    /// The image.
    pub image: Digest,
    /// Number of the mount namespace. One that has ended may leave rows behind.
    pub namespace: u64,
    /// How often it was mounted there and not unmounted since; at least 1.
    pub count: u64,
}

impl LiveDb {
    /// Every mount that is recorded, whatever has become of it since.
    ///
    /// # Errors
    ///
    /// [`DbError::Query`] and [`DbError::Corrupt`].
    pub fn image_mounts(&self) -> Result<Vec<ImageMountRow>, DbError> {
        image_mounts(&self.db)
    }
}

impl LiveTransaction<'_> {
    /// See [`LiveDb::image_mounts`].
    ///
    /// # Errors
    ///
    /// [`DbError::Query`] and [`DbError::Corrupt`].
    pub fn image_mounts(&self) -> Result<Vec<ImageMountRow>, DbError> {
        image_mounts(&self.tx)
    }

    /// Records how often an image is mounted in a namespace; 0 forgets the mount.
    ///
    /// # Errors
    ///
    /// [`DbError::Query`].
    pub fn set_image_mount(&self, row: &ImageMountRow) -> Result<(), DbError> {
        // the kernel's numbers of namespaces have 32 bits
        let namespace = row.namespace.cast_signed();
        let image = row.image.to_string();
        let count = i64::try_from(row.count).unwrap_or(i64::MAX);
        let changed = match count {
            0 => self.tx.execute(
                "DELETE FROM image_mounts WHERE image = ?1 AND namespace = ?2",
                params![image, namespace],
            ),
            _ => self.tx.execute(
                "INSERT INTO image_mounts(image, namespace, count) VALUES(?1, ?2, ?3)
                 ON CONFLICT(image, namespace) DO UPDATE SET count = excluded.count",
                params![image, namespace, count],
            ),
        };
        changed.map(drop).map_err(DbError::query("record a mount"))
    }
}

fn image_mounts(db: &Connection) -> Result<Vec<ImageMountRow>, DbError> {
    let failed = DbError::query("read mounts");
    let sql = "SELECT image, namespace, count FROM image_mounts ORDER BY image, namespace";
    let mut statement = db.prepare(sql).map_err(&failed)?;
    let rows = statement
        .query_map([], |row| {
            let count: i64 = row.get(2)?;
            let namespace: i64 = row.get(1)?;
            Ok((row.get::<_, String>(0)?, namespace, count))
        })
        .map_err(&failed)?;
    rows.map(|row| {
        let (image, namespace, count) = row.map_err(&failed)?;
        Ok(ImageMountRow {
            image: parse("an image id", image)?,
            namespace: namespace.cast_unsigned(),
            count: u64::try_from(count).unwrap_or(0),
        })
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_namespace_counts_for_itself_and_nothing_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let mut db = LiveDb::open(&dir.path().join("live.db")).unwrap();
        let row = |namespace, count| ImageMountRow {
            image: Digest::from_sha256([7; 32]),
            namespace,
            count,
        };
        let tx = db.begin().unwrap();
        for row in [row(1, 1), row(u64::from(u32::MAX), 1), row(1, 2)] {
            tx.set_image_mount(&row).unwrap();
        }
        tx.commit().unwrap();
        let all = [row(1, 2), row(u64::from(u32::MAX), 1)];
        assert_eq!(db.image_mounts().unwrap(), all);

        let tx = db.begin().unwrap();
        tx.set_image_mount(&row(1, 0)).unwrap();
        assert_eq!(tx.image_mounts().unwrap(), all[1..]);
        drop(tx);
        assert_eq!(db.image_mounts().unwrap(), all, "not committed");
    }
}
