//! How both databases are opened.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use crate::DbError;

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
pub(crate) fn open(
    path: &Path,
    durability: Durability,
    schema: &[&str],
    may_be_new: &dyn Fn() -> bool,
) -> Result<Connection, DbError> {
    let failed = |source| DbError::Open {
        path: path.to_owned(),
        source,
    };
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut db = Connection::open_with_flags(path, flags).map_err(failed)?;
    db.busy_handler(Some(wait_a_little)).map_err(failed)?;
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
    migrate(&mut db, path, schema, may_be_new)?;
    Ok(db)
}

/// Does what may as well be left undone if another process is in the way.
pub(crate) fn without_waiting<T>(
    db: &mut Connection,
    work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    db.busy_handler(None::<fn(i32) -> bool>)?;
    let done = work(db);
    db.busy_handler(Some(wait_a_little))?;
    done
}

/// sqlite calls this while another process holds the write lock. Transactions here last
/// microseconds, so the waits are short; after about a minute the owner is taken to be
/// stuck, and sqlite's "database is locked" is told to the user.
fn wait_a_little(attempt: i32) -> bool {
    std::thread::sleep(Duration::from_micros(if attempt < 20 {
        100
    } else {
        2_000
    }));
    attempt < 30_000
}

/// Chooses the write-ahead log, which stays chosen. Of several who do so at once, sqlite turns all
/// but one away without asking the busy handler.
fn use_log(db: &Connection) -> rusqlite::Result<()> {
    let mut attempt = 0;
    loop {
        match db.pragma_update(None, "journal_mode", "WAL") {
            Err(e)
                if e.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
                    && wait_a_little(attempt) =>
            {
                attempt += 1;
            }
            other => return other,
        }
    }
}

fn migrate(
    db: &mut Connection,
    path: &Path,
    schema: &[&str],
    may_be_new: &dyn Fn() -> bool,
) -> Result<(), DbError> {
    let failed = |source| DbError::Open {
        path: path.to_owned(),
        source,
    };
    let known = i64::try_from(schema.len()).unwrap_or(i64::MAX);
    let version =
        |db: &Connection| db.query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0));
    let found = version(db).map_err(failed)?;
    if found == known {
        return Ok(());
    }
    if found > known {
        return Err(DbError::TooNew {
            path: path.to_owned(),
            found,
            known,
        });
    }
    let lost = || DbError::Lost {
        path: path.to_owned(),
    };
    if found == 0 && !may_be_new() {
        // what is there may be of another process, which made the database a moment ago
        let alone = db
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(failed)?;
        if version(&alone).map_err(failed)? == 0 {
            return Err(lost());
        }
    }
    use_log(db).map_err(failed)?;
    let transaction = db
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(failed)?;
    // another process may have migrated while this one waited for the lock
    let found = version(&transaction).map_err(failed)?;
    let first = usize::try_from(found).unwrap_or(usize::MAX);
    for script in schema.iter().skip(first) {
        transaction.execute_batch(script).map_err(failed)?;
    }
    transaction
        .pragma_update(None, "user_version", known)
        .map_err(failed)?;
    transaction.commit().map_err(failed)
}
