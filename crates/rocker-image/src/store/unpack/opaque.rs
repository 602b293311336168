//! Directories whose former content the layer hides.

use std::collections::BTreeSet;
use std::ops::Bound;

use super::name::{join, split};

/// Names, without links, of directories that were marked opaque.
#[derive(Debug, Default)]
pub(super) struct Opaque(BTreeSet<Vec<u8>>);

impl Opaque {
    /// Whether it is new.
    pub(super) fn insert(&mut self, path: &[u8]) -> bool {
        self.0.insert(path.to_vec())
    }

    /// Forgets a directory that was removed, with everything below it.
    pub(super) fn forget(&mut self, path: &[u8]) {
        self.0.remove(path);
        let below: Vec<_> = self.0.range(below(path)).cloned().collect();
        for path in below {
            self.0.remove(&path);
        }
    }

    /// Whether nothing of the layers below is seen at `path`: it or a directory above it is
    /// opaque.
    pub(super) fn covers(&self, path: &[u8]) -> bool {
        let mut path = path;
        while !self.0.is_empty() {
            if self.0.contains(path) {
                return true;
            }
            if path.is_empty() {
                break;
            }
            path = split(path).0;
        }
        false
    }
}

/// The names of what is below a directory: '0' is the byte after '/'.
pub(super) fn below(path: &[u8]) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
    let (start, end) = (join(path, b""), [path, b"0"].concat());
    (Bound::Included(start), Bound::Excluded(end))
}
