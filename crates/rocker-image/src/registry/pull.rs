//! From a reference to an image in the store.

use std::cell::Cell;
use std::collections::HashSet;
use std::thread::Scope;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use rocker_types::{DiffId, Digest, ImageConfig, ImageRef};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::Instant;

use super::blob::{self, Streamed};
use super::fetch::Repository;
use super::pipe::{PipeReader, pipe};
use super::resolve::{Resolved, Resolver};
use super::{
    KnownLayer, LayerState, PullError, PullEvent, PullProgress, PullRequest, RegistryError,
};
use crate::document::{Compression, Descriptor};
use crate::store::{
    ChainLayer, CommittedLayer, ExpectedLayer, StagedLayer, Staging, Store, StoreError,
    UnpackError, unpack_layer,
};

/// How often the caller is asked whether it still wants the image.
const CANCEL_POLL: Duration = Duration::from_millis(50);

/// How often a layer's number of bytes is told.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);

/// An image whose layers and documents are in the store; what the database is to record.
#[derive(Clone, Debug)]
pub struct PulledImage {
    /// What was asked for.
    pub reference: ImageRef,
    /// What the reference meant: the digest of the index where there is one, else of the
    /// manifest. This is what `Digest:` and `RepoDigests` show.
    pub digest: Digest,
    /// The digest of the index that the manifest was chosen from.
    pub index_digest: Option<Digest>,
    /// The digest of the manifest.
    pub manifest_digest: Digest,
    /// The digest of the config: the image's ID.
    pub image_id: Digest,
    /// The config.
    pub config: ImageConfig,
    /// The manifest's bytes; in the store as blob `manifest_digest`.
    pub manifest_bytes: Vec<u8>,
    /// The config's bytes; in the store as blob `image_id`.
    pub config_bytes: Vec<u8>,
    /// The layers, base first. A layer that the image has twice is listed twice.
    pub layers: Vec<PulledLayer>,
}

/// A layer of a [`PulledImage`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PulledLayer {
    /// The layer's identity in the store.
    pub diff_id: DiffId,
    /// The blob that it came from.
    pub blob_digest: Digest,
    /// Compressed size in bytes.
    pub blob_size: u64,
    /// Unpacked size on disk in bytes.
    pub size_bytes: u64,
    /// Whether it was in the store before.
    pub was_present: bool,
}

/// Fetches an image into `store` and returns what is to be recorded.
///
/// Blocks; a single-threaded async runtime and the unpacking threads live only inside. On
/// success all layers, the manifest, the config and the index (if any) are in the store.
///
/// # Errors
///
/// [`PullError`]; nothing new is visible in the store then.
pub fn pull(
    store: &Store,
    request: &PullRequest<'_>,
    progress: &dyn PullProgress,
) -> Result<PulledImage, PullError> {
    let pull = Pull {
        store,
        request,
        progress,
    };
    let (resolved, chain) = pull.fetch()?;
    pull.commit(resolved, chain)
}

/// One pull, and the way its errors name the image.
#[derive(Clone, Copy)]
struct Pull<'a> {
    store: &'a Store,
    request: &'a PullRequest<'a>,
    progress: &'a dyn PullProgress,
}

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

impl<'a> Pull<'a> {
    /// Does all that needs the network. Afterwards every layer of the chain is either in
    /// the store or staged and verified.
    fn fetch(&self) -> Result<(Resolved, Vec<ChainLayer>), PullError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build();
        let runtime = runtime.map_err(|source| self.start_error("network client", source))?;
        let outcome = std::thread::scope(|threads| {
            runtime.block_on(async {
                // a pull that is interrupted drops its pipes, and with them go the threads
                tokio::select! {
                    biased;
                    () = self.cancelled() => Err(self.interrupted()),
                    outcome = self.fetch_all(threads) => outcome,
                }
            })
        });
        // a name that is being resolved may block a thread for long; nobody waits for it
        runtime.shutdown_background();
        outcome
    }

    async fn cancelled(&self) {
        while !(self.request.cancelled)() {
            tokio::time::sleep(CANCEL_POLL).await;
        }
    }

    async fn fetch_all<'scope>(
        &'scope self,
        threads: &'scope Scope<'scope, '_>,
    ) -> Result<(Resolved, Vec<ChainLayer>), PullError> {
        let request = self.request;
        self.progress.event(PullEvent::Resolving);
        let repository = Repository::new(&request.reference, &request.registry, self.progress)
            .map_err(|error| self.registry_error(error))?;
        let (reference, platform) = (&request.reference, request.platform.as_ref());
        let resolver = Resolver {
            repository: &repository,
            store: self.store,
            reference,
            platform,
        };
        let resolved = resolver.resolve().await?;
        let digest = resolved
            .index
            .as_ref()
            .map_or(&resolved.manifest.digest, |index| &index.digest);
        self.progress.event(PullEvent::Resolved {
            digest,
            layers: &resolved.manifest.layers,
        });
        let chain = self.layers(threads, &repository, &resolved).await?;
        Ok((resolved, chain))
    }

    /// Fetches what is missing and puts the chain together, base first.
    async fn layers<'scope>(
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
        if !self.store.has_layer(diff_id) {
            return Ok(false);
        }
        match known {
            None => Ok(true),
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
            Some(_) => Ok(false),
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
            streamed = blob::stream(site.repository, &layer.blob, &writer, &on_bytes) => streamed,
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

    /// Makes the image visible: from here on nothing can be interrupted, and little fails.
    fn commit(&self, resolved: Resolved, chain: Vec<ChainLayer>) -> Result<PulledImage, PullError> {
        if (self.request.cancelled)() {
            return Err(self.interrupted());
        }
        self.progress.event(PullEvent::Committing);
        let mut written = Vec::new();
        // the store syncs blobs and layers together, so the blobs go first
        let committed = self
            .write_documents(&resolved, &mut written)
            .and_then(|()| self.store.commit(chain));
        let committed = committed.map_err(|error| {
            // what could not be removed is found by the store's check
            written
                .iter()
                .for_each(|digest| drop(self.store.remove_blob(digest)));
            self.store_error(error)
        })?;
        Ok(self.pulled(resolved, committed))
    }

    /// Writes the documents that are not whole in the store, and lists them in `written`.
    fn write_documents(
        &self,
        resolved: &Resolved,
        written: &mut Vec<Digest>,
    ) -> Result<(), StoreError> {
        let Resolved {
            index,
            manifest,
            config_bytes,
            ..
        } = resolved;
        let index = index.iter().map(|index| (&index.digest, &index.raw));
        let others = [
            (&manifest.digest, &manifest.raw),
            (&manifest.config.digest, config_bytes),
        ];
        for (digest, bytes) in index.chain(others) {
            // reading verifies: a damaged blob is written anew
            if self.store.read_blob(digest).is_err() {
                written.push(digest.clone());
                self.store.write_blob(digest, bytes)?;
            }
        }
        Ok(())
    }

    fn pulled(&self, resolved: Resolved, committed: Vec<CommittedLayer>) -> PulledImage {
        let Resolved {
            index,
            manifest,
            config,
            config_bytes,
        } = resolved;
        let layers = manifest
            .layers
            .iter()
            .zip(committed)
            .map(|(blob, layer)| PulledLayer {
                diff_id: layer.diff_id,
                blob_digest: blob.digest.clone(),
                blob_size: blob.size,
                size_bytes: layer.size_bytes,
                was_present: layer.was_present,
            });
        let layers = layers.collect();
        let index_digest = index.map(|index| index.digest);
        PulledImage {
            reference: self.request.reference.clone(),
            digest: index_digest
                .clone()
                .unwrap_or_else(|| manifest.digest.clone()),
            index_digest,
            manifest_digest: manifest.digest,
            image_id: manifest.config.digest,
            config,
            manifest_bytes: manifest.raw,
            config_bytes,
            layers,
        }
    }

    fn layer_state(&self, layer: &Missing, state: LayerState) {
        self.progress.event(PullEvent::Layer {
            digest: &layer.blob.digest,
            state,
        });
    }

    fn reference(&self) -> String {
        self.request.reference.familiar()
    }

    fn interrupted(&self) -> PullError {
        PullError::Interrupted {
            reference: self.reference(),
        }
    }

    fn registry_error(&self, source: RegistryError) -> PullError {
        PullError::Registry {
            reference: self.reference(),
            source: Box::new(source),
        }
    }

    fn store_error(&self, source: StoreError) -> PullError {
        PullError::Store {
            reference: self.reference(),
            source: Box::new(source),
        }
    }

    fn layer_error(&self, layer: &Missing, source: UnpackError) -> PullError {
        PullError::Layer {
            reference: self.reference(),
            digest: layer.blob.digest.clone(),
            source: Box::new(source),
        }
    }

    fn start_error(&self, what: &'static str, source: std::io::Error) -> PullError {
        PullError::Start {
            reference: self.reference(),
            what,
            source,
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
