//! The database of kept things.

mod containers;
mod images;
mod names;
mod salvage;
mod schema;
mod usage;
mod volumes;

use std::path::Path;

use rocker_types::Digest;
use rusqlite::{Connection, OptionalExtension};

use crate::DbError;
use crate::busy::failure;
use crate::connection::{self, Durability};
use crate::named_file::{NamedFile, Write};

pub use containers::DurableContainer;
pub use images::{ImageRow, LayerRow, NewImage};
pub use names::{NamedBy, Untagged};
pub use salvage::Salvage;
pub use volumes::VolumeRow;

/// An open connection to the durable database.
#[derive(Debug)]
pub struct DurableDb {
    db: Connection,
    file: NamedFile,
}

impl DurableDb {
    /// Opens the database, creating it on first use.
    ///
    /// # Errors
    ///
    /// [`DbError::Open`] and [`DbError::TooNew`].
    pub fn open(path: &Path) -> Result<Self, DbError> {
        Self::open_unless(path, &|| false)
    }

    /// Opens the database, and creates it unless `is_lost` finds what only an earlier one can
    /// explain: an empty one would call all of that garbage.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open), and [`DbError::Lost`].
    pub fn open_unless(path: &Path, is_lost: &dyn Fn() -> bool) -> Result<Self, DbError> {
        let may_be_new = || !is_lost();
        let (db, file) = NamedFile::open(path, || {
            connection::open(path, Durability::Full, schema::SCRIPTS, &may_be_new)
        })?;
        Ok(Self { db, file })
    }

    /// Opens a database that nobody else knows of, or creates it: no change waits for the disk, so
    /// whoever gives it to others writes the file out first.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_unsynced(path: &Path) -> Result<Self, DbError> {
        let (db, file) = NamedFile::open(path, || {
            connection::open(path, Durability::Process, schema::SCRIPTS, &|| true)
        })?;
        Ok(Self { db, file })
    }

    /// Keeps everybody from writing to this file until it is closed, for who exchanges it; `false`
    /// if it is too damaged for that, so that nobody can write to it.
    #[must_use]
    pub fn hold(&self) -> bool {
        self.db.execute_batch("BEGIN IMMEDIATE").is_ok()
    }

    /// How many changes there have been. Whoever keeps a copy of a row notes it: a copy with a
    /// larger number is of a change that this file has lost.
    ///
    /// # Errors
    ///
    /// [`DbError::Query`].
    pub fn generation(&self) -> Result<i64, DbError> {
        self.db
            .query_row(
                "SELECT value FROM meta WHERE key = 'generation'",
                [],
                |row| row.get(0),
            )
            .map_err(DbError::query("read the number of changes"))
    }

    /// The number of the change that an image or its names were last changed by; `None` if that was
    /// before such numbers were noted.
    ///
    /// # Errors
    ///
    /// [`DbError::Query`].
    pub fn image_generation(&self, id: &Digest) -> Result<Option<i64>, DbError> {
        self.db
            .query_row(
                "SELECT value FROM meta WHERE key = 'image:' || ?1",
                [id.to_string()],
                |row| row.get(0),
            )
            .optional()
            .map_err(DbError::query("read the number of changes"))
    }

    /// Up to which change this file knows everything: less than [`generation`](Self::generation)
    /// while lost changes are brought back.
    ///
    /// # Errors
    ///
    /// [`DbError::Query`].
    pub fn complete_generation(&self) -> Result<i64, DbError> {
        self.db
            .query_row(
                "SELECT min(value) FROM meta WHERE key IN ('generation', 'complete')",
                [],
                |row| row.get(0),
            )
            .map_err(DbError::query("read the number of changes"))
    }

    /// Remembers up to where this file is complete, until [`catch_up`](Self::catch_up): what is
    /// brought back counts as changes too, and whoever does it may be killed. Of several calls
    /// the first counts.
    ///
    /// # Errors
    ///
    /// [`DbError::Query`].
    pub fn begin_catching_up(&mut self) -> Result<(), DbError> {
        self.db
            .execute(
                "INSERT OR IGNORE INTO meta(key, value) SELECT 'complete', value FROM meta WHERE key = 'generation'",
                [],
            )
            .map(drop)
            .map_err(DbError::query("count changes"))
    }

    /// Counts on from `generation` if that is larger: all that the copies say is known again.
    ///
    /// # Errors
    ///
    /// [`DbError::Query`].
    pub fn catch_up(&mut self, generation: i64) -> Result<(), DbError> {
        let failed = DbError::query("count changes");
        let tx = self.begin()?;
        tx.execute(
            "UPDATE meta SET value = max(value, ?1) WHERE key = 'generation'",
            [generation],
        )
        .map_err(&failed)?;
        tx.execute("DELETE FROM meta WHERE key = 'complete'", [])
            .map_err(&failed)?;
        tx.commit().map_err(failed)
    }

    /// sqlite's own opinion of the file, one line a problem; empty is healthy.
    ///
    /// # Errors
    ///
    /// [`DbError::Query`] when it cannot even be asked.
    pub fn integrity_problems(&self) -> Result<Vec<String>, DbError> {
        integrity_problems(&self.db)
    }

    /// Whether every row that commands rely on can be read.
    ///
    /// # Errors
    ///
    /// [`DbError::Query`] and [`DbError::Corrupt`] for the first that cannot.
    pub fn read_all(&self) -> Result<(), DbError> {
        self.complete_generation()?;
        for image in self.images()? {
            self.image_generation(&image.id)?;
        }
        for layer in self.layers()? {
            self.layer(&layer)?;
        }
        self.layers_of_images()?;
        self.volumes()?;
        self.kept_containers().map(drop)
    }

    /// Writes the log into the database and empties it, unless somebody is just reading: for the
    /// end of commands that take long anyway. Who opens a database alone reads its whole log.
    ///
    /// # Errors
    ///
    /// [`DbError::Query`].
    pub fn empty_log(&mut self) -> Result<(), DbError> {
        connection::without_waiting(&mut self.db, |db| {
            db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        })
        .map_err(DbError::query("write the log into the database"))
    }

    /// Starts a write transaction on the file that has this one's name by now.
    fn begin(&mut self) -> Result<Write<'_>, DbError> {
        let failed = DbError::query("start a transaction");
        while !self
            .file
            .lock(&self.db)
            .map_err(failure(&self.db, &failed))?
        {
            // a repair leaves one that has something in it
            *self = Self::open_unless(self.file.path(), &|| true)?;
        }
        Ok(Write::locked(&mut self.db))
    }
}

/// Notes that an image is changed by the change that was counted last; part of its transaction.
pub(super) fn note_image(db: &Connection, id: &str) -> Result<(), DbError> {
    db.execute(
        "INSERT INTO meta(key, value) SELECT 'image:' || ?1, value FROM meta WHERE key = 'generation'
         ON CONFLICT(key) DO UPDATE SET value = excluded.value",
        [id],
    )
    .map(drop)
    .map_err(DbError::query("count changes"))
}

/// Counts one more change; part of its transaction.
pub(super) fn count_change(db: &Connection) -> Result<(), DbError> {
    db.execute(
        "UPDATE meta SET value = value + 1 WHERE key = 'generation'",
        [],
    )
    .map(drop)
    .map_err(DbError::query("count changes"))
}

pub(crate) fn integrity_problems(db: &Connection) -> Result<Vec<String>, DbError> {
    let failed = DbError::query("check integrity");
    let mut statement = db.prepare("PRAGMA integrity_check").map_err(&failed)?;
    let rows = statement
        .query_map([], |row| row.get::<_, String>(0))
        .map_err(&failed)?;
    let mut problems: Vec<String> = rows.collect::<Result<_, _>>().map_err(&failed)?;
    problems.retain(|line| line != "ok");
    let dangling = db
        .query_row(
            "SELECT \"table\" FROM pragma_foreign_key_check LIMIT 1",
            [],
            |row| row.get::<_, String>(0),
        )
        .optional()
        .map_err(failed)?;
    problems.extend(dangling.map(|table| format!("a row of table {table} refers to nothing")));
    Ok(problems)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_brought_back_does_not_hide_what_is_still_lost() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rocker.db");
        let mut db = DurableDb::open(&path).unwrap();
        count_change(&db.db).unwrap();
        db.begin_catching_up().unwrap();
        count_change(&db.db).unwrap();
        db.begin_catching_up().unwrap();
        drop(db);

        let mut db = DurableDb::open(&path).unwrap();
        let counts = |db: &DurableDb| (db.generation().unwrap(), db.complete_generation().unwrap());
        assert_eq!(counts(&db), (2, 1));
        db.catch_up(7).unwrap();
        assert_eq!(counts(&db), (7, 7));
        db.catch_up(3).unwrap();
        assert_eq!(counts(&db), (7, 7));
    }

    #[test]
    fn an_emptied_log_is_empty_and_who_reads_meanwhile_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rocker.db");
        let log = || {
            fs_err::metadata(dir.path().join("rocker.db-wal"))
                .unwrap()
                .len()
        };
        let mut db = DurableDb::open(&path).unwrap();
        assert_ne!(log(), 0, "the schema");

        let mut reader = DurableDb::open(&path).unwrap();
        let reading = reader.db.transaction().unwrap();
        let count = |db: &Connection| {
            db.query_row("SELECT count(*) FROM sqlite_schema", [], |row| {
                row.get::<_, i64>(0)
            })
            .unwrap()
        };
        let tables = count(&reading);
        db.empty_log().unwrap();
        assert_ne!(log(), 0, "somebody reads it");
        drop(reading);

        db.empty_log().unwrap();
        assert_eq!(log(), 0);
        assert_eq!(count(&db.db), tables);
    }
}
