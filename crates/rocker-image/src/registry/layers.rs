//! The layers of one pull: which are missing, and how they get into the store's staging.

use std::cell::RefCell;
use std::collections::HashSet;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use rocker_types::DiffId;
use tokio::sync::Semaphore;

use super::chain::Chain;
use super::crew::Crew;
use super::fetch::Repository;
use super::layer::{Missing, Site};
use super::publishing::Publishing;
use super::pull::Pull;
use super::resolve::Resolved;
use super::waiting::Waiting;
use super::{KnownLayer, LayerState, PullError, PullEvent};
use crate::document::{Compression, Descriptor};
use crate::store::{ChainLayer, ExpectedLayer, Leftovers, PullStaging};

/// How often a pull shows those who wait for it that it comes on, and looks whether there are any.
const PULSE: Duration = Duration::from_secs(1);

/// How often it is looked whether another pull has what this one waits for.
const LOOK: Duration = Duration::from_millis(100);

impl Pull<'_> {
    /// Fetches what is missing and puts the chain together; what has to stay until the image is
    /// recorded comes with it.
    pub(super) async fn layers(
        &self,
        crew: &Crew,
        repository: &Repository<'_>,
        resolved: &Resolved,
    ) -> Result<(Vec<ChainLayer>, Leftovers), PullError> {
        let diff_ids = &resolved.config.rootfs.diff_ids;
        let missing = self.missing(resolved)?;
        let mut chain = Chain::new(diff_ids);
        // one permit for each layer that is fetched and unpacked; the largest come
        // first, so that none of them is left alone at the end
        let permits = Semaphore::new(repository.options().concurrency.max(1));
        let site = Site {
            crew,
            repository,
            staging: RefCell::new(PullStaging::new()),
            permits,
        };
        let mut publishing = Publishing::new(self, crew);
        let fetched = self
            .fetch_missing(&site, missing, &mut chain, &mut publishing)
            .await;
        if fetched.is_err() {
            crew.stop();
        }
        // what goes into the store must not be taken from under it
        let published = publishing.end().await;
        let fetched = fetched.and(published);
        let came = site.staging.into_inner().leftovers();
        match fetched {
            Ok(()) => Ok((chain.into_layers(), came)),
            Err(error) => {
                if error.may_pass() {
                    came.keep();
                }
                Err(error)
            }
        }
    }

    /// Gets all that nobody else gets; then waits for what others do, and takes that over as well
    /// if they die.
    async fn fetch_missing(
        &self,
        site: &Site<'_>,
        missing: Vec<Missing>,
        chain: &mut Chain<'_>,
        publishing: &mut Publishing<'_>,
    ) -> Result<(), PullError> {
        let mut waiting = Waiting::new(self, site, missing);
        loop {
            let ours = waiting
                .claim(chain.ids)
                .map_err(|error| self.store_error(error))?;
            let is_idle = ours.is_empty();
            let theirs = waiting.positions();
            self.fetch_ours(site, (&ours, theirs), chain, publishing)
                .await?;
            publishing.end().await?;
            if waiting.is_over() {
                return Ok(());
            }
            if !is_idle || waiting.has_moved() {
                // whoever waits for us must not wait until we have what we wait for
                publishing.begin(chain, waiting.positions())?;
                publishing.end().await?;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Gets the first of these layers while others get those at the second. Whoever waits for
    /// one of ours is told that we come on, and has it as soon as it is there.
    async fn fetch_ours(
        &self,
        site: &Site<'_>,
        (ours, theirs): (&[Missing], &[usize]),
        chain: &mut Chain<'_>,
        publishing: &mut Publishing<'_>,
    ) -> Result<(), PullError> {
        let fetches = ours.iter().map(|layer| self.layer(site, layer));
        let mut fetches: FuturesUnordered<_> = fetches.collect();
        let mut missing: Vec<usize> = ours.iter().map(|layer| layer.position).collect();
        missing.extend(theirs);
        let mut read = 0;
        let mut pulse = tokio::time::interval(PULSE);
        loop {
            tokio::select! {
                outcome = fetches.next() => {
                    let Some(outcome) = outcome else { return Ok(()) };
                    let (position, layer) = outcome?;
                    chain.staged[position] = Some(layer);
                    missing.retain(|missing| *missing != position);
                }
                published = publishing.end(), if publishing.is_under_way() => published?,
                _ = pulse.tick() => {
                    let now = site.crew.bytes_read();
                    if now != std::mem::replace(&mut read, now) {
                        site.staging.borrow().show_progress();
                    }
                }
            }
            // the last ones are committed with the image
            let may_publish = !missing.is_empty() && !publishing.is_under_way();
            if may_publish && site.staging.borrow().is_watched(self.store) {
                publishing.begin(chain, &missing)?;
            }
        }
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
        let is_here = self.store.has_sound_layer(diff_id, &self.request.limits);
        if !is_here.map_err(|error| self.store_error(error))? {
            return Ok(false);
        }
        let known = (self.request.known_layers)(diff_id);
        if let Some(KnownLayer {
            blob: Some((digest, actual)),
        }) = known
            && digest == blob.digest
            && actual != blob.size
        {
            return Err(PullError::LayerSize {
                reference: self.reference(),
                digest,
                claimed: blob.size,
                actual,
            });
        }
        // The caller remembers one blob at most, the store all of them. What came from a file, or is
        // said to be compressed in another way, is verified once.
        Ok(self
            .store
            .knows_blob(diff_id, &blob.digest, blob.size, blob.compression()))
    }
}
