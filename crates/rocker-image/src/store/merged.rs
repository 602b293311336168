//! The merged view of a stack of layers, as overlayfs would show it, one name at a time.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rocker_types::DiffId;
use rustix::fs::{AtFlags, FileType, Mode, Stat, openat, statat};
use rustix::io::Errno;

use super::StoreError;
use super::root::OPEN_DIRECTORY;
use super::text::printable;
use super::unpack::{is_opaque, is_whiteout, split};

/// A layer on disk, staged or committed.
#[derive(Debug)]
pub(super) struct Lower {
    pub(super) layer: DiffId,
    pub(super) root: OwnedFd,
}

/// Where the merged view has a name.
#[derive(Debug)]
pub(super) struct Found<'a> {
    /// The layer that has it.
    pub(super) layer: &'a DiffId,
    /// The directory in that layer.
    pub(super) parent: OwnedFd,
    /// The name in it; `.` for the root.
    pub(super) leaf: Vec<u8>,
    pub(super) stat: Stat,
}

impl Found<'_> {
    pub(super) fn file_type(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }
}

/// What one layer says about a name.
enum Answer<T> {
    Here(T),
    /// Not here, nor below: this layer hides it.
    Hidden,
    /// Ask the next layer.
    Below,
}

/// Looks a plain path up in `lowers`, base first. Links in the middle are not followed: what
/// is behind them has a name of its own.
pub(super) fn look_up<'a>(
    lowers: &'a [Lower],
    path: &[u8],
) -> Result<Option<Found<'a>>, StoreError> {
    for lower in lowers.iter().rev() {
        match look_up_in(lower, path) {
            Ok(Answer::Here(found)) => return Ok(Some(found)),
            Ok(Answer::Hidden) => return Ok(None),
            Ok(Answer::Below) => {}
            Err(errno) => {
                let path = format!("{} of layer {}", printable(path), lower.layer);
                return Err(StoreError::access("look up", path)(errno.into()));
            }
        }
    }
    Ok(None)
}

fn look_up_in<'a>(lower: &'a Lower, path: &[u8]) -> Result<Answer<Found<'a>>, Errno> {
    let mut parent = openat(&lower.root, ".", OPEN_DIRECTORY, Mode::empty())?;
    let mut hides = is_opaque(parent.as_fd());
    let (above, leaf) = if path.is_empty() {
        (&b""[..], &b"."[..])
    } else {
        split(path)
    };
    for component in above
        .split(|b| *b == b'/')
        .filter(|component| !component.is_empty())
    {
        match openat(&parent, component, OPEN_DIRECTORY, Mode::empty()) {
            Ok(directory) => parent = directory,
            Err(Errno::NOENT) => return Ok(if hides { Answer::Hidden } else { Answer::Below }),
            // A file, a link or a whiteout hides directories of that name.
            Err(Errno::NOTDIR | Errno::LOOP) => return Ok(Answer::Hidden),
            Err(errno) => return Err(errno),
        }
        hides |= is_opaque(parent.as_fd());
    }
    match statat(&parent, leaf, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) if is_whiteout(&stat) => Ok(Answer::Hidden),
        Ok(stat) => Ok(Answer::Here(Found {
            layer: &lower.layer,
            parent,
            leaf: leaf.to_vec(),
            stat,
        })),
        Err(Errno::NOENT) => Ok(if hides { Answer::Hidden } else { Answer::Below }),
        Err(errno) => Err(errno),
    }
}

/// Opens a plain path without links below `root`, component by component.
pub(crate) fn open_directory(root: BorrowedFd<'_>, path: &[u8]) -> Result<OwnedFd, Errno> {
    let mut directory = openat(root, ".", OPEN_DIRECTORY, Mode::empty())?;
    for component in path
        .split(|b| *b == b'/')
        .filter(|component| !component.is_empty())
    {
        directory = openat(&directory, component, OPEN_DIRECTORY, Mode::empty())?;
    }
    Ok(directory)
}
