//! Staged layers become layers of the store.

use std::collections::HashMap;
use std::os::fd::AsFd;
use std::time::Duration;

use rocker_types::DiffId;
use rustix::fs::{RenameFlags, fsync, renameat, renameat_with};
use rustix::io::Errno;

use super::merged::Lower;
use super::record::{Record, VerifiedBlob, record_name};
use super::remove::remove_tree;
use super::settle::{check_base, settle};
use super::staged::StagedLayer;
use super::staging::Staging;
use super::{Durability, Store, StoreError};
use crate::document::Descriptor;

/// One layer of an image that is about to be committed.
#[derive(Debug)]
pub enum ChainLayer {
    /// In the store already, or staged elsewhere in the same chain.
    Present(DiffId),
    /// Unpacked a moment ago.
    Staged(StagedLayer),
}

impl ChainLayer {
    fn diff_id(&self) -> &DiffId {
        match self {
            Self::Present(layer) => layer,
            Self::Staged(layer) => layer.diff_id(),
        }
    }
}

/// What came of putting a chain together.
struct Settled {
    /// Base first, each layer where it first occurs.
    stack: Vec<Lower>,
    /// Whether a staged layer got files of the layers below.
    has_copies: bool,
}

/// A layer of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedLayer {
    /// Which one.
    pub diff_id: DiffId,
    /// Bytes of file content, holes not counted.
    pub size_bytes: u64,
    /// Whether it was in the store before.
    pub was_present: bool,
    /// What it takes on disk with all that belongs to it, if that was measured.
    pub disk_bytes: Option<u64>,
}

impl Store {
    /// Makes an image's layers part of the store: all of `chain`, base first, one result each.
    ///
    /// When this returns, the layers are on disk for good, and the caller may remember them. If it fails, the store has at most layers and blobs more
    /// that nobody needs. A layer that another process committed meanwhile is used as it is.
    ///
    /// # Errors
    ///
    /// [`StoreError::NoLayer`] if a present layer is not there (any more),
    /// [`StoreError::LinkTargetMissing`] if a staged one links to a file that is nowhere,
    /// [`StoreError::TooLarge`] if copies of such files are more than the disk may hold,
    /// [`StoreError::OtherBase`] if one cannot be shared with the image it is stored for,
    /// [`StoreError::Access`] if the kernel refuses.
    pub fn commit(&self, chain: Vec<ChainLayer>) -> Result<Vec<CommittedLayer>, StoreError> {
        self.commit_unless(chain, Durability::AtCommit, &|| false)
    }

    /// As [`commit`](Self::commit), but leaves it to `durability` whether the layers are on disk
    /// when this returns, and gives up once `cancelled` says so. It is asked before each file that
    /// is copied from a layer below.
    ///
    /// # Errors
    ///
    /// Those of [`commit`](Self::commit), and [`StoreError::Interrupted`].
    pub fn commit_unless(
        &self,
        chain: Vec<ChainLayer>,
        durability: Durability,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Vec<CommittedLayer>, StoreError> {
        let order: Vec<DiffId> = chain.iter().map(|layer| layer.diff_id().clone()).collect();
        let mut staged: HashMap<DiffId, StagedLayer> = chain
            .into_iter()
            .filter_map(|layer| match layer {
                ChainLayer::Present(_) => None,
                ChainLayer::Staged(layer) => Some((layer.diff_id().clone(), layer)),
            })
            .collect();
        let settled = self.settle_chain(&order, &mut staged, cancelled)?;
        // Content first, names after: a name in `layers/` is the promise that all is there, or
        // that a mark says so. Copies from below are in no tar, so nothing could confirm them.
        // Nor is a damaged one replaced by one that may be damaged tomorrow.
        let is_late = durability != Durability::AtCommit
            && !settled.has_copies
            && !order.iter().any(|layer| self.distrusts(layer));
        if !is_late {
            // and what the chain lies on: who keeps the top needs the base
            self.sync(!staged.is_empty(), Duration::ZERO)?;
        }
        let moved = self.move_into_place(staged, &settled.stack, is_late)?;
        if !moved.is_empty() && durability != Durability::AtFlush {
            let failed =
                |errno: Errno| StoreError::access("flush", self.layout().layers())(errno.into());
            fsync(self.layers_fd()).map_err(failed)?;
        }
        if !is_late && order.iter().any(|layer| !moved.contains(layer)) {
            // of layers that a pull brought meanwhile
            self.sync(false, Duration::ZERO)?;
        }
        order
            .into_iter()
            .map(|diff_id| {
                let was_present = !moved.contains(&diff_id);
                let record = Record::load(self, &diff_id)?;
                Ok(CommittedLayer {
                    size_bytes: record.size_bytes,
                    disk_bytes: self.measured(&diff_id, &record)?,
                    diff_id,
                    was_present,
                })
            })
            .collect()
    }

    /// Lets every staged layer take what it needs from those below it, and checks that the
    /// others may be shared.
    fn settle_chain(
        &self,
        order: &[DiffId],
        staged: &mut HashMap<DiffId, StagedLayer>,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Settled, StoreError> {
        let mut lowers: Vec<Lower> = Vec::with_capacity(order.len());
        let mut has_copies = false;
        for layer in order {
            if lowers.iter().any(|lower| lower.layer == *layer) {
                // The same layer once more changes nothing that it has not changed before,
                // and the settled layers above keep what they took.
                continue;
            }
            let root = match staged.get_mut(layer) {
                Some(staged) => {
                    staged.note_settling(&lowers)?;
                    let record = settle(staged, &lowers, cancelled)?;
                    has_copies |= !record.copied.is_empty();
                    staged.note_settled(&lowers);
                    record.write(staged.staging().fd(), staged.staging().path(), layer)?;
                    staged.directory.root()?
                }
                None => {
                    let root = self.open_layer(layer)?;
                    check_base(layer, root.as_fd(), &Record::load(self, layer)?, &lowers)?;
                    root
                }
            };
            lowers.push(Lower {
                layer: layer.clone(),
                root,
            });
        }
        Ok(Settled {
            stack: lowers,
            has_copies,
        })
    }

    /// Renames staged layers into the store and says which ones it did not have.
    fn move_into_place(
        &self,
        staged: HashMap<DiffId, StagedLayer>,
        stack: &[Lower],
        is_late: bool,
    ) -> Result<Vec<DiffId>, StoreError> {
        if staged.is_empty() {
            return Ok(Vec::new());
        }
        let trash = self.trash()?;
        let lock = self.lock_layers()?;
        let mut moved = Vec::with_capacity(staged.len());
        for (diff_id, layer) in staged {
            if self.is_doubtful(&diff_id)? {
                // Ours is whole, of theirs nobody knows, and nobody uses it.
                self.discard_locked(&diff_id, &trash)?;
            }
            if self.has_layer(&diff_id) {
                // Somebody was faster. Theirs may lie on another base than ours.
                let base = stack
                    .split(|lower| lower.layer == diff_id)
                    .next()
                    .unwrap_or_default();
                let root = self.open_layer(&diff_id)?;
                let record = Record::load(self, &diff_id)?;
                check_base(&diff_id, root.as_fd(), &record, base)?;
                if let Some(blob) = &layer.blob {
                    self.remember_blob(record, &diff_id, blob, layer.staging())?;
                }
                continue;
            }
            if is_late {
                self.mark_unsynced(&diff_id)?;
            }
            match self.renaming(&diff_id) {
                // the staging directory gets the damaged one for it, and takes that along
                renaming @ RenameFlags::EXCHANGE => {
                    self.replace(&diff_id, &mut || self.move_one(&diff_id, &layer, renaming))?;
                }
                renaming => {
                    self.move_one(&diff_id, &layer, renaming)?;
                    layer.set_committed();
                }
            }
            if !is_late {
                self.unmark(&diff_id)?;
            }
            moved.push(diff_id);
        }
        drop(lock);
        trash.empty()?;
        Ok(moved)
    }

    /// Takes note of blobs that the caller made of layers, as [`knows_blob`](Self::knows_blob)
    /// tells later.
    ///
    /// # Errors
    ///
    /// [`StoreError::NoLayer`] if one is not there, [`StoreError::Record`] if what the store
    /// knows about it is damaged, [`StoreError::Access`] if the kernel refuses.
    pub fn remember_blobs<'a>(
        &self,
        blobs: impl Iterator<Item = (&'a DiffId, &'a Descriptor)>,
    ) -> Result<(), StoreError> {
        let staging = self.stage()?;
        let _lock = self.lock_layers()?;
        for (layer, blob) in blobs {
            let blob = VerifiedBlob {
                digest: blob.digest.clone(),
                size_bytes: blob.size,
                compression: blob.compression(),
            };
            self.remember_blob(Record::load(self, layer)?, layer, &blob, &staging)?;
        }
        Ok(())
    }

    /// Notes in `record` that another blob unpacks to a layer of the store. The lock is held.
    fn remember_blob(
        &self,
        mut record: Record,
        layer: &DiffId,
        blob: &VerifiedBlob,
        staging: &Staging,
    ) -> Result<(), StoreError> {
        if !record.add_blob(blob) {
            return Ok(());
        }
        let name = record_name(layer);
        let path = staging.path().join(&name);
        let file = record.write(staging.fd(), staging.path(), layer)?;
        file.sync_all()
            .map_err(StoreError::access("flush", &path))?;
        renameat(staging.fd(), &name, self.layers_fd(), &name)
            .map_err(|errno| StoreError::access("move into place", path)(errno.into()))
    }

    fn move_one(
        &self,
        diff_id: &DiffId,
        layer: &StagedLayer,
        renaming: RenameFlags,
    ) -> Result<(), StoreError> {
        let failed = |errno: Errno| {
            StoreError::access("move into place", self.layer_dir(diff_id))(errno.into())
        };
        let record = record_name(diff_id);
        renameat(layer.staging().fd(), &record, self.layers_fd(), &record).map_err(failed)?;
        let [attic, recipe, directory] = layer.names();
        let staging = layer.staging().fd();
        // What an earlier process left that died here would be in the way of the new attic.
        remove_tree(self.layers_fd(), attic.1.as_bytes())
            .map_err(StoreError::access("remove", self.layer_dir(diff_id)))?;
        match renameat(staging, &attic.0, self.layers_fd(), &attic.1) {
            // Most archives replace nothing of their own.
            Err(Errno::NOENT) => {}
            result => result.map_err(failed)?,
        }
        renameat(staging, &recipe.0, self.layers_fd(), &recipe.1).map_err(failed)?;
        let (from, to) = directory;
        match renameat_with(staging, &from, self.layers_fd(), &to, renaming) {
            // File systems without the flag; the lock keeps the name free.
            Err(Errno::INVAL | Errno::NOSYS) if renaming == RenameFlags::NOREPLACE => {
                renameat(staging, &from, self.layers_fd(), &to)
            }
            result => result,
        }
        .map_err(failed)
    }
}
