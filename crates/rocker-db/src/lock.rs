//! Owner locks: who works on a container right now.
//!
//! The process that starts, runs or removes a container holds a flock on
//! `RUNROOT/locks/<id>`. The command line takes it and hands the open file to the monitor,
//! so there is no moment without an owner; when the owner dies, the kernel frees the lock
//! and the next rocker command finds what is left to undo. A pid would prove nothing: it
//! can be reused.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, Mode, OFlags};

/// An exclusive lock. Dropping it removes the file and lets go, so that no lock file outlives
/// its owner but by its death; [`hand_over`](Self::hand_over) makes another process the owner.
#[derive(Debug)]
pub struct OwnerLock {
    /// `None` once it was handed over.
    file: Option<OwnedFd>,
    path: PathBuf,
}

/// A lock held together with others; see [`OwnerLock::share`].
#[derive(Debug)]
pub struct SharedLock {
    _file: OwnedFd,
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
                    file: Some(file),
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
    pub fn share(path: &Path) -> Result<SharedLock, LockError> {
        let failed = |e: rustix::io::Errno| LockError {
            path: path.to_owned(),
            source: e.into(),
        };
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR).map_err(failed)?;
        rustix::fs::flock(&file, FlockOperation::LockShared).map_err(failed)?;
        Ok(SharedLock { _file: file })
    }

    /// As [`try_take`](Self::try_take) for a file that stays: one that [`share`](Self::share)
    /// uses too.
    ///
    /// # Errors
    ///
    /// [`LockError`] as for [`try_take`](Self::try_take).
    pub fn try_alone(path: &Path) -> Result<Option<SharedLock>, LockError> {
        Ok(Self::try_take(path)?
            .and_then(Self::hand_over)
            .map(|file| SharedLock { _file: file }))
    }

    /// As [`try_alone`](Self::try_alone), waiting for the others to be done, at most `patience`.
    ///
    /// # Errors
    ///
    /// [`LockError`] as for [`try_take`](Self::try_take).
    pub fn alone_within(path: &Path, patience: Duration) -> Result<Option<SharedLock>, LockError> {
        let held = Self::take_within(path, patience)?.and_then(Self::hand_over);
        Ok(held.map(|file| SharedLock { _file: file }))
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
        Self {
            file: Some(file),
            path,
        }
    }

    /// The open file, for a process that inherits it and owns the work from then on. The lock
    /// stays until every duplicate of the descriptor is closed.
    #[must_use]
    pub fn hand_over(mut self) -> Option<OwnedFd> {
        self.file.take()
    }
}

impl Drop for OwnerLock {
    fn drop(&mut self) {
        if let Some(file) = self.file.take() {
            // Removed while it is held, so nobody can hold the same file by now. It is on tmpfs
            // and carries nothing: one that stays is met by the next command.
            let _ = fs_err::remove_file(&self.path);
            drop(file);
        }
    }
}

fn names_the_same_file(path: &Path, file: BorrowedFd<'_>) -> bool {
    match (rustix::fs::lstat(path), rustix::fs::fstat(file)) {
        (Ok(named), Ok(held)) => named.st_ino == held.st_ino && named.st_dev == held.st_dev,
        _ => false,
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
    fn a_removed_file_does_not_fool_the_next_taker() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        drop(OwnerLock::try_take(&path).unwrap().unwrap());
        assert!(!path.exists());
        let again = OwnerLock::try_take(&path).unwrap().unwrap();
        assert!(OwnerLock::is_held(&path));
        let file = again.hand_over().unwrap();
        assert!(
            OwnerLock::is_held(&path) && path.exists(),
            "the new owner has it"
        );
        drop(file);
        assert!(!OwnerLock::is_held(&path));
    }
}
