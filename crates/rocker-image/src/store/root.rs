//! The store's directories.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rocker_types::{DiffId, Digest, Layout};
use rustix::fs::{
    AtFlags, CWD, Dir, FileType, FlockOperation, Mode, OFlags, fchmod, flock, fstat, mkdirat,
    openat, statat,
};
use rustix::io::Errno;
use rustix::process::geteuid;

use super::distrust::Distrust;
use super::record::{Record, VerifiedBlob};
use super::remove::remove_tree;
use super::staged::StagedLayer;
use super::staging::{self, Staging};
use super::unfinished;
use super::unpack::is_opaque;
use super::unsynced::UNSYNCED;
use super::{Compression, StoreError, Swept, UnpackError, UnpackLimits, pipeline};
use crate::document::{Descriptor, Format};

/// How the store opens directories: never through a link.
pub(super) const OPEN_DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// How the names of what lies beside a layer end.
const COMPANIONS: [&str; 4] = [".json", ".recipe", ".attic", UNSYNCED];

/// Layers, configs and manifests on disk.
///
/// Several processes may use one store at a time. It knows no images: whether a layer is
/// still needed is for its caller to remember.
pub struct Store {
    layout: Layout,
    layers: OwnedFd,
    blobs: OwnedFd,
    tmp: OwnedFd,
    pub(super) distrust: Arc<Distrust>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("root", &self.layout.root())
            .finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the store below `layout`'s root and makes what is missing of it, for us alone.
    ///
    /// A root that others may read is closed to them.
    ///
    /// # Errors
    ///
    /// A root that is a symbolic link, belongs to somebody else or is writable by others is
    /// refused; [`StoreError::Access`] if the kernel refuses.
    pub fn open(layout: &Layout) -> Result<Self, StoreError> {
        let root = open_root(layout.root())?;
        let layers = open_or_create(&root, "layers", &layout.layers())?;
        let blobs = open_or_create(&root, "blobs", &layout.blobs())?;
        let tmp = open_or_create(&root, "tmp", &layout.tmp())?;
        Ok(Self {
            layout: layout.clone(),
            layers,
            blobs,
            tmp,
            distrust: Arc::default(),
        })
    }

    /// The same store for another thread.
    pub(crate) fn try_clone(&self) -> Result<Self, StoreError> {
        let failed = |path| StoreError::access("keep open", path);
        Ok(Self {
            layout: self.layout.clone(),
            layers: (self.layers.try_clone()).map_err(failed(self.layout.layers()))?,
            blobs: (self.blobs.try_clone()).map_err(failed(self.layout.blobs()))?,
            tmp: self.tmp.try_clone().map_err(failed(self.layout.tmp()))?,
            distrust: Arc::clone(&self.distrust),
        })
    }

    /// Where everything lies.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// A private place to unpack layers to.
    ///
    /// # Errors
    ///
    /// [`StoreError::Access`] if it cannot be made.
    pub fn stage(&self) -> Result<Staging, StoreError> {
        Staging::new(self.tmp.as_fd(), &self.layout.tmp())
    }

    /// Takes over what processes left behind that died while they worked: it goes when the result
    /// is dropped, which may take long. One system call if there is nothing to do. What a later
    /// pull can use stays for a week.
    ///
    /// # Errors
    ///
    /// [`StoreError::Access`] if something cannot be removed.
    pub fn sweep(&self) -> Result<Swept, StoreError> {
        if !staging::is_there(self.tmp.as_fd(), &self.layout.tmp())? {
            return Ok(Swept::default());
        }
        // First these: as long as the places stand, a next sweep goes on where this one died.
        self.sweep_companions()?;
        unfinished::sweep(self)
    }

    /// Unpacks an archive that nobody promised anything about, compressed or not, as
    /// `rocker import` gets it. [`StagedLayer::diff_id`] tells what it is.
    ///
    /// # Errors
    ///
    /// [`UnpackError`] says what is wrong with the archive.
    pub fn import(
        &self,
        archive: impl std::io::Read + Send,
        limits: &UnpackLimits,
    ) -> Result<StagedLayer, UnpackError> {
        pipeline::import_layer(&self.stage()?, archive, limits)
    }

    /// Whether the layer is in the store, complete and verified.
    #[must_use]
    pub fn has_layer(&self, layer: &DiffId) -> bool {
        !self.distrusts(layer) && self.has_directory(layer)
    }

    pub(super) fn has_directory(&self, layer: &DiffId) -> bool {
        statat(&self.layers, layer.hex(), AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }

    /// Where the layer is, or would be.
    #[must_use]
    pub fn layer_dir(&self, layer: &DiffId) -> PathBuf {
        self.layout.layer(layer)
    }

    /// The directories to mount for a chain of layers, base first: what overlayfs takes as
    /// `lowerdir`, topmost first.
    ///
    /// A layer that occurs twice is mounted once, where it is topmost: overlayfs refuses one
    /// directory twice, and whatever the lower one says the upper one says again. Nothing
    /// below a layer that deletes everything is mounted, since overlayfs has no mark for
    /// that at its root.
    ///
    /// # Errors
    ///
    /// [`StoreError::NoLayer`] if one is missing.
    pub fn lower_dirs(&self, chain: &[DiffId]) -> Result<Vec<PathBuf>, StoreError> {
        let mut lowers: Vec<PathBuf> = Vec::with_capacity(chain.len());
        for layer in chain.iter().rev() {
            let path = self.layer_dir(layer);
            if lowers.contains(&path) {
                continue;
            }
            let directory = self.open_layer(layer)?;
            lowers.push(path);
            if is_opaque(directory.as_fd()) {
                break;
            }
        }
        Ok(lowers)
    }

    /// Every layer in the store, in no particular order.
    ///
    /// # Errors
    ///
    /// [`StoreError::Access`] if the directory cannot be read.
    pub fn layers(&self) -> Result<Vec<DiffId>, StoreError> {
        let names = self.names_in_layers()?;
        Ok(names.iter().filter_map(|name| parse_layer(name)).collect())
    }

    pub(super) fn names_in_layers(&self) -> Result<Vec<String>, StoreError> {
        let failed = |errno: Errno| StoreError::access("list", self.layout.layers())(errno.into());
        Dir::read_from(&self.layers)
            .map_err(failed)?
            .map(|entry| {
                let entry = entry.map_err(failed)?;
                Ok(entry.file_name().to_string_lossy().into_owned())
            })
            .collect()
    }

    /// Removes records, recipes and attics without a layer. Who dies between the renames
    /// leaves them, and always a staging directory as well.
    fn sweep_companions(&self) -> Result<(), StoreError> {
        let _lock = self.lock_layers()?;
        for name in self.names_in_layers()? {
            let layer = COMPANIONS
                .iter()
                .find_map(|suffix| parse_layer(name.strip_suffix(suffix)?));
            if layer.is_some_and(|layer| !self.has_directory(&layer)) {
                self.remove_companion(&name)?;
            }
        }
        Ok(())
    }

    pub(super) fn remove_companion(&self, name: &str) -> Result<(), StoreError> {
        let path = self.layout.layers().join(name);
        remove_tree(self.layers.as_fd(), name.as_bytes())
            .map_err(StoreError::access("remove", path))
    }

    /// Bytes of file content in the layer, as they were counted when it was unpacked.
    ///
    /// # Errors
    ///
    /// [`StoreError::NoLayer`] if it is not there, [`StoreError::Record`] if what the store
    /// knows about it is damaged.
    pub fn layer_size(&self, layer: &DiffId) -> Result<u64, StoreError> {
        Ok(Record::load(self, layer)?.size_bytes)
    }

    /// Whether this blob is known to unpack to the layer: it was verified when it came. A
    /// `compression` must be the one that it came with.
    #[must_use]
    pub fn knows_blob(
        &self,
        layer: &DiffId,
        digest: &Digest,
        size_bytes: u64,
        compression: Option<Compression>,
    ) -> bool {
        let blob = VerifiedBlob {
            digest: digest.clone(),
            size_bytes,
            compression,
        };
        let is_same = |known: &VerifiedBlob| known.agrees_with(&blob);
        Record::load(self, layer).is_ok_and(|record| record.blobs.iter().any(is_same))
    }

    /// The blobs that are known to unpack to the layer, the latest first, as a manifest would
    /// name them.
    #[must_use]
    pub fn blobs_of(&self, layer: &DiffId) -> Vec<Descriptor> {
        let Ok(record) = Record::load(self, layer) else {
            return Vec::new();
        };
        let described = record.blobs.into_iter().rev().filter_map(|blob| {
            Some(Descriptor {
                media_type: Format::Oci.layer(blob.compression?).to_owned(),
                digest: blob.digest,
                size: blob.size_bytes,
            })
        });
        described.collect()
    }

    /// Removes a layer; one that is not there is removed already. It is gone from the store
    /// at once, also if its files cannot be deleted or we die while they are: the next
    /// [`sweep`](Self::sweep) goes on.
    ///
    /// # Errors
    ///
    /// [`StoreError::Access`] if the kernel refuses.
    pub fn remove_layer(&self, layer: &DiffId) -> Result<(), StoreError> {
        let trash = self.trash()?;
        self.discard_layer(layer, &trash)?;
        trash.empty()
    }

    /// Opens a layer's directory.
    pub(super) fn open_layer(&self, layer: &DiffId) -> Result<OwnedFd, StoreError> {
        openat(&self.layers, layer.hex(), OPEN_DIRECTORY, Mode::empty()).map_err(
            |errno| match errno {
                Errno::NOENT => StoreError::NoLayer {
                    layer: layer.clone(),
                },
                errno => StoreError::access("open layer", self.layer_dir(layer))(errno.into()),
            },
        )
    }

    /// Keeps other processes and threads from adding or removing layers until the
    /// descriptor is dropped. Held for renames only, never while data is written.
    pub(super) fn lock_layers(&self) -> Result<OwnedFd, StoreError> {
        let failed = |errno: Errno| StoreError::access("lock", self.layout.layers())(errno.into());
        // Locks belong to an open file, so every holder needs one of its own.
        let lock = openat(&self.layers, ".", OPEN_DIRECTORY, Mode::empty()).map_err(failed)?;
        loop {
            match flock(&lock, FlockOperation::LockExclusive) {
                Err(Errno::INTR) => {}
                result => return result.map(|()| lock).map_err(failed),
            }
        }
    }

    pub(super) fn layers_fd(&self) -> BorrowedFd<'_> {
        self.layers.as_fd()
    }

    pub(super) fn tmp_fd(&self) -> BorrowedFd<'_> {
        self.tmp.as_fd()
    }

    pub(super) fn blobs_fd(&self) -> BorrowedFd<'_> {
        self.blobs.as_fd()
    }
}

/// The layer whose directory has this name.
fn parse_layer(hex: &str) -> Option<DiffId> {
    let parse = |algorithm: &str| format!("{algorithm}:{hex}").parse().ok();
    parse("sha256").or_else(|| parse("sha512"))
}

fn open_root(path: &Path) -> Result<OwnedFd, StoreError> {
    let failed = |attempt| move |errno: Errno| StoreError::access(attempt, path)(errno.into());
    let root = match openat(CWD, path, OPEN_DIRECTORY, Mode::empty()) {
        Err(Errno::NOENT) => create_root(path)?,
        Err(Errno::LOOP | Errno::NOTDIR) if is_symlink(path) => {
            return Err(StoreError::RootIsSymlink {
                path: path.to_owned(),
            });
        }
        result => result.map_err(failed("open data directory"))?,
    };
    let stat = fstat(&root).map_err(failed("inspect data directory"))?;
    let (owner, us) = (stat.st_uid, geteuid().as_raw());
    if owner != us {
        return Err(StoreError::RootNotOurs {
            path: path.to_owned(),
            owner,
            us,
        });
    }
    let mode = Mode::from_raw_mode(stat.st_mode);
    if mode.intersects(Mode::WGRP | Mode::WOTH) {
        return Err(StoreError::RootWritableByOthers {
            path: path.to_owned(),
            mode: mode.as_raw_mode(),
        });
    }
    if mode.intersects(Mode::RWXG | Mode::RWXO) {
        fchmod(&root, Mode::RWXU).map_err(failed("close to others the data directory"))?;
    }
    Ok(root)
}

fn create_root(path: &Path) -> Result<OwnedFd, StoreError> {
    if let Some(parent) = path.parent() {
        fs_err::create_dir_all(parent).map_err(StoreError::access("create directory", parent))?;
    }
    open_or_create_at(CWD, path, path)
}

fn is_symlink(path: &Path) -> bool {
    let stat = statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW);
    stat.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink)
}

fn open_or_create(root: &OwnedFd, name: &str, path: &Path) -> Result<OwnedFd, StoreError> {
    match openat(root, name, OPEN_DIRECTORY, Mode::empty()) {
        Err(Errno::NOENT) => open_or_create_at(root.as_fd(), Path::new(name), path),
        result => result.map_err(|errno| StoreError::access("open directory", path)(errno.into())),
    }
}

fn open_or_create_at(
    parent: BorrowedFd<'_>,
    name: &Path,
    path: &Path,
) -> Result<OwnedFd, StoreError> {
    match mkdirat(parent, name, Mode::RWXU) {
        // Two processes may start at the same time.
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(StoreError::access("create directory", path)(errno.into())),
    }
    let opened = openat(parent, name, OPEN_DIRECTORY, Mode::empty());
    opened.map_err(|errno| StoreError::access("open directory", path)(errno.into()))
}
