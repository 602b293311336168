//! Layers that are there and not to be believed, and how another one takes their place.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use rocker_types::DiffId;
use rustix::fs::RenameFlags;

use super::{Store, StoreError};

/// Puts a layer in the place of a damaged one by calling what it is given, unless somebody has
/// that mounted: changing it would change files under a program that runs. Whoever keeps programs
/// from starting meanwhile does so around the call.
///
/// Called with the store's lock held, so what it waits for must not wait for the store.
pub type Replace = dyn Fn(&DiffId, &mut dyn FnMut() -> Result<(), StoreError>) -> Result<(), StoreError>
    + Send
    + Sync;

/// What a store does not believe.
#[derive(Default)]
pub(super) struct Distrust {
    layers: BTreeSet<DiffId>,
    replace: Option<Box<Replace>>,
}

impl fmt::Debug for Distrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Distrust").field(&self.layers).finish()
    }
}

impl Store {
    /// The same store for who has found `layers` damaged: they count as missing, and a commit puts
    /// what it brings in their place by way of `replace`, at once and whole.
    #[must_use]
    pub fn distrusting(mut self, layers: BTreeSet<DiffId>, replace: Box<Replace>) -> Self {
        let replace = Some(replace);
        self.distrust = Arc::new(Distrust { layers, replace });
        self
    }

    /// Whether the layer is there and not to be believed.
    pub(super) fn distrusts(&self, layer: &DiffId) -> bool {
        self.distrust.layers.contains(layer)
    }

    /// How a new layer gets its name: in exchange for one that is not to be believed, else as the
    /// first of that name.
    pub(super) fn renaming(&self, layer: &DiffId) -> RenameFlags {
        match self.distrusts(layer) && self.has_directory(layer) {
            true => RenameFlags::EXCHANGE,
            false => RenameFlags::NOREPLACE,
        }
    }

    /// Exchanges a damaged layer by calling `exchange`, if that may be.
    pub(super) fn replace(
        &self,
        layer: &DiffId,
        exchange: &mut dyn FnMut() -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        match &self.distrust.replace {
            Some(replace) => replace(layer, exchange),
            None => exchange(),
        }
    }
}
