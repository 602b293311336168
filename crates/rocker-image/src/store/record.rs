//! What the store remembers about a layer, in `layers/<diff-id>.json` beside it.

use std::io::{Read, Write};
use std::os::fd::BorrowedFd;

use fs_err::File;
use rocker_types::{DiffId, Digest};
use rustix::fs::{AtFlags, Mode, OFlags, openat, statat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::{Compression, Store, StoreError};

/// A layer's size, and what it took from the layers below it.
///
/// Most layers took nothing and are the same whatever they lie on. The others may be
/// shared only by images where they would take the same again.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// Bytes of file content.
    pub(super) size_bytes: u64,
    /// The layers it was unpacked on, base first; empty if that does not matter.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) base: Vec<DiffId>,
    /// Directories without an entry of their own, which got owner and mode from below,
    /// percent-encoded. The empty path is the root, which got nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) implied: Vec<String>,
    /// Files that were copied from below.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) copied: Vec<CopiedLink>,
    /// The blobs that turned out to be this layer, the latest last: one tar may be compressed
    /// in many ways.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) blobs: Vec<VerifiedBlob>,
}

/// A blob whose bytes had this digest and length, and unpacked to the layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct VerifiedBlob {
    pub(super) digest: Digest,
    pub(super) size_bytes: u64,
    /// How it was compressed, where a media type said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) compression: Option<Compression>,
}

impl VerifiedBlob {
    /// Whether nothing that is known of both tells them apart.
    pub(super) fn agrees_with(&self, other: &Self) -> bool {
        let compressed_alike = match (self.compression, other.compression) {
            (Some(one), Some(other)) => one == other,
            (None, _) | (_, None) => true,
        };
        compressed_alike && self.digest == other.digest && self.size_bytes == other.size_bytes
    }
}

/// A hard link to a file of a layer below, which became a copy.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct CopiedLink {
    /// The link, percent-encoded.
    pub(super) path: String,
    /// What it links to, percent-encoded.
    pub(super) target: String,
    /// The layer that had the target.
    pub(super) from: DiffId,
}

/// The name of a layer's record in `layers/`.
pub(super) fn record_name(layer: &DiffId) -> String {
    format!("{}.json", layer.hex())
}

impl Record {
    /// Whether the layer came out as it did because of what lay below it.
    pub(super) fn depends_on_base(&self) -> bool {
        !self.copied.is_empty() || self.inherited().next().is_some()
    }

    /// The directories that got owner and mode from below. Not the root: nearly every layer
    /// implies it, so it stays as it was unpacked, and whoever needs the image's asks
    /// [`root_layer`](super::root_layer).
    pub(super) fn inherited(&self) -> impl Iterator<Item = &str> {
        self.implied
            .iter()
            .map(String::as_str)
            .filter(|path| !path.is_empty())
    }

    /// Adds a blob; `false` if it is known already.
    pub(super) fn add_blob(&mut self, blob: &VerifiedBlob) -> bool {
        /// More ways to compress one tar are somebody's joke.
        const MOST: usize = 16;
        if self.blobs.iter().any(|known| known.agrees_with(blob)) {
            return false;
        }
        if self.blobs.len() >= MOST {
            self.blobs.remove(0);
        }
        self.blobs.push(blob.clone());
        true
    }

    /// Whether an entry described the layer's root directory.
    pub(super) fn has_own_root(&self) -> bool {
        !self.implied.iter().any(String::is_empty)
    }

    /// Reads the record of a layer in the store.
    ///
    /// # Errors
    ///
    /// [`StoreError::NoLayer`], and [`StoreError::NoRecord`] for a layer that has lost it.
    pub(super) fn load(store: &Store, layer: &DiffId) -> Result<Self, StoreError> {
        Self::load_at(store.layers_fd(), &store.layout().layers(), layer)
    }

    /// Reads the record of a layer below `layers`, which `directory` leads to.
    pub(super) fn load_at(
        directory: BorrowedFd<'_>,
        layers: &std::path::Path,
        layer: &DiffId,
    ) -> Result<Self, StoreError> {
        let path = layers.join(record_name(layer));
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = match openat(directory, record_name(layer), flags, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::NOENT) => {
                let is_there = statat(directory, layer.hex(), AtFlags::SYMLINK_NOFOLLOW).is_ok();
                let layer = layer.clone();
                return Err(match is_there {
                    true => StoreError::NoRecord { layer },
                    false => StoreError::NoLayer { layer },
                });
            }
            Err(errno) => return Err(StoreError::access("open", path)(errno.into())),
        };
        let mut bytes = Vec::new();
        let mut file = File::from_parts(std::fs::File::from(file), path.as_path());
        file.read_to_end(&mut bytes)
            .map_err(StoreError::access("read", &path))?;
        serde_json::from_slice(&bytes).map_err(|source| StoreError::Record { path, source })
    }

    /// Writes the record into a staging directory, from where it is renamed; what was written
    /// is not flushed.
    pub(super) fn write(
        &self,
        staging: BorrowedFd<'_>,
        staging_path: &std::path::Path,
        layer: &DiffId,
    ) -> Result<File, StoreError> {
        let path = staging_path.join(record_name(layer));
        let bytes = serde_json::to_vec(self).map_err(|source| StoreError::Record {
            path: path.clone(),
            source,
        })?;
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(staging, record_name(layer), flags, Mode::RUSR | Mode::WUSR);
        let file = file.map_err(|errno| StoreError::access("create", &path)(errno.into()))?;
        let mut file = File::from_parts(std::fs::File::from(file), path.as_path());
        file.write_all(&bytes)
            .map_err(StoreError::access("write", &path))?;
        Ok(file)
    }
}

/// Makes text of any path: everything but plain ASCII becomes `%` and two hex digits.
pub(super) fn encode(path: &[u8]) -> String {
    let mut text = String::with_capacity(path.len());
    for byte in path {
        match byte {
            b'%' | 0..=0x20 | 0x7f..=0xff => text.push_str(&format!("%{byte:02x}")),
            _ => text.push(char::from(*byte)),
        }
    }
    text
}

/// Undoes [`encode`]; `None` for what it never writes.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = text.bytes();
    let mut path = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            path.push(byte);
            continue;
        }
        let mut digit = || {
            char::from(bytes.next()?)
                .to_digit(16)
                .and_then(|digit| u8::try_from(digit).ok())
        };
        path.push(digit()? << 4 | digit()?);
    }
    Some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn any_path_survives_as_text(path in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..64)) {
            let text = encode(&path);
            proptest::prop_assert!(text.bytes().all(|b| b.is_ascii_graphic()));
            proptest::prop_assert_eq!(decode(&text), Some(path));
        }
    }

    #[test]
    fn broken_escapes_are_not_paths() {
        for text in ["%", "%1", "%zz", "a%4"] {
            assert_eq!(decode(text), None, "{text}");
        }
    }
}
