//! Files and directories of the cgroup file system, with the kernel's bare error numbers: the
//! callers' errors carry the paths, and many of these errors are answers, not failures.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, Result};

/// Writes `value` in one write(2), as control files want it. A file that does not exist is
/// `ENOENT`, never created.
pub(super) fn write(path: &Path, value: &str) -> Result<()> {
    write_once(&open_to_write(path)?, value)
}

/// Writes each of `values` to the same file, one by one; on error, which one it was.
pub(super) fn write_each<'a>(
    path: &Path,
    values: &'a [String],
) -> std::result::Result<(), (&'a str, Errno)> {
    let first = values.first().map_or("", String::as_str);
    let file = open_to_write(path).map_err(|error| (first, error))?;
    values
        .iter()
        .try_for_each(|value| write_once(&file, value).map_err(|error| (value.as_str(), error)))
}

fn open_to_write(path: &Path) -> Result<OwnedFd> {
    rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
}

fn write_once(file: &OwnedFd, value: &str) -> Result<()> {
    let written = rustix::io::retry_on_intr(|| rustix::io::write(file, value.as_bytes()))?;
    if written == value.len() {
        Ok(())
    } else {
        Err(Errno::IO)
    }
}

/// Reads a whole control file; what is not UTF-8 (nothing in this file system) is `EILSEQ`.
pub(super) fn read(path: &Path) -> Result<String> {
    let file = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut text = Vec::new();
    loop {
        let mut buffer = [0; 4096];
        let read = rustix::io::retry_on_intr(|| rustix::io::read(&file, &mut buffer))?;
        if read == 0 {
            return String::from_utf8(text).map_err(|_| Errno::ILSEQ);
        }
        text.extend_from_slice(&buffer[..read]);
    }
}

/// Makes one directory, `EEXIST` if it is there.
pub(super) fn make_directory(path: &Path) -> Result<()> {
    rustix::fs::mkdir(path, Mode::from_raw_mode(0o755))
}

/// Removes one directory; a cgroup with control files only counts as empty.
pub(super) fn remove_directory(path: &Path) -> Result<()> {
    rustix::fs::rmdir(path)
}

/// The directories directly below `path`.
pub(super) fn child_directories(path: &Path) -> Result<Vec<PathBuf>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::open(path, flags, Mode::empty())?;
    let mut children = Vec::new();
    for entry in rustix::fs::Dir::new(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if entry.file_type() == rustix::fs::FileType::Directory && name != b"." && name != b".." {
            children.push(path.join(OsStr::from_bytes(name)));
        }
    }
    Ok(children)
}
