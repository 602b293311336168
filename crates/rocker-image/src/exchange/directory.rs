//! A directory of our own that a layout is written to.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fs_err::File;
use rustix::fs::{CWD, FlockOperation, Mode, OFlags, flock, fstat, mkdirat, openat};
use rustix::io::Errno;
use rustix::process::geteuid;

/// Between two attempts to take a lock.
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// A new directory, which only its owner can open. It may stand where somebody else can rename
/// it: whatever is in it is reached through it, and never by its name.
#[derive(Debug)]
pub struct NewDirectory {
    root: OwnedFd,
    path: PathBuf,
}

impl NewDirectory {
    /// Makes `path`, which is not there yet.
    ///
    /// # Errors
    ///
    /// What the kernel says; `PermissionDenied` if somebody put another directory in its place
    /// meanwhile.
    pub fn create(path: &Path) -> io::Result<Self> {
        // images hold what they hold: as an archive, for its owner alone
        mkdirat(CWD, path, Mode::RWXU)?;
        let root = open_directory(CWD, path)?;
        if fstat(&root)?.st_uid != geteuid().as_raw() {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        Ok(Self {
            root,
            path: path.to_owned(),
        })
    }

    /// Where it was made, for messages.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Creates a file below it, and the directories that the file is in.
    pub(super) fn create_file(&self, name: &str) -> io::Result<File> {
        let (above, last) = name.rsplit_once('/').unwrap_or(("", name));
        let above = self.directory(above)?;
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(above, last, flags, Mode::from_raw_mode(0o666))?;
        Ok(File::from_parts(file.into(), self.path.join(name)))
    }

    /// A directory below it, made if it is not there; itself for an empty name.
    pub(super) fn directory(&self, name: &str) -> io::Result<OwnedFd> {
        let mut directory = self.root.try_clone()?;
        for part in name.split('/').filter(|part| !part.is_empty()) {
            directory = make_directory(&directory, part)?;
        }
        Ok(directory)
    }
}

impl AsFd for NewDirectory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }
}

/// Opens a directory, if it is none that a link leads to.
pub(super) fn open_directory(
    base: impl AsFd,
    path: impl rustix::path::Arg,
) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(base, path, flags, Mode::empty())
}

/// The directory `name` in `above`, which is made if it is not there.
pub(super) fn make_directory(above: &OwnedFd, name: &str) -> Result<OwnedFd, Errno> {
    match mkdirat(above, name, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => open_directory(above, name),
        Err(errno) => Err(errno),
    }
}

/// Takes the lock of a directory that may be somebody else's, who may never let it go.
///
/// # Errors
///
/// [`Errno::WOULDBLOCK`] when `patience` is over.
pub(super) fn lock(directory: &OwnedFd, patience: Duration) -> Result<(), Errno> {
    let begin = Instant::now();
    loop {
        match flock(directory, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK | Errno::INTR) if begin.elapsed() < patience => {
                std::thread::sleep(LOCK_PAUSE);
            }
            locked => return locked,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn what_takes_its_place_gets_nothing() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("new");
        let new = NewDirectory::create(&path).unwrap();
        fs_err::rename(&path, scratch.path().join("away")).unwrap();
        fs_err::create_dir(&path).unwrap();
        fs_err::os::unix::fs::symlink("/nowhere", path.join("index.json")).unwrap();

        let mut file = new.create_file("index.json").unwrap();
        file.write_all(b"x").unwrap();
        new.create_file("blobs/sha256/1").unwrap();

        let read = fs_err::read(scratch.path().join("away/index.json"));
        assert_eq!(read.unwrap(), b"x");
        assert!(scratch.path().join("away/blobs/sha256/1").exists());
        assert!(!path.join("blobs").exists());
        assert!(NewDirectory::create(&path).is_err());
    }

    #[test]
    fn a_directory_that_stays_locked_is_not_waited_for_for_ever() {
        let scratch = tempfile::tempdir().unwrap();
        let [ours, theirs] = [(); 2].map(|()| open_directory(CWD, scratch.path()).unwrap());
        assert_eq!(lock(&theirs, Duration::ZERO), Ok(()));
        assert_eq!(lock(&ours, Duration::ZERO), Err(Errno::WOULDBLOCK));
        drop(theirs);
        assert_eq!(lock(&ours, Duration::ZERO), Ok(()));
    }

    #[test]
    fn a_link_in_it_is_not_followed() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("new");
        let new = NewDirectory::create(&path).unwrap();
        fs_err::os::unix::fs::symlink(scratch.path(), path.join("blobs")).unwrap();
        assert!(new.create_file("blobs/1").is_err());
        assert!(!scratch.path().join("1").exists());
    }
}
