//! Things that are gone, and whose files are still to be deleted.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use rocker_types::DiffId;
use rustix::fs::{CWD, renameat};
use rustix::io::Errno;

use super::recipe::{attic_name, recipe_name};
use super::record::record_name;
use super::staging::Staging;
use super::unsynced::mark_name;
use super::{Store, StoreError};

/// How the name ends that a layer has while it is deleted where it is.
const GONE: &str = ".gone";

/// A directory below `tmp/` that things are moved to: a rename takes microseconds, however long
/// it takes to delete what was renamed. Deleted when dropped, or if its owner dies by the next
/// [`sweep`](Store::sweep).
#[derive(Debug)]
pub struct Trash {
    staging: Staging,
    things: AtomicU32,
}

impl Store {
    /// An empty one.
    ///
    /// # Errors
    ///
    /// [`StoreError::Access`] if it cannot be made.
    pub fn trash(&self) -> Result<Trash, StoreError> {
        Ok(Trash::of(self.stage()?))
    }

    /// Moves a layer to the trash; one that is not there is removed already. It is gone from the
    /// store when this returns.
    ///
    /// # Errors
    ///
    /// [`StoreError::Access`] if the kernel refuses.
    pub fn discard_layer(&self, layer: &DiffId, trash: &Trash) -> Result<(), StoreError> {
        let _lock = self.lock_layers()?;
        self.discard_locked(layer, trash)
    }

    /// As [`discard_layer`](Self::discard_layer) where the disk has no room even for an empty
    /// directory: its files are deleted when this returns.
    ///
    /// # Errors
    ///
    /// [`StoreError::Access`] if the kernel refuses.
    pub fn delete_layer(&self, layer: &DiffId) -> Result<(), StoreError> {
        let gone = format!("{}{GONE}", layer.hex());
        {
            let _lock = self.lock_layers()?;
            self.remove_companion(&gone)?;
            // before anything is deleted: what is left of a layer must not pass for it
            match renameat(self.layers_fd(), layer.hex(), self.layers_fd(), &gone) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => {
                    let path = self.layer_dir(layer);
                    return Err(StoreError::access("move away", path)(errno.into()));
                }
            }
            self.remove_companion(&attic_name(layer))?;
            self.remove_companion(&record_name(layer))?;
            self.remove_companion(&recipe_name(layer))?;
            self.remove_companion(&mark_name(layer))?;
        }
        self.remove_companion(&gone)
    }

    /// Deletes what is left of layers whose deletion was cut short.
    ///
    /// # Errors
    ///
    /// [`StoreError::Access`] if the kernel refuses.
    pub fn sweep_deleted(&self) -> Result<(), StoreError> {
        let names = self.names_in_layers()?.into_iter();
        let mut deleted = names.filter(|name| name.ends_with(GONE));
        deleted.try_for_each(|name| self.remove_companion(&name))
    }

    /// As [`discard_layer`](Self::discard_layer), where the lock is held.
    pub(super) fn discard_locked(&self, layer: &DiffId, trash: &Trash) -> Result<(), StoreError> {
        for name in [layer.hex(), &attic_name(layer)] {
            let moved = renameat(
                self.layers_fd(),
                name,
                trash.staging.fd(),
                trash.next_name(),
            );
            match moved {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => {
                    let path = self.layer_dir(layer);
                    return Err(StoreError::access("move away", path)(errno.into()));
                }
            }
        }
        self.remove_companion(&record_name(layer))?;
        self.remove_companion(&recipe_name(layer))?;
        self.remove_companion(&mark_name(layer))
    }
}

impl Trash {
    /// A place with everything that is in it already.
    pub(super) fn of(staging: Staging) -> Self {
        Self {
            staging,
            things: AtomicU32::new(0),
        }
    }

    /// Moves a directory of this installation to the trash, with everything in it.
    ///
    /// # Errors
    ///
    /// [`StoreError::Access`] if it cannot be moved, for one because it is on another file system.
    pub fn take(&self, directory: &Path) -> Result<(), StoreError> {
        loop {
            match renameat(CWD, directory, self.staging.fd(), self.next_name()) {
                Ok(()) | Err(Errno::NOENT) => return Ok(()),
                // of one that its former owner moved there
                Err(Errno::EXIST | Errno::NOTEMPTY) => {}
                Err(errno) => {
                    return Err(StoreError::access("move away", directory)(errno.into()));
                }
            }
        }
    }

    /// Deletes everything in it.
    ///
    /// # Errors
    ///
    /// [`StoreError::Access`] if something cannot be deleted; the next sweep tries again.
    pub fn empty(self) -> Result<(), StoreError> {
        self.staging.remove()
    }

    fn next_name(&self) -> String {
        self.things.fetch_add(1, Ordering::Relaxed).to_string()
    }
}
