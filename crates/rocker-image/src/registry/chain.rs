//! The layers of an image while they are being collected.

use rocker_types::DiffId;

use crate::store::{ChainLayer, StagedLayer};

/// Every layer of an image, base first: those that are staged, and others that are in the store or
/// still to come.
#[derive(Debug)]
pub(super) struct Chain<'a> {
    pub(super) ids: &'a [DiffId],
    pub(super) staged: Vec<Option<StagedLayer>>,
}

impl<'a> Chain<'a> {
    /// Nothing is staged yet.
    pub(super) fn new(ids: &'a [DiffId]) -> Self {
        Self {
            ids,
            staged: ids.iter().map(|_| None).collect(),
        }
    }

    /// All of it, once nothing is to come.
    pub(super) fn into_layers(mut self) -> Vec<ChainLayer> {
        let positions = 0..self.ids.len();
        positions.map(|position| self.take(position)).collect()
    }

    /// What can be committed while the layers at `missing` are still to come: everything below
    /// the first of them, and of the others those that take nothing from below.
    pub(super) fn take_ready(&mut self, missing: &[usize]) -> Vec<ChainLayer> {
        let first = missing.iter().min().copied().unwrap_or(self.ids.len());
        let mut ready: Vec<_> = (0..first).map(|position| self.take(position)).collect();
        for position in first..self.ids.len() {
            let staged = self.staged[position].as_ref();
            if staged.is_some_and(|layer| !layer.depends_on_base()) {
                ready.push(self.take(position));
            }
        }
        ready
    }

    fn take(&mut self, position: usize) -> ChainLayer {
        match self.staged[position].take() {
            Some(layer) => ChainLayer::Staged(layer),
            None => ChainLayer::Present(self.ids[position].clone()),
        }
    }
}
