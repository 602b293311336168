//! A layer between unpacking and the store.

use rocker_types::DiffId;

use super::recipe::{attic_name, recipe_name};
use super::record::VerifiedBlob;
use super::staging::{LayerDirectory, Staging};
use super::unpack::Unpacked;

/// A layer that is unpacked and verified, but not in the store yet.
///
/// Only unpacking makes one, and [`Store::commit`](super::Store::commit) takes nothing else:
/// bytes that nobody checked never become a layer.
#[derive(Debug)]
pub struct StagedLayer {
    pub(super) directory: LayerDirectory,
    pub(super) diff_id: DiffId,
    pub(super) unpacked: Unpacked,
    /// What it was unpacked from, if somebody promised it.
    pub(super) blob: Option<VerifiedBlob>,
    /// Holds for what is copied from layers below as well.
    pub(super) keep_free_percent: u64,
}

impl StagedLayer {
    /// The digest of the uncompressed bytes.
    #[must_use]
    pub fn diff_id(&self) -> &DiffId {
        &self.diff_id
    }

    /// Bytes of file content, holes not counted.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.unpacked.bytes
    }

    /// Whether it takes something from the layers below it when it is committed.
    pub(crate) fn depends_on_base(&self) -> bool {
        let inherits = self.unpacked.implied.iter().any(|path| !path.is_empty());
        inherits || !self.unpacked.links.is_empty()
    }

    pub(super) fn staging(&self) -> &Staging {
        &self.directory.staging
    }

    /// What it consists of: each name in the staging directory, and the one in the store.
    /// The directory comes last, since its name there is the promise that all is there.
    pub(super) fn names(&self) -> [(String, String); 3] {
        let layer = &self.diff_id;
        [
            (self.directory.attic_name(), attic_name(layer)),
            (self.directory.recipe_name(), recipe_name(layer)),
            (self.directory.name().to_owned(), layer.hex().to_owned()),
        ]
    }

    /// The directory has another name now and is the store's.
    pub(super) fn set_committed(mut self) {
        self.directory.is_committed = true;
    }
}
