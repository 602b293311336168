//! The layers of one pull: which are missing, and how they get into the store's staging.

use std::cell::Cell;
use std::collections::HashSet;
use std::thread::Scope;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use rocker_types::DiffId;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::Instant;

use super::blob::{self, Streamed};
use super::fetch::Repository;
use super::pipe::{PipeReader, pipe};
use super::pull::Pull;
use super::resolve::Resolved;
use super::{KnownLayer, LayerState, PullError, PullEvent, PullProgress};
use crate::document::{Compression, Descriptor};
use crate::store::{ChainLayer, ExpectedLayer, StagedLayer, Staging, UnpackError, unpack_layer};

/// How often a layer's number of bytes is told.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);

/// Where layers are fetched from and unpacked to.
struct Site<'s, 'scope, 'env> {
    threads: &'scope Scope<'scope, 'env>,
    repository: &'s Repository<'s>,
    staging: Staging,
    permits: Semaphore,
}

/// A layer that has to be fetched.
#[derive(Clone, Debug)]
struct Missing {
    /// Where it first stands in the chain.
    position: usize,
    blob: Descriptor,
    expected: ExpectedLayer,
}

impl Pull<'_> {
    /// Fetches what is missing and puts the chain together, base first.
    pub(super) async fn layers<'scope>(
        &'scope self,
        threads: &'scope Scope<'scope, '_>,
        repository: &Repository<'_>,
        resolved: &Resolved,
    ) -> Result<Vec<ChainLayer>, PullError> {
        let diff_ids = &resolved.config.rootfs.diff_ids;
        let missing = self.missing(resolved)?;
        let mut staged: Vec<Option<StagedLayer>> = diff_ids.iter().map(|_| None).collect();
        if !missing.is_empty() {
            let staging = self
                .store
                .stage()
                .map_err(|error| self.store_error(error))?;
            // one permit for each layer that is fetched and unpacked; the largest come
            // first, so that none of them is left alone at the end
            let permits = Semaphore::new(self.request.registry.concurrency.max(1));
            let site = Site {
                threads,
                repository,
                staging,
                permits,
            };
            let mut fetches: FuturesUnordered<_> = missing
                .iter()
                .map(|layer| self.layer(&site, layer))
                .collect();
            while let Some(outcome) = fetches.next().await {
                let (position, layer) = outcome?;
                staged[position] = Some(layer);
            }
        }
        let chain = diff_ids.iter().zip(staged);
        Ok(chain
            .map(|(id, staged)| {
                staged.map_or_else(|| ChainLayer::Present(id.clone()), ChainLayer::Staged)
            })
            .collect())
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
        let Some(KnownLayer { blob: known, .. }) = (self.request.known_layers)(diff_id) else {
            return Ok(false);
        };
        let is_here = self.store.has_sound_layer(diff_id);
        if !is_here.map_err(|error| self.store_error(error))? {
            return Ok(false);
        }
        match known {
            Some((digest, actual)) if digest == blob.digest && actual != blob.size => {
                let reference = self.request.reference.familiar();
                Err(PullError::LayerSize {
                    reference,
                    digest,
                    claimed: blob.size,
                    actual,
                })
            }
            // The caller remembers one blob at most, the store all of them. What came from a file,
            // or is said to be compressed in another way, is verified once.
            Some(_) | None => {
                Ok(self
                    .store
                    .knows_blob(diff_id, &blob.digest, blob.size, blob.compression()))
            }
        }
    }

    /// Fetches one layer: the network here, the unpacking in a thread of its own.
    async fn layer(
        &self,
        site: &Site<'_, '_, '_>,
        layer: &Missing,
    ) -> Result<(usize, StagedLayer), PullError> {
        let _permit = site.permits.acquire().await;
        let (writer, reader) = pipe();
        let unpacked = self.spawn_unpacking(site, reader, layer.expected.clone())?;
        let meter = Meter::new(self.progress, &layer.blob);
        let on_bytes = |done| meter.tell(done);
        let streamed = tokio::select! {
            biased;
            streamed = blob::stream(site.repository, &layer.blob, &writer, 0, &on_bytes) => streamed,
            // a network that is silent must not hide that the unpacking failed
            () = writer.reader_gone() => Ok(Streamed::ReaderGone),
        };
        match streamed {
            Ok(Streamed::Completely) => writer.finish(),
            Ok(Streamed::ReaderGone) => drop(writer),
            // the thread fails as well when its pipe breaks; what broke it is what matters
            Err(error) => return Err(self.registry_error(error)),
        }
        self.layer_state(layer, LayerState::Extracting);
        let outcome = match unpacked.await {
            Ok(outcome) => outcome.map_err(|error| self.layer_error(layer, error))?,
            // a thread that panicked: the scope passes the panic on
            Err(_) => return Err(self.interrupted()),
        };
        self.layer_state(layer, LayerState::Done);
        Ok((layer.position, outcome))
    }

    fn spawn_unpacking(
        &self,
        site: &Site<'_, '_, '_>,
        reader: PipeReader,
        expected: ExpectedLayer,
    ) -> Result<oneshot::Receiver<Result<StagedLayer, UnpackError>>, PullError> {
        let (sender, receiver) = oneshot::channel();
        let (staging, limits) = (site.staging.clone(), self.request.limits);
        let unpack = move || {
            let outcome = unpack_layer(&staging, reader, &expected, &limits, &|_| {});
            // nobody listens any more when the pull was interrupted
            let _ = sender.send(outcome);
        };
        let thread = std::thread::Builder::new()
            .name("unpack".to_owned())
            .spawn_scoped(site.threads, unpack);
        thread.map_err(|source| self.start_error("unpacking thread", source))?;
        Ok(receiver)
    }

    fn layer_state(&self, layer: &Missing, state: LayerState) {
        self.progress.event(PullEvent::Layer {
            digest: &layer.blob.digest,
            state,
        });
    }

    fn layer_error(&self, layer: &Missing, source: UnpackError) -> PullError {
        PullError::Layer {
            reference: self.reference(),
            digest: layer.blob.digest.clone(),
            source: Box::new(source),
        }
    }
}

/// Tells how many bytes of a layer have come, but not for each piece.
struct Meter<'a> {
    progress: &'a dyn PullProgress,
    blob: &'a Descriptor,
    told: Cell<Option<Instant>>,
}

impl<'a> Meter<'a> {
    const fn new(progress: &'a dyn PullProgress, blob: &'a Descriptor) -> Self {
        Self {
            progress,
            blob,
            told: Cell::new(None),
        }
    }

    fn tell(&self, done: u64) {
        let total = self.blob.size;
        let recently = self
            .told
            .get()
            .is_some_and(|told| told.elapsed() < PROGRESS_INTERVAL);
        if recently && done < total {
            return;
        }
        self.told.set(Some(Instant::now()));
        let state = LayerState::Downloading { done, total };
        self.progress.event(PullEvent::Layer {
            digest: &self.blob.digest,
            state,
        });
    }
}
