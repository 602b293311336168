//! Directories that lie on each other, listed as one.

use std::collections::BTreeMap;
use std::collections::btree_map::{Entry, IntoIter};
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, Stat, statat};
use rustix::io::Errno;

use crate::store::merged::open_directory;
use crate::store::unpack::{is_opaque, is_whiteout, join};

/// A name in the merged view.
#[derive(Debug)]
pub(super) struct Node {
    /// Which of the roots has it.
    pub(super) root: usize,
    pub(super) stat: Stat,
    /// For a directory, all roots whose content is seen in it, topmost first.
    parts: Vec<usize>,
    /// Whether what lies below may still belong to it.
    is_open: bool,
}

impl Node {
    pub(super) fn file_type(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }
}

/// The names of one directory.
pub(super) type Names = BTreeMap<Vec<u8>, Node>;

/// The directory that could not be listed, and why.
pub(super) type WalkError = (Vec<u8>, Errno);

/// A directory, and those of its names that are still to come.
type Level = (Vec<u8>, IntoIter<Vec<u8>, Node>);

/// Every name below the roots, parents first and otherwise in the order of bytes. Holds the
/// names of one directory at each depth.
pub(super) struct Walk<'a> {
    /// Topmost first.
    roots: &'a [&'a OwnedFd],
    levels: Vec<Level>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(roots: &'a [&'a OwnedFd]) -> Result<Self, Errno> {
        let all: Vec<usize> = (0..roots.len()).collect();
        let names = list(roots, b"", &all)?;
        Ok(Self {
            roots,
            levels: vec![(Vec::new(), names.into_iter())],
        })
    }

    /// The next name that is seen, with its path.
    pub(super) fn next(&mut self) -> Result<Option<(Vec<u8>, Node)>, WalkError> {
        loop {
            match self.next_on_disk()? {
                Some((_, node)) if is_whiteout(&node.stat) => {}
                found => return Ok(found),
            }
        }
    }

    /// The next name, also if it only hides what is below it.
    pub(super) fn next_on_disk(&mut self) -> Result<Option<(Vec<u8>, Node)>, WalkError> {
        while let Some((directory, names)) = self.levels.last_mut() {
            let Some((name, node)) = names.next() else {
                self.levels.pop();
                continue;
            };
            let path = join(directory, &name);
            if node.file_type() == FileType::Directory {
                let names = list(self.roots, &path, &node.parts);
                let names = names.map_err(|errno| (path.clone(), errno))?;
                self.levels.push((path.clone(), names.into_iter()));
            }
            return Ok(Some((path, node)));
        }
        Ok(None)
    }
}

/// The names in the directory at `path`, of those `parts` of the roots that have it.
pub(super) fn list(roots: &[&OwnedFd], path: &[u8], parts: &[usize]) -> Result<Names, Errno> {
    let mut names = Names::new();
    for root in parts {
        let directory = match open_directory(roots[*root].as_fd(), path) {
            Ok(directory) => directory,
            // a container that runs may have taken it away
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => continue,
            Err(errno) => return Err(errno),
        };
        for (name, stat) in entries(&directory)? {
            add(&mut names, name, *root, stat);
        }
        if is_opaque(directory.as_fd()) {
            break;
        }
    }
    Ok(names)
}

/// The entries of one directory as they are on disk.
pub(super) fn entries(directory: &OwnedFd) -> Result<Vec<(Vec<u8>, Stat)>, Errno> {
    let mut found = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => found.push((name.to_bytes().to_vec(), stat)),
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(found)
}

fn add(names: &mut Names, name: Vec<u8>, root: usize, stat: Stat) {
    let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    match names.entry(name) {
        Entry::Vacant(vacant) => {
            vacant.insert(Node {
                root,
                stat,
                parts: vec![root],
                is_open: is_directory,
            });
        }
        Entry::Occupied(mut occupied) => {
            let node = occupied.get_mut();
            if node.is_open && is_directory {
                node.parts.push(root);
            } else {
                node.is_open = false;
            }
        }
    }
}
