//! Waiting for another process that writes, and saying who that is.
//!
//! sqlite's locks are those of fcntl(2), which know their holders. They are not asked of the file
//! itself: whoever closes one descriptor of it gives up all locks that this process has on it.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode};

use crate::DbError;

/// Transactions here last microseconds, and a checkpoint as long as the disk is slow: whoever
/// holds the database longer is stuck, or no rocker.
const LIMIT: Duration = Duration::from_secs(30);

/// Who waits longer wants to know for what.
const TELL_AFTER: Duration = Duration::from_secs(1);

/// Where in the `-shm` file sqlite locks the right to write.
const WRITE_LOCK: u64 = 120;

/// How long to wait for other writers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    pub(crate) limit: Duration,
    pub(crate) tell_after: Duration,
    /// Told once of each wait that gets long: of which file, and who holds it.
    pub(crate) tell: fn(&Path, &str),
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            limit: LIMIT,
            tell_after: TELL_AFTER,
            tell: |path, holder| {
                tracing::warn!(database = %path.display(), "waiting for {holder}, which holds the database");
            },
        }
    }
}

impl Patience {
    /// Waits for a moment; `false` when enough was waited. `attempt` counts from 0 for each wait.
    pub(crate) fn waiter(self, path: PathBuf) -> impl FnMut(i32) -> bool + Send + 'static {
        let mut began = Instant::now();
        let mut is_told = false;
        move |attempt| {
            if attempt == 0 {
                (began, is_told) = (Instant::now(), false);
            }
            std::thread::sleep(Duration::from_micros(if attempt < 20 {
                100
            } else {
                2_000
            }));
            let waited = began.elapsed();
            if waited >= self.tell_after && !is_told {
                is_told = true;
                (self.tell)(&path, &holder(&path));
            }
            waited < self.limit
        }
    }
}

/// What `source` means for `db`: a lock that somebody else holds, or whatever `other` makes of it.
pub(crate) fn failure<F: FnOnce(rusqlite::Error) -> DbError>(
    db: &Connection,
    other: F,
) -> impl FnOnce(rusqlite::Error) -> DbError + use<F> {
    let path = db.path().map(PathBuf::from);
    move |source| match path {
        Some(path) if is_busy(&source) => DbError::Locked {
            holder: holder(&path),
            path,
        },
        Some(_) | None => other(source),
    }
}

pub(crate) fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
    )
}

/// Who holds the database at `path`, in words.
fn holder(path: &Path) -> String {
    let unknown = || "another process".to_owned();
    let locks = fs_err::read_to_string("/proc/locks").unwrap_or_default();
    let mut shared_memory = path.as_os_str().to_owned();
    shared_memory.push("-shm");
    let pid = [
        (Path::new(&shared_memory), WRITE_LOCK),
        // without a log, and in sqlite's exclusive mode: any byte
        (path, u64::MAX),
    ]
    .into_iter()
    .find_map(|(path, byte)| writer_in(&locks, file_of(path)?, byte));
    let Some(pid) = pid else { return unknown() };
    match fs_err::read_to_string(format!("/proc/{pid}/comm")) {
        Ok(name) => format!("process {pid} ({})", name.trim_end().escape_debug()),
        Err(_) => format!("process {pid}"),
    }
}

/// A file as `/proc/locks` names it.
fn file_of(path: &Path) -> Option<String> {
    let metadata = fs_err::metadata(path).ok()?;
    let (device, inode) = (metadata.dev(), metadata.ino());
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    Some(format!("{major:02x}:{minor:02x}:{inode}"))
}

/// The process that has `byte` of the file locked for writing, or any byte for `u64::MAX`. See
/// proc_locks(5).
fn writer_in(locks: &str, file: String, byte: u64) -> Option<i32> {
    let own = i32::try_from(std::process::id()).ok();
    locks.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        // a line with an arrow is of one that waits
        let [_, "POSIX", _, "WRITE", pid, of, start, end] = fields[..] else {
            return None;
        };
        let end: u64 = if end == "EOF" {
            u64::MAX
        } else {
            end.parse().ok()?
        };
        let is_held = byte == u64::MAX || (start.parse::<u64>().ok()? <= byte && byte <= end);
        let pid = pid
            .parse()
            .ok()
            .filter(|pid| *pid > 0 && Some(*pid) != own)?;
        (of == file && is_held).then_some(pid)
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use rusqlite::TransactionBehavior;

    use super::*;
    use crate::connection::{self, Durability};

    fn open(path: &Path, patience: Patience) -> Connection {
        let schema = &["CREATE TABLE t(x INTEGER) STRICT"];
        connection::open_with(path, Durability::Process, schema, &|| true, patience).unwrap()
    }

    #[test]
    fn who_writes_is_found_among_the_locks_of_all() {
        let locks = "\
1: FLOCK  ADVISORY  WRITE 11 00:1a:500 0 EOF
2: POSIX  ADVISORY  READ  12 00:1a:500 123 123
3: POSIX  ADVISORY  WRITE 13 00:1a:501 120 120
4: POSIX  ADVISORY  WRITE 14 00:1a:500 121 121
5: POSIX  ADVISORY  WRITE 15 00:1a:500 120 120
5: -> POSIX  ADVISORY  WRITE 16 00:1a:500 120 120
6: POSIX  ADVISORY  WRITE 17 08:02:7 1073741824 EOF
7: POSIX  ADVISORY  WRITE -1 08:02:8 0 EOF
8: nonsense
";
        let writer = |file: &str, byte| writer_in(locks, file.to_owned(), byte);
        assert_eq!(writer("00:1a:500", 120), Some(15));
        assert_eq!(writer("00:1a:501", 120), Some(13));
        assert_eq!(writer("00:1a:502", 120), None);
        assert_eq!(writer("08:02:7", u64::MAX), Some(17));
        assert_eq!(
            writer("08:02:8", u64::MAX),
            None,
            "of another pid namespace"
        );
    }

    #[test]
    fn a_lock_that_lasts_ends_in_one_error_that_names_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        let patience = Patience {
            limit: Duration::from_millis(30),
            tell_after: Duration::from_millis(10),
            tell: |_, _| {},
        };
        let mut holder = open(&path, Patience::default());
        let mut waiter = open(&path, patience);
        let held = holder
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .unwrap();

        let failed = failure(&waiter, DbError::query("start a transaction"));
        let refused = waiter
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(failed);

        let error = refused.err().unwrap();
        assert!(
            matches!(&error, DbError::Locked { path: of, .. } if *of == path),
            "{error}"
        );
        drop(held);
    }

    #[test]
    fn a_shorter_one_is_waited_out_and_told_of_once() {
        static IS_TOLD: AtomicBool = AtomicBool::new(false);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        let mut holder = open(&path, Patience::default());
        let patience = Patience {
            limit: Duration::from_secs(60),
            tell_after: Duration::from_millis(5),
            tell: |_, _| assert!(!IS_TOLD.swap(true, Ordering::SeqCst), "once"),
        };
        let mut waiter = open(&path, patience);
        let held = holder
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .unwrap();

        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                let tx = waiter.transaction_with_behavior(TransactionBehavior::Immediate);
                tx.map(drop)
            });
            while !IS_TOLD.load(Ordering::SeqCst) {
                std::thread::yield_now();
            }
            drop(held);
            waiting.join().unwrap().unwrap();
        });
    }
}
