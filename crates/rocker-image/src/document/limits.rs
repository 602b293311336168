//! How much a document may ask for.

use super::DocumentError;
use crate::store::LimitExceeded;

/// What reading the documents of one image may cost; whoever goes beyond is refused with the
/// limit's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DocumentLimits {
    /// Bytes of one index or manifest. The default is what registries themselves allow.
    pub manifest_bytes: u64,
    /// Bytes of one image config.
    pub config_bytes: u64,
    /// Objects and arrays inside one another.
    pub json_depth: usize,
    /// Layers of one image.
    pub layers: usize,
    /// Entries of one index.
    pub index_entries: usize,
    /// Indexes that point at one another before a manifest must come.
    pub index_depth: usize,
    /// Images that one archive lists.
    pub images: usize,
}

impl DocumentLimits {
    /// Beyond this no limit can be set: the store keeps no larger documents, the JSON reader goes
    /// no deeper, and OverlayFS stacks no more layers. What is in the store fits.
    pub const LARGEST: Self = Self {
        manifest_bytes: 16 << 20,
        config_bytes: 16 << 20,
        json_depth: 126,
        layers: 500,
        index_entries: 1 << 20,
        index_depth: 64,
        images: 1 << 20,
    };

    pub(crate) fn check_manifest(&self, bytes: u64) -> Result<(), DocumentError> {
        match bytes > self.manifest_bytes {
            true => Err(self.manifest_too_long()),
            false => Ok(()),
        }
    }

    /// A manifest that did not end where it had to.
    pub(crate) fn manifest_too_long(&self) -> DocumentError {
        exceeded(
            "manifest_bytes",
            self.manifest_bytes,
            "the manifest".to_owned(),
        )
    }

    pub(crate) fn check_config(&self, bytes: u64) -> Result<(), DocumentError> {
        within("config_bytes", self.config_bytes, bytes, || {
            "the config".to_owned()
        })
    }

    pub(crate) fn check_layers(&self, count: usize) -> Result<(), DocumentError> {
        within("layers", self.layers as u64, count as u64, || {
            format!("an image of {count} layers")
        })
    }

    pub(crate) fn check_entries(&self, count: usize) -> Result<(), DocumentError> {
        within(
            "index_entries",
            self.index_entries as u64,
            count as u64,
            || format!("an index of {count} entries"),
        )
    }

    pub(crate) fn check_images(&self, count: usize) -> Result<(), DocumentError> {
        within("images", self.images as u64, count as u64, || {
            format!("an archive of {count} images")
        })
    }

    /// The manifest did not come within [`index_depth`](Self::index_depth).
    pub(crate) fn too_many_indexes(&self) -> DocumentError {
        exceeded(
            "index_depth",
            self.index_depth as u64,
            "a chain in which indexes point at one another".to_owned(),
        )
    }
}

impl Default for DocumentLimits {
    fn default() -> Self {
        Self {
            manifest_bytes: 4 << 20,
            config_bytes: 8 << 20,
            json_depth: 100,
            layers: 500,
            index_entries: 1000,
            index_depth: 4,
            images: 1000,
        }
    }
}

fn within(
    limit: &'static str,
    allowed: u64,
    found: u64,
    object: impl FnOnce() -> String,
) -> Result<(), DocumentError> {
    match found > allowed {
        true => Err(exceeded(limit, allowed, object())),
        false => Ok(()),
    }
}

pub(super) fn exceeded(limit: &'static str, allowed: u64, object: String) -> DocumentError {
    DocumentError::Limit(LimitExceeded {
        limit,
        allowed,
        object,
    })
}
