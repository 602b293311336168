//! Content and attributes of files.

use std::io::BufRead;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{
    AtFlags, Gid, Mode, Uid, XattrFlags, chmodat, chownat, fchmod, fchown, fsetxattr, futimens,
};
use rustix::io::{pwrite, write};

use super::directory::{set_times, timestamps};
use super::place::Place;
use crate::store::UnpackError;
use crate::store::archive::{ArchiveReader, Entry, Extent};

/// Copies all of the entry's data; returns its length.
pub(super) fn write_whole<R: BufRead>(
    file: &OwnedFd,
    place: &Place<'_>,
    archive: &mut ArchiveReader<R>,
) -> Result<u64, UnpackError> {
    let mut total = 0;
    loop {
        let chunk = archive.body_chunk()?;
        if chunk.is_empty() {
            return Ok(total);
        }
        let length = write(file, chunk).map_err(|error| place.error("write", error))? as u64;
        archive.consume_stored(Extent {
            offset: total,
            length,
        });
        total += length;
    }
}

/// Copies the entry's data to where it belongs and leaves holes between; returns the bytes
/// written.
pub(super) fn write_extents<R: BufRead>(
    file: &OwnedFd,
    place: &Place<'_>,
    extents: &[Extent],
    archive: &mut ArchiveReader<R>,
) -> Result<u64, UnpackError> {
    let mut total = 0;
    for Extent { offset, length } in extents.iter().copied() {
        let mut done = 0;
        while done < length {
            let chunk = archive.body_chunk()?;
            let rest = usize::try_from(length - done).unwrap_or(usize::MAX);
            let chunk = &chunk[..chunk.len().min(rest)];
            let offset = offset + done;
            let written = pwrite(file, chunk, offset);
            let length = written.map_err(|error| place.error("write", error))? as u64;
            archive.consume_stored(Extent { offset, length });
            done += length;
        }
        total += done;
    }
    Ok(total)
}

/// Owner, then mode, then attributes, then times: chown clears setuid and file
/// capabilities, and everything but the last changes times.
pub(super) fn finish_file(
    file: &OwnedFd,
    place: &Place<'_>,
    entry: &Entry,
    umask: u32,
) -> Result<(), UnpackError> {
    if entry.uid != 0 || entry.gid != 0 {
        let (uid, gid) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
        fchown(file, Some(uid), Some(gid))
            .map_err(|error| place.error("change the owner of", error))?;
    }
    if entry.mode & 0o777 & !umask != entry.mode {
        fchmod(file, Mode::from_raw_mode(entry.mode))
            .map_err(|error| place.error("change the mode of", error))?;
    }
    for (name, value) in &entry.xattrs {
        fsetxattr(file, name.as_slice(), value, XattrFlags::empty())
            .map_err(|error| place.error("set an extended attribute of", error))?;
    }
    futimens(file, &timestamps(entry.mtime)).map_err(|error| place.error("set the times of", error))
}

/// Owner, mode and times of what cannot be opened. Everything is done by name and follows
/// no link: the name was made a moment ago, in a directory that only we know.
pub(super) fn finish_node(
    place: &Place<'_>,
    entry: &Entry,
    mode: Option<u32>,
) -> Result<(), UnpackError> {
    let Place { directory, leaf } = place;
    if entry.uid != 0 || entry.gid != 0 {
        let (uid, gid) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
        chownat(
            directory,
            *leaf,
            Some(uid),
            Some(gid),
            AtFlags::SYMLINK_NOFOLLOW,
        )
        .map_err(|error| place.error("change the owner of", error))?;
    }
    if let Some(mode) = mode {
        chmodat(
            directory,
            *leaf,
            Mode::from_raw_mode(mode),
            AtFlags::empty(),
        )
        .map_err(|error| place.error("change the mode of", error))?;
    }
    set_times(directory.as_fd(), leaf, entry.mtime)
        .map_err(|error| place.error("set the times of", error))
}

/// The process' umask, without changing it. If it cannot be read, every file's mode is set
/// once more than necessary.
pub(super) fn read_umask() -> u32 {
    let status = fs_err::read_to_string("/proc/self/status").unwrap_or_default();
    let umask = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    umask
        .and_then(|text| u32::from_str_radix(text.trim(), 8).ok())
        .unwrap_or(0o777)
}
