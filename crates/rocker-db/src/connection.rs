//! How both databases are opened.

use std::path::{Path, PathBuf};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use crate::DbError;
use crate::busy::{Patience, failure, is_busy};

/// What a commit waits for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Durability {
    /// A commit that returned survives a power loss.
    Full,
    /// A commit survives the death of any process; the file is on tmpfs anyway.
    Process,
}

/// Opens or creates the database at `path` and brings its schema up to `schema.len()`:
/// `schema[i]` is the script that leads from version `i` to `i + 1`. One that has no schema yet is
/// asked about first: `may_be_new` says whether there may be a new one at all.
///
/// A monitor may meet the schema of a rocker that was installed after it was started. So a script
/// that only adds (tables, columns with a default, meanings of keys in `meta`) says with
/// `compatible_since` in `meta` which versions need not know of it, and every statement here names
/// its columns. One that changes what is there deletes the key.
pub(crate) fn open(
    path: &Path,
    durability: Durability,
    schema: &[&str],
    may_be_new: &dyn Fn() -> bool,
) -> Result<Connection, DbError> {
    open_with(path, durability, schema, may_be_new, Patience::default())
}

/// As [`open`], with another patience than the usual one.
pub(crate) fn open_with(
    path: &Path,
    durability: Durability,
    schema: &[&str],
    may_be_new: &dyn Fn() -> bool,
    patience: Patience,
) -> Result<Connection, DbError> {
    let failed = |source| DbError::Open {
        path: path.to_owned(),
        source,
    };
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut db = Connection::open_with_flags(path, flags).map_err(failed)?;
    db.busy_handler(Some(patience.waiter(path.to_owned())))
        .map_err(failed)?;
    // The last close would otherwise checkpoint and sync, 1.5 to 14 ms on ext4.
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
        .map_err(failed)?;
    // Whoever opens a database alone reads every frame of its log before anything else, so logs are
    // kept short: shortest where a checkpoint need not wait for a disk.
    let (synchronous, frames) = match durability {
        Durability::Full => ("FULL", 48),
        Durability::Process => ("OFF", 16),
    };
    db.execute_batch(&format!(
        "PRAGMA synchronous={synchronous}; PRAGMA foreign_keys=ON; PRAGMA wal_autocheckpoint={frames};"
    ))
    .map_err(failed)?;
    let (known, found) = (version_of(schema), version(&db).map_err(failed)?);
    if found == known {
        return Ok(db);
    }
    if found > known {
        return match compatible_since(&db) {
            Some(since) if since <= known => Ok(db),
            Some(_) | None => Err(DbError::TooNew {
                path: path.to_owned(),
                found,
                known,
            }),
        };
    }
    if found == 0 {
        refuse_if_lost(&mut db, path, may_be_new)?;
    }
    let migrated = migrate(&mut db, schema, patience);
    migrated.map_err(failure(&db, failed))?;
    Ok(db)
}

/// Does what may as well be left undone if another process is in the way.
pub(crate) fn without_waiting<T>(
    db: &mut Connection,
    work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    db.busy_handler(None::<fn(i32) -> bool>)?;
    let done = work(db);
    let path = db.path().map(PathBuf::from).unwrap_or_default();
    db.busy_handler(Some(Patience::default().waiter(path)))?;
    done
}

/// Chooses the write-ahead log, which stays chosen. Of several who do so at once, sqlite turns all
/// but one away without asking the busy handler.
fn use_log(db: &Connection, patience: Patience) -> rusqlite::Result<()> {
    let path = db.path().map(PathBuf::from).unwrap_or_default();
    let mut wait_a_little = patience.waiter(path);
    let mut attempt = 0;
    loop {
        match db.pragma_update(None, "journal_mode", "WAL") {
            Err(error) if is_busy(&error) && wait_a_little(attempt) => attempt += 1,
            other => return other,
        }
    }
}

/// The number of its schema.
pub(crate) fn version(db: &Connection) -> rusqlite::Result<i64> {
    db.query_row("PRAGMA user_version", [], |row| row.get(0))
}

fn version_of(schema: &[&str]) -> i64 {
    i64::try_from(schema.len()).unwrap_or(i64::MAX)
}

/// The oldest version that may use a newer schema; `None` if that does not say so.
fn compatible_since(db: &Connection) -> Option<i64> {
    let sql = "SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'compatible_since'";
    db.query_row(sql, [], |row| row.get(0)).ok()
}

/// An empty database that may not be a new one is a lost one.
fn refuse_if_lost(
    db: &mut Connection,
    path: &Path,
    may_be_new: &dyn Fn() -> bool,
) -> Result<(), DbError> {
    if may_be_new() {
        return Ok(());
    }
    let failed = |source| DbError::Open {
        path: path.to_owned(),
        source,
    };
    // what is there may be of another process, which made the database a moment ago
    let alone = db
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(failed)?;
    match version(&alone).map_err(failed)? {
        0 => Err(DbError::Lost {
            path: path.to_owned(),
        }),
        _ => Ok(()),
    }
}

fn migrate(db: &mut Connection, schema: &[&str], patience: Patience) -> rusqlite::Result<()> {
    use_log(db, patience)?;
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // another process may have migrated while this one waited for the lock
    let found = usize::try_from(version(&transaction)?).unwrap_or(usize::MAX);
    if found >= schema.len() {
        return Ok(());
    }
    for script in schema.iter().skip(found) {
        transaction.execute_batch(script)?;
    }
    transaction.pragma_update(None, "user_version", version_of(schema))?;
    transaction.commit()
}
