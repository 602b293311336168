//! The note about a layer that is whole: everything that unpacking it found out.

use std::io::{self, Read as _, Write as _};
use std::os::fd::BorrowedFd;
use std::sync::OnceLock;

use fs_err::File;
use rocker_types::DiffId;
use rustix::fs::{AtFlags, Mode, OFlags, openat, renameat, unlinkat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::DONE;
use crate::store::StoreError;
use crate::store::merged::Lower;
use crate::store::record::{VerifiedBlob, decode, encode};
use crate::store::staged::StagedLayer;
use crate::store::staging::Staging;
use crate::store::unpack::{PendingLink, Unpacked};
use crate::store::unsynced::boot_id;

/// A longer note is not worth it: such a layer is fetched again.
const MAX_BYTES: u64 = 8 << 20;

/// Where a note is written before it takes the place of another one.
const NEW: &str = ".done-new";

/// What a process needs to know to go on with a layer that another one unpacked.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Done {
    /// The boot in which it was written. What was not flushed may be lost in the next.
    boot: String,
    pub(super) diff_id: DiffId,
    pub(super) blob: VerifiedBlob,
    /// Bytes of file content.
    pub(super) bytes: u64,
    /// As in [`Unpacked`], percent-encoded.
    implied: Vec<String>,
    /// Names and targets, percent-encoded.
    links: Vec<(String, String)>,
    disk_bytes: Option<u64>,
    pub(super) has_attic: bool,
    /// The layers below, once the layer may have taken something from them.
    settled_on: Option<Vec<DiffId>>,
}

impl Done {
    /// `None` for a layer that nobody promised a blob for.
    fn of(layer: &StagedLayer, boot: &str, settled_on: Option<Vec<DiffId>>) -> Option<Self> {
        let implied = layer.unpacked.implied.iter();
        let links = layer.unpacked.links.iter();
        Some(Self {
            boot: boot.to_owned(),
            diff_id: layer.diff_id().clone(),
            blob: layer.blob.clone()?,
            bytes: layer.unpacked.bytes,
            implied: implied.map(|path| encode(path)).collect(),
            links: links
                .map(|link| (encode(&link.path), encode(&link.target)))
                .collect(),
            disk_bytes: layer.unpacked.disk_bytes,
            has_attic: layer.directory.has_attic(),
            settled_on,
        })
    }

    /// Reads a note of this boot or, for a layer that went into the store, of any. One that was
    /// cut short is no note.
    pub(super) fn read(directory: BorrowedFd<'_>, name: &str) -> Option<Self> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = openat(directory, name, flags, Mode::empty()).ok()?;
        let mut bytes = Vec::new();
        let file = File::from_parts(std::fs::File::from(file), name);
        let read = file.take(MAX_BYTES + 1).read_to_end(&mut bytes);
        read.ok()?;
        if bytes.len() as u64 > MAX_BYTES {
            return None;
        }
        serde_json::from_slice(&bytes).ok()
    }

    pub(super) fn is_of_this_boot(&self) -> bool {
        this_boot().is_some_and(|boot| boot == self.boot)
    }

    /// Whether the layer is as it was unpacked, or as it would come out on top of `below` again.
    pub(super) fn fits_on(&self, below: &[DiffId]) -> bool {
        match &self.settled_on {
            None => true,
            // half a copy of what it links to would look like all of it
            Some(base) => self.links.is_empty() && base == below,
        }
    }

    /// What unpacking found out; `None` if the text is not what [`encode`] writes.
    pub(super) fn unpacked(&self) -> Option<Unpacked> {
        let implied = self.implied.iter().map(|path| decode(path));
        let links = self.links.iter().map(|(path, target)| {
            Some(PendingLink {
                path: decode(path)?,
                target: decode(target)?,
            })
        });
        Some(Unpacked {
            bytes: self.bytes,
            implied: implied.collect::<Option<_>>()?,
            links: links.collect::<Option<_>>()?,
            disk_bytes: self.disk_bytes,
        })
    }

    fn write(&self, directory: BorrowedFd<'_>, name: &str) -> io::Result<()> {
        let bytes = serde_json::to_vec(self)?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(Errno::FBIG.into());
        }
        let new = format!("{name}{NEW}");
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(directory, &new, flags, Mode::RUSR | Mode::WUSR)?;
        let mut file = File::from_parts(std::fs::File::from(file), &new);
        file.write_all(&bytes)?;
        Ok(renameat(
            directory,
            &new,
            directory,
            format!("{name}{DONE}"),
        )?)
    }
}

impl StagedLayer {
    /// Notes that the layer is whole, so that it outlives this process. Whether that worked: the
    /// pull does not need it.
    pub(crate) fn note_done(&mut self) -> bool {
        self.note(None)
    }

    fn note(&mut self, settled_on: Option<Vec<DiffId>>) -> bool {
        let Some(boot) = this_boot().filter(|_| self.staging().keeps()) else {
            return false;
        };
        let Some(done) = Done::of(self, boot, settled_on) else {
            return false;
        };
        let written = done.write(self.staging().fd(), self.directory.name());
        if let Err(error) = &written {
            tracing::debug!(layer = %self.diff_id(), %error, "a later pull will not know of it");
        }
        self.directory.is_done = written.is_ok();
        self.directory.is_done
    }

    /// Called before the layer takes what it needs from `lowers`: from here on it fits nowhere
    /// else, and half-way nowhere at all.
    pub(in crate::store) fn note_settling(&mut self, lowers: &[Lower]) -> Result<(), StoreError> {
        if !self.directory.is_done {
            return Ok(());
        }
        if !self.unpacked.links.is_empty() {
            return self.forget_done();
        }
        let inherits = self.unpacked.implied.iter().any(|path| !path.is_empty());
        if inherits && !self.note(Some(names_of(lowers))) {
            return self.forget_done();
        }
        Ok(())
    }

    /// Called after that.
    pub(in crate::store) fn note_settled(&mut self, lowers: &[Lower]) {
        if !self.unpacked.links.is_empty() {
            self.note(Some(names_of(lowers)));
        }
    }

    fn forget_done(&mut self) -> Result<(), StoreError> {
        self.directory.is_done = false;
        forget_done(self.staging(), self.directory.name())
    }
}

/// Takes the note away that the layer of this name in `staging` is whole.
pub(in crate::store) fn forget_done(staging: &Staging, layer: &str) -> Result<(), StoreError> {
    let name = format!("{layer}{DONE}");
    match unlinkat(staging.fd(), &name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => {
            let path = staging.path().join(name);
            Err(StoreError::access("remove", path)(errno.into()))
        }
    }
}

fn names_of(lowers: &[Lower]) -> Vec<DiffId> {
    lowers.iter().map(|lower| lower.layer.clone()).collect()
}

/// Which boot this is; `None` where the kernel does not tell.
fn this_boot() -> Option<&'static str> {
    static BOOT: OnceLock<Option<String>> = OnceLock::new();
    BOOT.get_or_init(|| boot_id().ok()).as_deref()
}

#[cfg(test)]
mod tests {
    use rocker_types::Layout;

    use super::*;
    use crate::document::{Compression, digest_of};
    use crate::store::{ExpectedLayer, Store, UnpackLimits, unpack_layer};

    #[test]
    fn nothing_of_a_layer_goes_before_its_note() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::open(&Layout::new(root.path(), root.path())).unwrap();
        let staging = store.stage().unwrap();
        staging.set_keeps(true);
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(4);
        tar.append_data(&mut header, "file", &b"data"[..]).unwrap();
        let tar = tar.into_inner().unwrap();
        let digest = digest_of(rocker_types::Algorithm::Sha256, &tar);
        let expected = ExpectedLayer {
            blob: digest.clone(),
            size_bytes: tar.len() as u64,
            compression: Compression::None,
            diff_id: DiffId(digest),
        };
        let limits = UnpackLimits::default();
        let mut layer =
            unpack_layer(&staging, tar.as_slice(), &expected, &limits, &|_| {}).unwrap();
        assert!(layer.note_done());
        let file = staging.path().join("layer-0/file");
        // a note that cannot be removed
        let note = staging.path().join("layer-0.done");
        fs_err::remove_file(&note).unwrap();
        fs_err::create_dir(&note).unwrap();

        staging.set_keeps(false);
        drop(layer);

        assert_eq!(fs_err::read(&file).unwrap(), b"data");
    }
}
