//! Layers whose content may still be on its way to the disk.
//!
//! To wait until an image is on disk takes nearly as long as to unpack it, and for a pulled
//! one nobody has to: what a power failure takes, the registry still has. What must not happen is
//! that a layer of which the failure took a part is mistaken for a whole one. So a mark lies
//! beside such a layer, `layers/<diff-id>.unsynced`, a symbolic link whose target is the id of the
//! boot in which it was written. In that boot the layer is as good as any: all processes see the
//! same page cache. In a later one it is not believed before its tar was made once more and
//! had the right digest.

use std::io;
use std::time::{Duration, SystemTime};

use rocker_types::{Diagnose as _, DiffId, ErrorKind};
use rustix::fs::{AtFlags, readlinkat, statat, symlinkat, syncfs, unlinkat};
use rustix::io::Errno;

use super::recipe::TarError;
use super::record::Record;
use super::{Store, StoreError};

/// How the name of a mark ends.
pub(super) const UNSYNCED: &str = ".unsynced";

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
}

impl Store {
    /// Says that a layer is about to be in the store whose content may not be on disk. The mark is
    /// written before the layer gets its name; both become durable in this order, since file
    /// systems with a journal keep the order of names.
    pub(super) fn mark_unsynced(&self, layer: &DiffId) -> Result<(), StoreError> {
        let name = mark_name(layer);
        let failed = |errno: Errno| {
            StoreError::access("mark", self.layout().layers().join(mark_name(layer)))(errno.into())
        };
        match symlinkat(&boot_id()?, self.layers_fd(), &name) {
            // of a layer that is not there any more
            Err(Errno::EXIST) => {
                unlinkat(self.layers_fd(), &name, AtFlags::empty()).map_err(failed)?;
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

    /// Puts everything on disk for good if `is_needed` or a mark is old enough.
    pub(super) fn sync(&self, is_needed: bool, at_least: Duration) -> Result<(), StoreError> {
        let mut due = Vec::new();
        for name in self.marks()? {
            if self.is_of_this_boot(&name)? && self.age(&name) >= Some(at_least) {
                due.push(name);
            }
        }
        if due.is_empty() && !is_needed {
            return Ok(());
        }
        syncfs(self.layers_fd())
            .map_err(|errno| StoreError::access("flush", self.layout().root())(errno.into()))?;
        due.iter().try_for_each(|name| self.remove_mark(name))
    }

    /// Whether the layer was written in an earlier boot that may have ended before all of it was
    /// on disk.
    ///
    /// # Errors
    ///
    /// [`StoreError::Access`] if that cannot be told.
    pub fn is_doubtful(&self, layer: &DiffId) -> Result<bool, StoreError> {
        let name = mark_name(layer);
        match statat(self.layers_fd(), &name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => Ok(false),
            _ => Ok(!self.is_of_this_boot(&name)?),
        }
    }

    /// Reads a doubtful layer as a whole, which takes about a second for each gigabyte, and
    /// believes it from then on.
    ///
    /// # Errors
    ///
    /// [`TarError`] says what is wrong with it; then it stays doubtful.
    pub fn confirm_layer(&self, layer: &DiffId) -> Result<(), TarError> {
        Record::load(self, layer)?;
        self.write_tar(layer, &mut io::sink())?;
        Ok(self.remove_mark(&mark_name(layer))?)
    }

    /// Whether the layer is in the store and may be used. A doubtful one is read first, and removed
    /// if a power failure took a part of it: for callers that can bring it once more.
    ///
    /// # Errors
    ///
    /// [`StoreError::Access`] if it cannot be read for another reason.
    pub fn has_sound_layer(&self, layer: &DiffId) -> Result<bool, StoreError> {
        if !self.has_layer(layer) {
            return Ok(false);
        }
        if !self.is_doubtful(layer)? {
            return Ok(true);
        }
        match self.confirm_layer(layer) {
            Ok(()) => Ok(true),
            Err(TarError::Store(error)) if error.kind() != ErrorKind::Tampered => Err(error),
            Err(error) => {
                tracing::warn!(%layer, %error, "not whole on disk");
                self.remove_layer(layer)?;
                Ok(false)
            }
        }
    }

    fn marks(&self) -> Result<Vec<String>, StoreError> {
        let mut names = self.names_in_layers()?;
        names.retain(|name| name.ends_with(UNSYNCED));
        Ok(names)
    }

    fn is_of_this_boot(&self, mark: &str) -> Result<bool, StoreError> {
        match readlinkat(self.layers_fd(), mark, Vec::new()) {
            Ok(target) => Ok(target.as_bytes() == boot_id()?.as_bytes()),
            Err(Errno::NOENT | Errno::INVAL) => Ok(false),
            Err(errno) => {
                let path = self.layout().layers().join(mark);
                Err(StoreError::access("read", path)(errno.into()))
            }
        }
    }

    /// `None` if the clock was set back since.
    fn age(&self, mark: &str) -> Option<Duration> {
        let stat = statat(self.layers_fd(), mark, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        let written = Duration::from_secs(u64::try_from(stat.st_mtime).ok()?);
        SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH + written)
            .ok()
    }

    fn remove_mark(&self, name: &str) -> Result<(), StoreError> {
        match unlinkat(self.layers_fd(), name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => {
                let path = self.layout().layers().join(name);
                Err(StoreError::access("remove", path)(errno.into()))
            }
        }
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
