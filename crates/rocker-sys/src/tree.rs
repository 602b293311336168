//! `rm -rf` by descriptors.

use std::ffi::{CStr, CString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, ResolveFlags, SeekFrom};
use rustix::io::Errno;

/// How deep directories are held open before a subtree is moved up instead.
const MAX_DEPTH: usize = 64;

/// Where subtrees that lie too deep are moved to, with a number.
const MOVED_PREFIX: &str = ".rocker-deep-";

/// Removes the file or directory `name` of the directory `parent` and everything below it.
/// A missing one is removed already.
///
/// It never follows a symbolic link and never enters a mount: whatever else happens to be
/// mounted below stays whole. The number of open descriptors is bounded however deep the
/// tree is.
///
/// # Errors
///
/// `EXDEV` or `EBUSY` if something is mounted below; else what openat2(2) and unlinkat(2) say.
/// What could be removed until then is gone.
pub fn remove_tree(parent: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(errno) => return Err(errno.into()),
    }
    if removed_empty(parent, name)? {
        return Ok(());
    }
    let top = open_directory(parent, name)?;
    let mut moved = 0_u64;
    loop {
        let before = moved;
        empty(top.as_fd(), top.as_fd(), 0, &mut moved)?;
        // Every pass takes at least MAX_DEPTH levels off what was moved up.
        if before == moved {
            break;
        }
        rustix::fs::seek(&top, SeekFrom::Start(0))?;
    }
    rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR).or_else(gone)?;
    Ok(())
}

fn gone(errno: Errno) -> Result<(), Errno> {
    if errno == Errno::NOENT {
        Ok(())
    } else {
        Err(errno)
    }
}

/// Whether `name` was an empty directory and is gone now.
fn removed_empty(parent: BorrowedFd<'_>, name: &CStr) -> io::Result<bool> {
    match rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

fn open_directory(parent: BorrowedFd<'_>, name: &CStr) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS;
    rustix::fs::openat2(parent, name, flags, Mode::empty(), resolve).map_err(Into::into)
}

/// Removes everything in `directory`; what lies too deep is moved into `top`.
fn empty(
    top: BorrowedFd<'_>,
    directory: BorrowedFd<'_>,
    depth: usize,
    moved: &mut u64,
) -> io::Result<()> {
    for name in remove_files(directory)? {
        if removed_empty(directory, &name)? {
            continue;
        }
        if depth == MAX_DEPTH {
            move_up(directory, &name, top, moved)?;
            continue;
        }
        let below = open_directory(directory, &name)?;
        empty(top, below.as_fd(), depth + 1, moved)?;
        rustix::fs::unlinkat(directory, &name, AtFlags::REMOVEDIR).or_else(gone)?;
    }
    Ok(())
}

/// Moves a directory into `top`, under the next name that is not taken.
fn move_up(
    directory: BorrowedFd<'_>,
    name: &CStr,
    top: BorrowedFd<'_>,
    moved: &mut u64,
) -> io::Result<()> {
    loop {
        *moved += 1;
        let new_name = format!("{MOVED_PREFIX}{moved}");
        match rustix::fs::renameat(directory, name, top, new_name) {
            Ok(()) => return Ok(()),
            Err(Errno::EXIST | Errno::NOTEMPTY | Errno::NOTDIR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Removes everything in `directory` that is no directory and names the rest.
fn remove_files(directory: BorrowedFd<'_>) -> io::Result<Vec<CString>> {
    let mut buffer = [MaybeUninit::<u8>::uninit(); 16 * 1024];
    let mut directories = Vec::new();
    let mut entries = RawDir::new(directory, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        if entry.file_type() == FileType::Directory {
            directories.push(name.to_owned());
            continue;
        }
        match rustix::fs::unlinkat(directory, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(Errno::ISDIR) => directories.push(name.to_owned()),
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(directories)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{CWD, mkdirat, symlinkat};

    fn scratch() -> (OwnedFd, CString, std::path::PathBuf) {
        let dir = tempfile::tempdir().unwrap().keep();
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(dir.parent().unwrap(), flags, Mode::empty()).unwrap();
        let name = CString::new(dir.file_name().unwrap().to_str().unwrap()).unwrap();
        (fd, name, dir)
    }

    #[test]
    fn a_tree_of_any_depth_is_removed_with_few_descriptors() {
        let (parent, name, dir) = scratch();
        let mut at =
            rustix::fs::open(&dir, OFlags::DIRECTORY | OFlags::RDONLY, Mode::empty()).unwrap();
        for level in 0..300 {
            mkdirat(&at, "d", Mode::RWXU).unwrap();
            mkdirat(&at, "e", Mode::RWXU).unwrap();
            symlinkat("/", &at, format!("link{level}")).unwrap();
            let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
            at = rustix::fs::openat(&at, "d", flags, Mode::empty()).unwrap();
        }

        remove_tree(parent.as_fd(), &name).unwrap();

        let gone = rustix::fs::statat(CWD, &dir, AtFlags::SYMLINK_NOFOLLOW);
        assert_eq!(gone.err(), Some(Errno::NOENT));
        remove_tree(parent.as_fd(), &name).unwrap();
    }

    #[test]
    fn links_are_removed_and_what_they_name_stays() {
        let (parent, name, dir) = scratch();
        let (_, victim_name, victim) = scratch();
        symlinkat(&victim, CWD, dir.join("link")).unwrap();
        mkdirat(CWD, victim.join("inner"), Mode::RWXU).unwrap();

        remove_tree(parent.as_fd(), &name).unwrap();

        assert!(rustix::fs::statat(CWD, victim.join("inner"), AtFlags::empty()).is_ok());
        remove_tree(parent.as_fd(), &victim_name).unwrap();
    }
}
