//! What one image has that another has not.

use std::cmp::Ordering;
use std::os::fd::OwnedFd;

use rocker_types::DiffId;
use rustix::fs::{FileType, Stat};

use super::diff::{Change, ChangeKind, Changes};
use super::walk::{Node, Walk, WalkError};
use crate::store::merged::Lower;
use crate::store::text::printable;
use crate::store::{Store, StoreError};

impl Store {
    /// What has to happen to the files of the image with the layers `from` to make those of the
    /// image with the layers `to`, both base first: parents first and otherwise in the order of
    /// bytes. The content of a directory that only `from` has is not listed.
    ///
    /// Layers that both have are the same files, and are not compared.
    ///
    /// # Errors
    ///
    /// [`StoreError::NoLayer`] if a layer is not there, [`StoreError::Access`] if something cannot
    /// be read.
    pub fn diff_images(&self, from: &[DiffId], to: &[DiffId]) -> Result<Vec<Change>, StoreError> {
        let stacks = (self.stack(from)?, self.stack(to)?);
        let (from, to) = (topmost_first(&stacks.0), topmost_first(&stacks.1));
        let failed = |(path, errno): WalkError| {
            let path = self.layout().layers().join(printable(&path));
            StoreError::access("read", path)(errno.into())
        };
        let unread = |errno| failed((Vec::new(), errno));
        let mut pair = Pair {
            from: Walk::new(&from).map_err(unread)?,
            to: Walk::new(&to).map_err(unread)?,
        };
        pair.compare().map_err(failed)
    }

    /// Each layer once, where it is topmost: overlayfs has it so.
    fn stack(&self, layers: &[DiffId]) -> Result<Vec<Lower>, StoreError> {
        let mut stack: Vec<Lower> = Vec::with_capacity(layers.len());
        for layer in layers {
            stack.retain(|lower| lower.layer != *layer);
            stack.push(Lower {
                layer: layer.clone(),
                root: self.open_layer(layer)?,
            });
        }
        Ok(stack)
    }
}

fn topmost_first(stack: &[Lower]) -> Vec<&OwnedFd> {
    stack.iter().rev().map(|lower| &lower.root).collect()
}

/// Two walks, side by side.
struct Pair<'a> {
    from: Walk<'a>,
    to: Walk<'a>,
}

impl Pair<'_> {
    fn compare(&mut self) -> Result<Vec<Change>, WalkError> {
        let mut changes = Changes::default();
        let (mut old, mut new) = (self.from.next()?, self.to.next()?);
        // a directory that is deleted, with a slash
        let mut deleted: Option<Vec<u8>> = None;
        loop {
            let order = match (&old, &new) {
                (None, None) => return Ok(changes.list),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some((old, _)), Some((new, _))) => by_component(old, new),
            };
            if let (Ordering::Less | Ordering::Equal, Some((path, was))) = (order, &old) {
                let is_below = deleted
                    .as_ref()
                    .is_some_and(|above| path.starts_with(above));
                let becomes = new.as_ref().filter(|_| order == Ordering::Equal);
                match becomes {
                    None if is_below => {}
                    None => {
                        deleted = is_directory(was).then(|| [path, &b"/"[..]].concat());
                        changes.push(ChangeKind::Deleted, path.clone(), false);
                    }
                    Some((_, is)) => {
                        if !is_same(&was.stat, &is.stat) {
                            changes.push(ChangeKind::Changed, path.clone(), is_directory(is));
                        }
                        if is_directory(was) && !is_directory(is) {
                            deleted = Some([path, &b"/"[..]].concat());
                        }
                    }
                }
            } else if let Some((path, is)) = &new {
                changes.push(ChangeKind::Added, path.clone(), is_directory(is));
            }
            if order != Ordering::Greater {
                old = self.from.next()?;
            }
            if order != Ordering::Less {
                new = self.to.next()?;
            }
        }
    }
}

fn is_directory(node: &Node) -> bool {
    node.file_type() == FileType::Directory
}

/// The order of a walk: a directory's content comes before its next neighbour, whatever byte
/// that has where the slash is.
fn by_component(a: &[u8], b: &[u8]) -> Ordering {
    a.split(|byte| *byte == b'/')
        .cmp(b.split(|byte| *byte == b'/'))
}

fn is_same(old: &Stat, new: &Stat) -> bool {
    if (old.st_dev, old.st_ino) == (new.st_dev, new.st_ino) {
        return true;
    }
    let attributes = |stat: &Stat| (stat.st_mode, stat.st_uid, stat.st_gid, stat.st_rdev);
    let time = |stat: &Stat| (stat.st_mtime, stat.st_mtime_nsec);
    let is_directory = FileType::from_raw_mode(old.st_mode) == FileType::Directory;
    attributes(old) == attributes(new)
        && time(old) == time(new)
        && (is_directory || old.st_size == new.st_size)
}
