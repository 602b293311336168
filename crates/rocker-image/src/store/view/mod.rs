//! A container's file system as the container sees it, read without mounting anything.
//!
//! Its upper directory lies on the layers of its image. Both are read as they are on disk, so
//! it makes no difference whether the container runs; what is mounted in it is not seen.
//! Nothing here follows a link: the container may write to its upper directory meanwhile.

mod between;
mod diff;
mod export;
mod layer;
mod walk;

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rocker_types::DiffId;
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;

use super::merged::Lower;
use super::text::printable;
use super::{Store, StoreError};

pub use diff::{Change, ChangeKind};
pub use export::ExportError;

/// The layers of an image and what a container has written on top of them.
#[derive(Debug)]
pub struct ContainerView {
    upper: Option<OwnedFd>,
    upper_path: PathBuf,
    /// Base first.
    lowers: Vec<Lower>,
}

impl ContainerView {
    /// Opens `upper`, and `layers`, base first. An upper directory that is not there is that
    /// of a container which never ran: it is empty.
    ///
    /// # Errors
    ///
    /// [`StoreError::NoLayer`] if a layer is not there, [`StoreError::Access`] if the kernel
    /// refuses.
    pub fn open(store: &Store, layers: &[DiffId], upper: &Path) -> Result<Self, StoreError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = match openat(CWD, upper, flags, Mode::empty()) {
            Ok(upper) => Some(upper),
            Err(Errno::NOENT) => None,
            Err(errno) => return Err(StoreError::access("open", upper)(errno.into())),
        };
        let mut lowers: Vec<Lower> = Vec::with_capacity(layers.len());
        for layer in layers {
            // overlayfs has a layer once, where it is topmost
            lowers.retain(|lower| lower.layer != *layer);
            lowers.push(Lower {
                layer: layer.clone(),
                root: store.open_layer(layer)?,
            });
        }
        Ok(Self {
            upper: opened,
            upper_path: upper.to_owned(),
            lowers,
        })
    }

    /// Everything that is seen, topmost first.
    fn all(&self) -> Vec<&OwnedFd> {
        let lowers = self.lowers.iter().rev().map(|lower| &lower.root);
        self.upper.iter().chain(lowers).collect()
    }

    fn failed(&self, path: &[u8]) -> impl FnOnce(Errno) -> StoreError {
        let path = self.upper_path.join(printable(path));
        move |errno| StoreError::access("read", path)(errno.into())
    }
}
