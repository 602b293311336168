//! From a reference to an image in the store.

use std::time::Duration;

use rocker_types::{DiffId, Digest, ImageConfig, ImageRef, Layout};
use tokio::sync::oneshot;

use super::crew::Crew;
use super::fetch::{Errand, Repository};
use super::resolve::{Resolved, Resolver};
use super::retry::Retry;
use super::{Endpoint, PullError, PullEvent, PullProgress, PullRequest, RegistryError, runtime};
use crate::store::{
    ChainLayer, CommittedLayer, Durability, Leftovers, StagedBlobs, Store, StoreError,
};

/// How long a pull that was interrupted waits for its threads. Killing them is as good as
/// everything that kills this process; only less is left to tidy up if they end in good order.
const GRACE: Duration = Duration::from_millis(50);

/// An image whose layers and documents are in the store; what the database is to record.
#[derive(Debug)]
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
    /// What is to be dropped once the image is recorded.
    pub leftovers: Leftovers,
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
    /// What it takes on disk with all that belongs to it, if that was measured.
    pub disk_bytes: Option<u64>,
}

/// Fetches an image into `store` and returns what is to be recorded.
///
/// Blocks; a single-threaded async runtime and the unpacking threads live only inside (but
/// for a name lookup that hangs in the C library when the pull is over). On success all layers,
/// the manifest, the config and the index (if any) are in the store.
///
/// # Errors
///
/// [`PullError`]; the store has at most layers and blobs more that nobody needs then. What a
/// registry gave before it failed, or before the pull was interrupted, waits in the store for the
/// next pull; of an image that is refused, or that the disk has no room for, nothing stays.
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
    let (resolved, fetched) = pull.fetch()?;
    pull.commit(resolved, fetched)
}

/// What a pull brought, and what has to stay until the image is recorded.
#[derive(Debug)]
struct Fetched {
    documents: Writing,
    /// The layers of the image, base first.
    chain: Vec<ChainLayer>,
    leftovers: Leftovers,
}

/// The documents on their way to the disk.
type Writing = oneshot::Receiver<Result<StagedBlobs, StoreError>>;

/// One pull, and the way its errors name the image.
#[derive(Clone, Copy)]
pub(super) struct Pull<'a> {
    pub(super) store: &'a Store,
    pub(super) request: &'a PullRequest<'a>,
    pub(super) progress: &'a dyn PullProgress,
}

impl<'a> Pull<'a> {
    /// Does all that needs the network. Afterwards every layer of the chain is either in
    /// the store or staged and verified.
    fn fetch(&self) -> Result<(Resolved, Fetched), PullError> {
        let crew = Crew::default();
        let outcome = runtime::block_on(async {
            // a pull that is interrupted drops its pipes, and that ends the threads
            tokio::select! {
                biased;
                () = runtime::cancelled(self.request.cancelled) => Err(self.interrupted()),
                outcome = self.fetch_all(&crew) => outcome,
            }
        });
        match &outcome {
            Ok(Err(PullError::Interrupted { .. })) => crew.leave(GRACE),
            Ok(Ok(_)) => crew.join(),
            Ok(Err(_)) | Err(_) => {
                crew.stop();
                crew.join();
            }
        }
        outcome.map_err(|source| self.start_error("network client", source))?
    }

    async fn fetch_all(&self, crew: &Crew) -> Result<(Resolved, Fetched), PullError> {
        self.progress.event(PullEvent::Resolving);
        let on_retry = |Retry { what, cause, delay }: Retry<'_>| {
            let retrying = PullEvent::Retrying { what, cause, delay };
            self.progress.event(retrying);
        };
        let (repository, resolved) = self.resolve(&on_retry).await?;
        let digest = resolved
            .index
            .as_ref()
            .map_or(&resolved.manifest.digest, |index| &index.digest);
        self.progress.event(PullEvent::Resolved {
            digest,
            layers: &resolved.manifest.layers,
        });
        let documents = self.write_documents(crew, &resolved)?;
        let (chain, leftovers) = self.layers(crew, &repository, &resolved).await?;
        let fetched = Fetched {
            documents,
            chain,
            leftovers,
        };
        Ok((resolved, fetched))
    }

    /// Asks one place after the other what the reference means; the first that knows has the
    /// layers as well. What is wrong with the last is what is wrong with the pull.
    async fn resolve<'r>(
        &self,
        on_retry: &'r dyn Fn(Retry<'_>),
    ) -> Result<(Repository<'r>, Resolved), PullError> {
        let request = self.request;
        let mut places = request.instead.clone();
        if places.is_empty() {
            let own = Endpoint::of(&request.reference, request.registry.clone());
            places.push(own);
        }
        let mut failed = None;
        for place in &places {
            if let Some((registry, error)) = failed.take() {
                let cause = chain(&error);
                let cause = cause.as_str();
                self.progress.event(PullEvent::NotThere { registry, cause });
            }
            match self.resolve_at(place, on_retry).await {
                Ok(found) => return Ok(found),
                Err(error) => failed = Some((place.registry.as_str(), error)),
            }
        }
        Err(failed.map_or_else(|| self.interrupted(), |(_, error)| error))
    }

    async fn resolve_at<'r>(
        &self,
        place: &Endpoint,
        on_retry: &'r dyn Fn(Retry<'_>),
    ) -> Result<(Repository<'r>, Resolved), PullError> {
        let errand = Errand::pull(&place.registry, &place.repository);
        let repository = Repository::connect(&errand, &place.options, on_retry)
            .await
            .map_err(|error| self.registry_error(error))?;
        let resolver = Resolver {
            repository: &repository,
            store: self.store,
            reference: &self.request.reference,
            platform: self.request.platform.as_ref(),
            limits: &self.request.limits.documents,
        };
        let resolved = resolver.resolve().await?;
        Ok((repository, resolved))
    }

    /// Puts the image into the store. Only copying what layers link to can still be interrupted.
    fn commit(&self, resolved: Resolved, fetched: Fetched) -> Result<PulledImage, PullError> {
        let Fetched {
            documents,
            chain,
            leftovers,
        } = fetched;
        if (self.request.cancelled)() {
            leftovers.keep();
            return Err(self.interrupted());
        }
        self.progress.event(PullEvent::Committing);
        // a thread that panicked: the panic was passed on where it was joined
        let documents = documents.blocking_recv().map_err(|_| self.interrupted())?;
        let named = documents.and_then(|documents| self.store.commit_blobs(documents));
        let committed = named.and_then(|()| {
            // what a power failure takes, the registry still has
            let durability = Durability::Eventual;
            let cancelled = self.request.cancelled;
            self.store.commit_unless(chain, durability, cancelled)
        });
        match committed {
            Ok(committed) => {
                leftovers.release();
                Ok(self.pulled(resolved, committed, leftovers))
            }
            Err(StoreError::Interrupted) => {
                leftovers.keep();
                Err(self.interrupted())
            }
            Err(error) => Err(self.store_error(error)),
        }
    }

    /// Writes the documents that are not whole in the store, beside the work on the layers: to wait
    /// for the disk takes longer the more was written before.
    fn write_documents(&self, crew: &Crew, resolved: &Resolved) -> Result<Writing, PullError> {
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
        let documents = index.chain(others);
        let documents: Vec<(Digest, Vec<u8>)> = documents
            .map(|(digest, bytes)| (digest.clone(), bytes.clone()))
            .collect();
        let (sender, receiver) = oneshot::channel();
        let layout = self.store.layout().clone();
        let write = move || {
            // nobody listens any more when the pull has failed
            let _ = sender.send(write_documents(&layout, &documents));
        };
        let thread = crew.spawn("documents", write);
        thread.map_err(|source| self.start_error("thread that writes documents", source))?;
        Ok(receiver)
    }

    fn pulled(
        &self,
        resolved: Resolved,
        committed: Vec<CommittedLayer>,
        leftovers: Leftovers,
    ) -> PulledImage {
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
                disk_bytes: layer.disk_bytes,
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
            leftovers,
        }
    }

    pub(super) fn reference(&self) -> String {
        self.request.reference.familiar()
    }

    pub(super) fn interrupted(&self) -> PullError {
        PullError::Interrupted {
            reference: self.reference(),
        }
    }

    pub(super) fn registry_error(&self, source: RegistryError) -> PullError {
        PullError::Registry {
            reference: self.reference(),
            source: Box::new(source),
        }
    }

    pub(super) fn store_error(&self, source: StoreError) -> PullError {
        PullError::Store {
            reference: self.reference(),
            source: Box::new(source),
        }
    }

    pub(super) fn start_error(&self, what: &'static str, source: std::io::Error) -> PullError {
        PullError::Start {
            reference: self.reference(),
            what,
            source,
        }
    }
}

fn write_documents(
    layout: &Layout,
    documents: &[(Digest, Vec<u8>)],
) -> Result<StagedBlobs, StoreError> {
    let store = Store::open(layout)?;
    // reading verifies: a damaged blob is written anew
    let missing = documents
        .iter()
        .filter(|(digest, _)| store.read_blob(digest).is_err());
    let missing: Vec<_> = missing
        .map(|(digest, bytes)| (digest, bytes.as_slice()))
        .collect();
    store.stage_blobs(&missing, Durability::AtCommit)
}

/// An error with its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
