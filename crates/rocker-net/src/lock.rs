//! The lock between processes that use a bridge and those that make or remove it.
//!
//! Attaching holds it shared: any number of containers join at once, and meanwhile nobody
//! removes the bridge. Making and removing the bridge, and withdrawing published ports, hold
//! it exclusively. The kernel releases it with the process.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use rustix::io::{Errno, retry_on_intr};

/// The lock of a bridge could not be taken.
#[derive(Debug, thiserror::Error)]
#[error("cannot lock {path:?}")]
pub struct LockError {
    path: PathBuf,
    source: io::Error,
}

/// A lock that is held until it is dropped.
#[derive(Debug)]
pub(crate) struct NetworkLock<'a> {
    file: OwnedFd,
    path: &'a Path,
}

/// What became of a lock's file since it was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It is there.
    Current,
    /// Its name belongs to another file: the run directory is deleted and made anew.
    Replaced,
    /// Its name is gone.
    Deleted,
}

impl<'a> NetworkLock<'a> {
    /// Opens it without taking it, so that it can be taken even if its file is deleted by then.
    pub(crate) fn open(path: &'a Path) -> Result<Self, LockError> {
        Ok(Self {
            file: open(path)?,
            path,
        })
    }

    /// Waits until nobody holds it exclusively.
    pub(crate) fn shared(path: &'a Path) -> Result<Self, LockError> {
        Self::take(path, FlockOperation::LockShared)
    }

    /// Waits until nobody holds it.
    pub(crate) fn exclusive(path: &'a Path) -> Result<Self, LockError> {
        Self::take(path, FlockOperation::LockExclusive)
    }

    fn take(path: &'a Path, operation: FlockOperation) -> Result<Self, LockError> {
        let lock = Self::open(path)?;
        lock.operate(operation)?;
        Ok(lock)
    }

    /// Lets others share it again. Somebody may hold it exclusively in between.
    pub(crate) fn become_shared(&self) -> Result<(), LockError> {
        self.operate(FlockOperation::LockShared)
    }

    /// Waits until nobody else holds it. Somebody may hold it exclusively in between.
    pub(crate) fn become_exclusive(&self) -> Result<(), LockError> {
        self.operate(FlockOperation::LockExclusive)
    }

    /// Takes it exclusively unless somebody else holds it; if so, it is not held any more.
    pub(crate) fn try_become_exclusive(&self) -> Result<bool, LockError> {
        match retry_on_intr(|| flock(&self.file, FlockOperation::NonBlockingLockExclusive)) {
            Ok(()) => Ok(true),
            Err(Errno::WOULDBLOCK) => Ok(false),
            Err(errno) => Err(error(self.path, errno)),
        }
    }

    /// Whether it is still the lock that others take who come by its name.
    pub(crate) fn standing(&self) -> Result<Standing, LockError> {
        let error = |errno| error(self.path, errno);
        let own = rustix::fs::fstat(&self.file).map_err(error)?;
        match rustix::fs::lstat(self.path) {
            Ok(named) if (named.st_dev, named.st_ino) == (own.st_dev, own.st_ino) => {
                Ok(Standing::Current)
            }
            Ok(_) => Ok(Standing::Replaced),
            Err(Errno::NOENT) => Ok(Standing::Deleted),
            Err(errno) => Err(error(errno)),
        }
    }

    /// Lets go of it, to take it again later.
    pub(crate) fn release(&self) -> Result<(), LockError> {
        self.operate(FlockOperation::Unlock)
    }

    fn operate(&self, operation: FlockOperation) -> Result<(), LockError> {
        retry_on_intr(|| flock(&self.file, operation)).map_err(|errno| error(self.path, errno))
    }
}

fn open(path: &Path) -> Result<OwnedFd, LockError> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR).map_err(|errno| error(path, errno))
}

fn error(path: &Path, errno: Errno) -> LockError {
    LockError {
        path: path.to_owned(),
        source: errno.into(),
    }
}
