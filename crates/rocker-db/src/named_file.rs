//! Which file a database is, and write transactions that reach the one that has the name.
//!
//! `system check --repair` sets a damaged database aside and gives its name to another, while
//! other processes may have the old one open. Linux lets them write to it, where nobody looks any
//! more. So whoever has the write lock looks whether the file still has its name, and takes the one
//! that has it if not; and whoever exchanges it holds the old one's lock meanwhile. One whose schema
//! another rocker has changed since is opened once more too, which knows whether they go together.

use std::ops::Deref;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use crate::DbError;
use crate::connection::version;

/// The file that a connection was opened on.
#[derive(Debug)]
pub(crate) struct NamedFile {
    path: PathBuf,
    identity: (u64, u64),
    version: i64,
}

impl NamedFile {
    /// Opens what `open` opens at `path`, and remembers which file that is.
    pub(crate) fn open(
        path: &Path,
        open: impl Fn() -> Result<Connection, DbError>,
    ) -> Result<(Connection, Self), DbError> {
        loop {
            let before = identity(path);
            let db = open()?;
            // one that was made or exchanged just now is opened once more
            if let Some(identity) = before
                && before == self::identity(path)
            {
                let path = path.to_owned();
                let version = version(&db).map_err(|source| DbError::Open {
                    path: path.clone(),
                    source,
                })?;
                let file = Self {
                    path,
                    identity,
                    version,
                };
                return Ok((db, file));
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Takes the write lock; `false`, and no lock, if another file has the name by now, or the file
    /// another schema.
    pub(crate) fn lock(&self, db: &Connection) -> rusqlite::Result<bool> {
        db.execute_batch("BEGIN IMMEDIATE")?;
        let is_same = identity(&self.path) == Some(self.identity)
            && version(db).is_ok_and(|version| version == self.version);
        if !is_same {
            db.execute_batch("ROLLBACK")?;
        }
        Ok(is_same)
    }
}

/// Device and inode of a file.
fn identity(path: &Path) -> Option<(u64, u64)> {
    let stat = rustix::fs::stat(path).ok()?;
    Some((stat.st_dev, stat.st_ino))
}

/// A write transaction. Dropped without [`commit`](Self::commit), it leaves no trace.
#[derive(Debug)]
pub(crate) struct Write<'db> {
    db: &'db Connection,
}

impl<'db> Write<'db> {
    /// Of who has the [lock](NamedFile::lock); the connection is nobody else's meanwhile.
    pub(crate) fn locked(db: &'db mut Connection) -> Self {
        Self { db }
    }

    pub(crate) fn commit(self) -> rusqlite::Result<()> {
        self.db.execute_batch("COMMIT")
    }
}

impl Deref for Write<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.db
    }
}

impl Drop for Write<'_> {
    fn drop(&mut self) {
        if !self.db.is_autocommit() {
            // what fails here is undone by whoever opens the database next
            let _ = self.db.execute_batch("ROLLBACK");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DurableDb, LiveDb};

    fn exchange(path: &Path, new: &Path) {
        for part in ["-wal", "-shm", ""] {
            let named = |path: &Path| PathBuf::from(format!("{}{part}", path.display()));
            let (old, new) = (named(path), named(new));
            if old.exists() {
                fs_err::rename(&old, old.with_extension(format!("aside{part}"))).unwrap();
            }
            if new.exists() {
                fs_err::rename(new, old).unwrap();
            }
        }
    }

    #[test]
    fn what_is_written_reaches_the_database_that_has_the_name() {
        let dir = tempfile::tempdir().unwrap();
        let [path, new] = ["rocker.db", "new.db"].map(|name| dir.path().join(name));
        let mut open = DurableDb::open(&path).unwrap();
        drop(DurableDb::open(&new).unwrap());
        exchange(&path, &new);

        open.catch_up(7).unwrap();

        assert_eq!(DurableDb::open(&path).unwrap().generation().unwrap(), 7);
    }

    #[test]
    fn one_that_waits_for_the_lock_of_an_old_database_gets_that_of_the_new() {
        let dir = tempfile::tempdir().unwrap();
        let [path, new] = ["live.db", "new.db"].map(|name| dir.path().join(name));
        let mut open = LiveDb::open(&path).unwrap();
        let holder = LiveDb::open(&path).unwrap();
        assert!(holder.hold());
        let writer = std::thread::spawn(move || {
            let tx = open.begin().unwrap();
            tx.want_sweep().unwrap();
            tx.commit().unwrap();
        });
        drop(LiveDb::open(&new).unwrap());
        exchange(&path, &new);
        drop(holder);
        writer.join().unwrap();

        let wish = LiveDb::open(&path).unwrap().sweep_wanted().unwrap();
        assert!(wish.is_some());
    }

    #[test]
    fn a_schema_that_is_changed_while_the_file_is_open_counts() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("live.db");
        let mut open = LiveDb::open(&path).unwrap();
        let other = Connection::open(&path).unwrap();
        other.pragma_update(None, "user_version", 99).unwrap();
        let refused = open.begin().err();
        assert!(
            matches!(refused, Some(DbError::TooNew { found: 99, .. })),
            "{refused:?}"
        );
        other
            .execute(
                "INSERT INTO meta(key, value) VALUES('compatible_since', '1')",
                [],
            )
            .unwrap();
        open.begin().unwrap().commit().unwrap();
    }

    #[test]
    fn a_transaction_that_is_dropped_leaves_no_trace() {
        let dir = tempfile::tempdir().unwrap();
        let mut db = LiveDb::open(&dir.path().join("live.db")).unwrap();
        let tx = db.begin().unwrap();
        tx.want_sweep().unwrap();
        drop(tx);
        assert!(db.sweep_wanted().unwrap().is_none());
        let tx = db.begin().unwrap();
        tx.commit().unwrap();
    }
}
