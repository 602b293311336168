//! Owner locks: who works on a container right now.
//!
//! The process that starts, runs or removes a container holds a flock on
//! `RUNROOT/locks/<id>`. The command line takes it and hands the open file to the monitor,
//! so there is no moment without an owner; when the owner dies, the kernel frees the lock
//! and the next rocker command finds what is left to undo. A pid would prove nothing: it
//! can be reused.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, Mode, OFlags};

/// An exclusive lock, held until the value and every duplicate of its fd are closed.
#[derive(Debug)]
pub struct OwnerLock {
    file: OwnedFd,
    path: PathBuf,
}

/// The lock file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot lock {path:?}")]
pub struct LockError {
    path: PathBuf,
    source: io::Error,
}

impl OwnerLock {
    /// Takes the lock if nobody holds it; `None` says that somebody does.
    ///
    /// # Errors
    ///
    /// [`LockError`] when the file cannot be made or locked.
    pub fn try_take(path: &Path) -> Result<Option<Self>, LockError> {
        let failed = |e: rustix::io::Errno| LockError {
            path: path.to_owned(),
            source: e.into(),
        };
        loop {
            let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            let file = rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR).map_err(failed)?;
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
                Err(e) => return Err(failed(e)),
            }
            // the holder before us may have unlinked the file on its way out
            if names_the_same_file(path, file.as_fd()) {
                return Ok(Some(Self {
                    file,
                    path: path.to_owned(),
                }));
            }
        }
    }

    /// Holds the file together with others, so that nobody can hold it alone; waits while
    /// somebody does, which must be short.
    ///
    /// # Errors
    ///
    /// [`LockError`] as for [`try_take`](Self::try_take).
    pub fn share(path: &Path) -> Result<Self, LockError> {
        let failed = |e: rustix::io::Errno| LockError {
            path: path.to_owned(),
            source: e.into(),
        };
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR).map_err(failed)?;
        rustix::fs::flock(&file, FlockOperation::LockShared).map_err(failed)?;
        Ok(Self {
            file,
            path: path.to_owned(),
        })
    }

    /// Takes the lock, waiting for the holder to be done, at most `patience`.
    ///
    /// # Errors
    ///
    /// [`LockError`] as for [`try_take`](Self::try_take).
    pub fn take_within(path: &Path, patience: Duration) -> Result<Option<Self>, LockError> {
        let end = Instant::now() + patience;
        loop {
            match Self::try_take(path)? {
                Some(lock) => return Ok(Some(lock)),
                None if Instant::now() >= end => return Ok(None),
                // flock(2) has no time-out of its own, and a signal to interrupt it would
                // need a second thread; holders are done within milliseconds.
                None => std::thread::sleep(Duration::from_micros(500)),
            }
        }
    }

    /// Whether a living process holds the lock. A missing file is held by nobody.
    #[must_use]
    pub fn is_held(path: &Path) -> bool {
        let Ok(file) = rustix::fs::open(
            path,
            OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW,
            Mode::empty(),
        ) else {
            return false;
        };
        matches!(
            rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared),
            Err(rustix::io::Errno::WOULDBLOCK)
        )
    }

    /// Takes over a lock that this process inherited as an open file.
    #[must_use]
    pub fn inherited(file: OwnedFd, path: PathBuf) -> Self {
        Self { file, path }
    }

    /// The file, to be inherited by the process that owns the work from then on.
    #[must_use]
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Removes the lock's file and lets go. For the end of a container's life.
    pub fn retire(self) {
        // the file is on tmpfs and carries nothing: a left one is swept with the container
        let _ = fs_err::remove_file(&self.path);
    }
}

fn names_the_same_file(path: &Path, file: BorrowedFd<'_>) -> bool {
    match (rustix::fs::lstat(path), rustix::fs::fstat(file)) {
        (Ok(named), Ok(held)) => named.st_ino == held.st_ino && named.st_dev == held.st_dev,
        _ => false,
    }
}

impl From<OwnerLock> for File {
    fn from(lock: OwnerLock) -> Self {
        lock.file.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_free_as_soon_as_its_holder_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        assert!(!OwnerLock::is_held(&path));
        let first = OwnerLock::try_take(&path).unwrap().unwrap();
        assert!(OwnerLock::is_held(&path));
        assert!(OwnerLock::try_take(&path).unwrap().is_none());
        drop(first);
        assert!(!OwnerLock::is_held(&path));
    }

    #[test]
    fn a_retired_file_does_not_fool_the_next_taker() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        OwnerLock::try_take(&path).unwrap().unwrap().retire();
        assert!(!path.exists());
        let again = OwnerLock::try_take(&path).unwrap().unwrap();
        assert!(OwnerLock::is_held(&path));
        drop(again);
    }
}
