//! The layers of one pull: which are missing, and how they get into the store's staging.

use std::cell::RefCell;
use std::collections::HashSet;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use rocker_types::DiffId;
use tokio::sync::Semaphore;

use super::crew::Crew;
use super::fetch::Repository;
use super::layer::{Missing, Site};
use super::pull::Pull;
use super::resolve::Resolved;
use super::{KnownLayer, LayerState, PullError, PullEvent};
use crate::document::{Compression, Descriptor};
use crate::store::{ChainLayer, ExpectedLayer, Leftovers, StagedLayer};

/// The layers of an image, base first, and what has to stay until the image is recorded.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) chain: Vec<ChainLayer>,
    pub(super) leftovers: Leftovers,
}

impl Pull<'_> {
    /// Fetches what is missing and puts the chain together.
    pub(super) async fn layers(
        &self,
        crew: &Crew,
        repository: &Repository<'_>,
        resolved: &Resolved,
    ) -> Result<Fetched, PullError> {
        let diff_ids = &resolved.config.rootfs.diff_ids;
        let missing = self.missing(resolved)?;
        let mut staged: Vec<Option<StagedLayer>> = diff_ids.iter().map(|_| None).collect();
        let mut leftovers = Leftovers::default();
        if !missing.is_empty() {
            let wanted: Vec<_> = missing.iter().map(|layer| layer.expected.clone()).collect();
            let staging = self
                .store
                .stage_pull(diff_ids, &wanted, &self.request.limits)
                .map_err(|error| self.store_error(error))?;
            // one permit for each layer that is fetched and unpacked; the largest come
            // first, so that none of them is left alone at the end
            let permits = Semaphore::new(self.request.registry.concurrency.max(1));
            let site = Site {
                crew,
                repository,
                staging: RefCell::new(staging),
                permits,
            };
            let fetched = self.fetch_missing(&site, &missing, &mut staged).await;
            let came = site.staging.into_inner().leftovers();
            match fetched {
                Ok(()) => leftovers = came,
                Err(error) => {
                    if error.may_pass() {
                        came.keep();
                    }
                    return Err(error);
                }
            }
        }
        let chain = diff_ids.iter().zip(staged).map(|(id, staged)| {
            staged.map_or_else(|| ChainLayer::Present(id.clone()), ChainLayer::Staged)
        });
        Ok(Fetched {
            chain: chain.collect(),
            leftovers,
        })
    }

    async fn fetch_missing(
        &self,
        site: &Site<'_>,
        missing: &[Missing],
        staged: &mut [Option<StagedLayer>],
    ) -> Result<(), PullError> {
        let fetches = missing.iter().map(|layer| self.layer(site, layer));
        let mut fetches: FuturesUnordered<_> = fetches.collect();
        while let Some(outcome) = fetches.next().await {
            let (position, layer) = outcome?;
            staged[position] = Some(layer);
        }
        Ok(())
    }

    /// The layers that neither the store nor an earlier place in the chain provides, largest
    /// first.
    fn missing(&self, resolved: &Resolved) -> Result<Vec<Missing>, PullError> {
        let mut seen = HashSet::new();
        let mut missing = Vec::new();
        let layers = resolved
            .manifest
            .layers
            .iter()
            .zip(&resolved.config.rootfs.diff_ids);
        for (position, (blob, diff_id)) in layers.enumerate() {
            if !seen.insert((&blob.digest, diff_id)) {
                continue;
            }
            let is_present = self.is_present(blob, diff_id)?;
            let state = if is_present {
                LayerState::AlreadyExists
            } else {
                LayerState::Waiting
            };
            self.progress.event(PullEvent::Layer {
                digest: &blob.digest,
                state,
            });
            if !is_present {
                let expected = ExpectedLayer {
                    blob: blob.digest.clone(),
                    size_bytes: blob.size,
                    compression: blob.compression().unwrap_or(Compression::None),
                    diff_id: diff_id.clone(),
                };
                missing.push(Missing {
                    position,
                    blob: blob.clone(),
                    expected,
                });
            }
        }
        missing.sort_by_key(|layer| std::cmp::Reverse(layer.blob.size));
        Ok(missing)
    }

    /// Whether a layer need not be fetched: it is in the store, and what the manifest says
    /// about its blob is what was verified when it came.
    fn is_present(&self, blob: &Descriptor, diff_id: &DiffId) -> Result<bool, PullError> {
        if !self.store.has_layer(diff_id) {
            return Ok(false);
        }
        let Some(KnownLayer { blob: known, .. }) = (self.request.known_layers)(diff_id) else {
            // that of an image which is not recorded yet, or never was because its pull died
            return Ok(self.store.knows_blob(diff_id, &blob.digest, blob.size));
        };
        match known {
            // It came without a blob, from a file: what this manifest says of it is verified once.
            None => Ok(self.store.knows_blob(diff_id, &blob.digest, blob.size)),
            Some((digest, size)) if digest == blob.digest && size == blob.size => Ok(true),
            Some((digest, actual)) if digest == blob.digest => {
                let reference = self.request.reference.familiar();
                Err(PullError::LayerSize {
                    reference,
                    digest,
                    claimed: blob.size,
                    actual,
                })
            }
            // The caller remembers one blob, the store all.
            Some(_) => Ok(self.store.knows_blob(diff_id, &blob.digest, blob.size)),
        }
    }
}
