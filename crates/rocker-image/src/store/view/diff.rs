//! What a container has changed.

use std::collections::{BTreeMap, HashSet};
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{FileType, Stat};
use rustix::io::Errno;

use super::ContainerView;
use super::walk::{entries, list};
use crate::store::StoreError;
use crate::store::merged::{look_up, open_directory};
use crate::store::unpack::{is_opaque, is_whiteout, join, split};

/// What happened to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// The image has none of this name.
    Added,
    /// The image has another, or one with other attributes.
    Changed,
    /// Only the image has it.
    Deleted,
}

/// A file that is not as in the image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What happened to it.
    pub kind: ChangeKind,
    /// Its path from the root, without the leading slash.
    pub path: Vec<u8>,
}

/// What must be there for something to be mounted on. Docker keeps such places in a layer of
/// their own, so that they are no changes there either.
const MOUNT_POINTS: [&[u8]; 8] = [
    b"dev",
    b"proc",
    b"sys",
    b"etc/hostname",
    b"etc/hosts",
    b"etc/resolv.conf",
    b"dev/pts",
    b"dev/shm",
];

/// What the upper directory has under one name.
enum Upper {
    File(Stat),
    Whiteout,
    /// Hidden because the directory is another than that of the image.
    Hidden,
}

impl ContainerView {
    /// What is not as in the image, parents first and otherwise in the order of bytes.
    ///
    /// A directory is listed if its attributes or its time changed, or if something in it was
    /// added or deleted; the content of a deleted one is not listed, as in docker.
    ///
    /// # Errors
    ///
    /// [`StoreError::Access`] if something cannot be read.
    pub fn diff(&self) -> Result<Vec<Change>, StoreError> {
        let Some(upper) = &self.upper else {
            return Ok(Vec::new());
        };
        let mut changes = Changes::default();
        let mut levels = vec![(Vec::new(), self.names(upper, b"")?.into_iter())];
        while let Some((directory, names)) = levels.last_mut() {
            let Some((name, found)) = names.next() else {
                levels.pop();
                continue;
            };
            let path = join(directory, &name);
            let Upper::File(stat) = found else {
                // what neither has is nothing that could be deleted
                if look_up(&self.lowers, &path)?.is_some() {
                    changes.push(ChangeKind::Deleted, path, false);
                }
                continue;
            };
            let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
            let below = look_up(&self.lowers, &path)?;
            match below {
                Some(below) if is_directory && is_same(&path, &stat, &below.stat) => {}
                Some(_) => changes.push(ChangeKind::Changed, path.clone(), is_directory),
                None if is_mount_point(&path, &stat) => {}
                None => changes.push(ChangeKind::Added, path.clone(), is_directory),
            }
            if is_directory {
                let names = self.names(upper, &path)?;
                levels.push((path, names.into_iter()));
            }
        }
        Ok(changes.list)
    }

    /// What the upper directory says about the names below `path`.
    fn names(&self, upper: &OwnedFd, path: &[u8]) -> Result<BTreeMap<Vec<u8>, Upper>, StoreError> {
        self.read_names(upper, path).map_err(self.failed(path))
    }

    fn read_names(&self, upper: &OwnedFd, path: &[u8]) -> Result<BTreeMap<Vec<u8>, Upper>, Errno> {
        let directory = match open_directory(upper.as_fd(), path) {
            Ok(directory) => directory,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(BTreeMap::new()),
            Err(errno) => return Err(errno),
        };
        let mut names = BTreeMap::new();
        if is_opaque(directory.as_fd()) {
            let lowers: Vec<_> = self.lowers.iter().rev().map(|lower| &lower.root).collect();
            let all: Vec<_> = (0..lowers.len()).collect();
            let hidden = list(&lowers, path, &all)?;
            names.extend(hidden.into_keys().map(|name| (name, Upper::Hidden)));
        }
        for (name, stat) in entries(&directory)? {
            let found = match is_whiteout(&stat) {
                true => Upper::Whiteout,
                false => Upper::File(stat),
            };
            names.insert(name, found);
        }
        Ok(names)
    }
}

/// A list in which a directory stands before what is in it.
#[derive(Default)]
pub(super) struct Changes {
    pub(super) list: Vec<Change>,
    directories: HashSet<Vec<u8>>,
}

impl Changes {
    pub(super) fn push(&mut self, kind: ChangeKind, path: Vec<u8>, is_directory: bool) {
        let parent = split(&path).0;
        let is_listed = parent.is_empty() || self.directories.contains(parent);
        if kind != ChangeKind::Changed && !is_listed {
            let path = parent.to_vec();
            self.directories.insert(path.clone());
            let kind = ChangeKind::Changed;
            self.list.push(Change { kind, path });
        }
        if is_directory {
            self.directories.insert(path.clone());
        }
        self.list.push(Change { kind, path });
    }
}

/// Overlayfs copies a directory up, with all it has, when something below it changes.
fn is_same(path: &[u8], upper: &Stat, below: &Stat) -> bool {
    let time = |stat: &Stat| (stat.st_mtime, stat.st_mtime_nsec);
    let others = |stat: &Stat| (stat.st_mode, stat.st_uid, stat.st_gid);
    let has_mount_points = MOUNT_POINTS.iter().any(|point| split(point).0 == path);
    others(upper) == others(below) && (has_mount_points || time(upper) == time(below))
}

/// Whether this is nothing but a place to mount on.
pub(super) fn is_mount_point(path: &[u8], stat: &Stat) -> bool {
    let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    MOUNT_POINTS.contains(&path) && (is_directory || stat.st_size == 0)
}
