//! Layers whose content may still be on its way to the disk.
//!
//! To wait until an image is on disk takes nearly as long as to unpack it, and for a pulled
//! one nobody has to: what a power failure takes, the registry still has. What must not happen is
//! that a layer of which the failure took a part is mistaken for a whole one. So a mark lies
//! beside such a layer, `layers/<diff-id>.unsynced`, a symbolic link whose target is the id of the
//! boot in which it was written. In that boot the layer is as good as any: all processes see the
//! same page cache. In a later one it is not believed before it was compared with what its archive
//! unpacks to: the content of its files is not all that may be lost, and not every file system
//! writes names in the order in which they were made.

use std::time::{Duration, SystemTime};

use rocker_types::DiffId;
use rustix::fs::{AtFlags, readlinkat, renameat, statat, symlinkat, syncfs, unlinkat};
use rustix::io::Errno;

use super::record::Record;
use super::staging::Staging;
use super::{LayerFault, Store, StoreError, UnpackLimits};

/// How the name of a mark ends.
pub(super) const UNSYNCED: &str = ".unsynced";

/// Follows the boot's id in a mark whose layer the kernel could not write: it says so once, and a
/// later sync that succeeds proves nothing.
const FAILED: &str = " failed";

/// The kernel's name for the time since it was started; new with each start.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// When the content of new layers has to be on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Before they are layers of the store: nobody else has it.
    AtCommit,
    /// Whenever the kernel gets to it: it can be had once more. The layers are marked until
    /// [`Store::sync_marked`] has been there.
    Eventual,
    /// When the caller calls [`Store::flush`], before it remembers them: for many images at a
    /// time. They are marked until then.
    AtFlush,
}

impl Store {
    /// Says that a layer is about to be in the store whose content may not be on disk. The mark is
    /// written before the layer gets its name, under the store's lock; both become durable in this order, since file
    /// systems with a journal keep the order of names.
    pub(super) fn mark_unsynced(&self, layer: &DiffId) -> Result<(), StoreError> {
        let name = mark_name(layer);
        let failed = |errno: Errno| {
            StoreError::access("mark", self.layout().layers().join(mark_name(layer)))(errno.into())
        };
        match symlinkat(&boot_id()?, self.layers_fd(), &name) {
            // of a layer that is not there any more
            Err(Errno::EXIST) => {
                self.unlink_mark(&name)?;
                symlinkat(&boot_id()?, self.layers_fd(), &name).map_err(failed)
            }
            result => result.map_err(failed),
        }
    }

    /// Puts marked layers of this boot on disk for good if their marks are at least this old, and
    /// takes the marks away. After half a minute the kernel has written most of it by itself.
    ///
    /// # Errors
    ///
    /// [`StoreError::Access`] if the kernel cannot write; the marks stay then.
    pub fn sync_marked(&self, at_least: Duration) -> Result<(), StoreError> {
        self.sync(false, at_least)
    }

    /// Puts everything on disk for good that is in the store now.
    ///
    /// # Errors
    ///
    /// [`StoreError::Access`] if the kernel cannot write; the marks stay then.
    pub fn flush(&self) -> Result<(), StoreError> {
        self.sync(true, Duration::ZERO)
    }

    /// Puts everything on disk for good if `is_needed` or a mark is old enough.
    pub(super) fn sync(&self, is_needed: bool, at_least: Duration) -> Result<(), StoreError> {
        let mut due = Vec::new();
        for name in self.names_in_layers()? {
            let mark = match name.ends_with(UNSYNCED) {
                true => self.mark(&name)?,
                false => None,
            };
            due.extend(
                mark.filter(|mark| {
                    mark.is_of_this_boot && !mark.has_failed && mark.is_due(at_least)
                }),
            );
        }
        if due.is_empty() && !is_needed {
            return Ok(());
        }
        let synced = syncfs(self.layers_fd());
        let _lock = self.lock_layers()?;
        match synced {
            Ok(()) => due
                .iter()
                .try_for_each(|mark| self.remove_mark(mark).map(drop)),
            Err(errno) => {
                self.distrust_marked();
                Err(StoreError::access("flush", self.layout().root())(
                    errno.into(),
                ))
            }
        }
    }

    /// The kernel has lost what it should have written, of whichever layer: all that are marked
    /// stay so until a later boot reads them. The lock is held.
    fn distrust_marked(&self) {
        let staging = self.stage().ok();
        let names = self.names_in_layers().unwrap_or_default();
        for name in names.iter().filter(|name| name.ends_with(UNSYNCED)) {
            if let Err(error) = self.distrust_mark(name, staging.as_ref()) {
                tracing::debug!(name, %error, "cannot note that a layer was not written");
            }
        }
    }

    /// Puts another mark in the place of one of this boot: at no moment is there none, unless the
    /// disk that failed takes no new name. Then it may take that of the old one.
    fn distrust_mark(&self, name: &str, staging: Option<&Staging>) -> Result<(), StoreError> {
        if self.mark(name)?.is_none_or(|mark| !mark.is_of_this_boot) {
            return Ok(());
        }
        let (target, layers) = (boot_id()? + FAILED, self.layers_fd());
        let exchanged = staging.map(|staging| {
            symlinkat(&target, staging.fd(), name)
                .and_then(|()| renameat(staging.fd(), name, layers, name))
        });
        let replaced = exchanged.filter(Result::is_ok).unwrap_or_else(|| {
            unlinkat(layers, name, AtFlags::empty()).and_then(|()| symlinkat(&target, layers, name))
        });
        replaced.map_err(|errno| {
            StoreError::access("mark", self.layout().layers().join(name))(errno.into())
        })
    }

    /// Whether the layer was written in an earlier boot that may have ended before all of it was
    /// on disk.
    ///
    /// # Errors
    ///
    /// [`StoreError::Access`] if that cannot be told.
    pub fn is_doubtful(&self, layer: &DiffId) -> Result<bool, StoreError> {
        Ok(self.doubt(layer)?.is_some())
    }

    /// Reads a doubtful layer as a whole, which takes a few seconds for each gigabyte, and
    /// believes it from then on. What is wrong with it otherwise: then it stays
    /// doubtful.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if it cannot be looked at.
    pub fn confirm_layer(
        &self,
        layer: &DiffId,
        limits: &UnpackLimits,
    ) -> Result<Vec<LayerFault>, StoreError> {
        // whoever replaces the layer meanwhile marks the new one
        while let Some(mark) = self.doubt(layer)? {
            let faults = self.inspect_doubtful(layer, limits)?;
            if !faults.is_empty() {
                return Ok(faults);
            }
            let _lock = self.lock_layers()?;
            if self.remove_mark(&mark)? {
                break;
            }
        }
        Ok(Vec::new())
    }

    /// Whether the layer is in the store and may be used. A doubtful one is read first, and removed
    /// if a power failure took a part of it: for callers that can bring it once more.
    ///
    /// # Errors
    ///
    /// [`StoreError::Access`] if it cannot be read for another reason, [`StoreError::NoRecord`] and
    /// [`StoreError::Record`] for one that nobody doubted: a container may run on it, so it stays.
    pub fn has_sound_layer(
        &self,
        layer: &DiffId,
        limits: &UnpackLimits,
    ) -> Result<bool, StoreError> {
        while self.has_layer(layer) {
            let Some(mark) = self.doubt(layer)? else {
                return match Record::load(self, layer) {
                    // another process has just removed it
                    Err(StoreError::NoLayer { .. }) => Ok(false),
                    loaded => loaded.map(|_| true),
                };
            };
            let faults = self.inspect_doubtful(layer, limits)?;
            let trash = self.trash()?;
            let lock = self.lock_layers()?;
            // unless another process has removed it, or brought it again
            if self.is_still(&mark)? {
                match faults.first() {
                    None => self.unlink_mark(&mark.name)?,
                    // it may be read another time
                    Some(LayerFault::Unreadable { errno }) => {
                        let source = std::io::Error::from_raw_os_error(*errno);
                        return Err(StoreError::access("read", self.layer_dir(layer))(source));
                    }
                    Some(fault) => {
                        tracing::warn!(%layer, %fault, "not whole on disk");
                        self.discard_locked(layer, &trash)?;
                    }
                }
            }
            drop(lock);
            trash.empty()?;
        }
        Ok(false)
    }

    /// The mark of another boot.
    fn doubt(&self, layer: &DiffId) -> Result<Option<Mark>, StoreError> {
        let mark = self.mark(&mark_name(layer))?;
        Ok(mark.filter(|mark| !mark.is_of_this_boot))
    }

    fn mark(&self, name: &str) -> Result<Option<Mark>, StoreError> {
        let failed = |errno: Errno| {
            StoreError::access("read", self.layout().layers().join(name))(errno.into())
        };
        let stat = match statat(self.layers_fd(), name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(None),
            stat => stat.map_err(failed)?,
        };
        let target = match readlinkat(self.layers_fd(), name, Vec::new()) {
            Ok(target) => target.to_string_lossy().into_owned(),
            // not a link: nothing that we wrote
            Err(Errno::NOENT | Errno::INVAL) => String::new(),
            Err(errno) => return Err(failed(errno)),
        };
        let (boot, has_failed) = match target.strip_suffix(FAILED) {
            Some(boot) => (boot, true),
            None => (target.as_str(), false),
        };
        Ok(Some(Mark {
            name: name.to_owned(),
            identity: (stat.st_ino, stat.st_ctime, stat.st_ctime_nsec),
            written: stat.st_mtime,
            is_of_this_boot: boot == boot_id()?,
            has_failed,
        }))
    }

    fn is_still(&self, mark: &Mark) -> Result<bool, StoreError> {
        let now = self.mark(&mark.name)?;
        Ok(now.is_some_and(|now| now.identity == mark.identity))
    }

    /// Takes a mark away unless another one has its place; whether it did. The lock is held.
    fn remove_mark(&self, mark: &Mark) -> Result<bool, StoreError> {
        let is_still = self.is_still(mark)?;
        if is_still {
            self.unlink_mark(&mark.name)?;
        }
        Ok(is_still)
    }

    /// Says that a layer which just got its name is on disk for good. The lock is held.
    pub(super) fn unmark(&self, layer: &DiffId) -> Result<(), StoreError> {
        self.unlink_mark(&mark_name(layer))
    }

    fn unlink_mark(&self, name: &str) -> Result<(), StoreError> {
        match unlinkat(self.layers_fd(), name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => {
                let path = self.layout().layers().join(name);
                Err(StoreError::access("remove", path)(errno.into()))
            }
        }
    }
}

/// A mark as it was when it was looked at.
struct Mark {
    name: String,
    /// Inode and time of its last change: no two marks of one name have the same.
    identity: (u64, i64, u64),
    /// In seconds since 1970.
    written: i64,
    is_of_this_boot: bool,
    /// Whether the kernel could not write the layer.
    has_failed: bool,
}

impl Mark {
    fn is_due(&self, at_least: Duration) -> bool {
        let written = u64::try_from(self.written).unwrap_or_default();
        let written = SystemTime::UNIX_EPOCH + Duration::from_secs(written);
        // a clock that was set back tells nothing
        at_least.is_zero() || written.elapsed().is_ok_and(|age| age >= at_least)
    }
}

/// The name of a layer's mark in `layers/`.
pub(super) fn mark_name(layer: &DiffId) -> String {
    format!("{}{UNSYNCED}", layer.hex())
}

/// Which boot this is.
pub(super) fn boot_id() -> Result<String, StoreError> {
    let text = fs_err::read_to_string(BOOT_ID).map_err(StoreError::access("read", BOOT_ID))?;
    Ok(text.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use rocker_types::Layout;

    use super::*;

    #[test]
    fn a_layer_that_was_not_written_is_marked_at_every_moment() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::open(&Layout::new(root.path(), root.path())).unwrap();
        let layer = DiffId(rocker_types::Digest::from_sha256([7; 32]));
        store.mark_unsynced(&layer).unwrap();
        let name = mark_name(&layer);
        let is_over = AtomicBool::new(false);

        std::thread::scope(|scope| {
            let look = scope.spawn(|| {
                let mut looks = 0;
                while !is_over.load(Ordering::Relaxed) {
                    let mark = statat(store.layers_fd(), &name, AtFlags::SYMLINK_NOFOLLOW);
                    assert!(mark.is_ok(), "after {looks} looks");
                    looks += 1;
                }
            });
            for _ in 0..2000 {
                store.distrust_marked();
            }
            is_over.store(true, Ordering::Relaxed);
            look.join().unwrap();
        });

        assert!(store.mark(&name).unwrap().unwrap().has_failed);
        let staged = fs_err::read_dir(root.path().join("tmp")).unwrap();
        assert_eq!(staged.count(), 0);
    }
}
