//! From an image in the store to a registry.
//!
//! Layers are kept unpacked here, so the bytes that a registry wants are not at hand. For each
//! layer the cheapest way is taken that leads to a blob at the registry:
//!
//! 1. a blob that the layer is known as is there already;
//! 2. it is in another repository of the same registry, which mounts it;
//! 3. the registry that the layer came from still has it: its bytes pass through;
//! 4. the layer's tar is written again and compressed, which makes another blob.
//!
//! As long as every layer stays the blob that the image's manifest names, that manifest is
//! pushed byte for byte and keeps its digest.

mod body;
mod chunk;
mod error;
mod layer;
mod manifest;
mod progress;
mod provenance;
mod source;
mod stream;
mod upload;

use std::collections::HashMap;
use std::fmt;
use std::thread::Scope;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use rocker_types::{DiffId, Digest, ImageRef};
use tokio::sync::Semaphore;

pub use error::PushError;
pub use manifest::{PushCompression, Reuse};
pub use progress::{NoPushProgress, PushEvent, PushProgress, PushState};
pub use provenance::Elsewhere;

use super::fetch::{Errand, Repository, pull_scope};
use super::retry::Retry;
use super::{Endpoint, RegistryError, RegistryOptions, runtime};
use crate::document::{Compression, Descriptor, Document, DocumentLimits, Format, Manifest};
use crate::store::Store;
use layer::Brought;
use provenance::Provenance;
use upload::Uploader;

/// An image to push, and all that helps with it.
pub struct PushRequest<'a> {
    /// What the image is to be called there.
    pub reference: ImageRef,
    /// How to talk to that registry.
    pub registry: RegistryOptions,
    /// Where it goes instead of the registry that the reference names.
    pub instead: Option<Endpoint>,
    /// The digest of the image's config, which is a blob of the store.
    pub image_id: Digest,
    /// The digest of the manifest that the image came with, a blob of the store; `None` for an
    /// image that was made here.
    pub manifest: Option<Digest>,
    /// The layers, base first.
    pub layers: Vec<DiffId>,
    /// What is known about where a layer's blobs are. Asked from the calling thread.
    pub known_blobs: &'a dyn Fn(&DiffId) -> Vec<KnownBlob>,
    /// Where repositories are that layers came from.
    pub elsewhere: Elsewhere,
    /// How layers are compressed that have to be.
    pub compression: PushCompression,
    /// Which blobs are taken as they are.
    pub reuse: Reuse,
    /// How hard, as the compressor counts; `None` keeps up with a fast network.
    pub level: Option<u8>,
    /// Which family of documents the registry gets; `None` leaves the image in its own.
    pub format: Option<Format>,
    /// Asked about every 50 ms, from the calling thread; once it says `true` the push ends with
    /// [`PushError::Interrupted`].
    pub cancelled: &'a dyn Fn() -> bool,
}

impl fmt::Debug for PushRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PushRequest")
            .field("reference", &self.reference)
            .field("registry", &self.registry)
            .field("image_id", &self.image_id)
            .field("manifest", &self.manifest)
            .field("layers", &self.layers)
            .field("compression", &self.compression)
            .field("format", &self.format)
            .finish_non_exhaustive()
    }
}

/// A blob that unpacks to a layer, and where it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownBlob {
    /// The blob as a manifest describes it.
    pub blob: Descriptor,
    /// Repositories that had it.
    pub seen_in: Vec<ImageRef>,
}

/// An image that is at the registry now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushedImage {
    /// The digest of the manifest.
    pub digest: Digest,
    /// The manifest's bytes.
    pub manifest: Vec<u8>,
    /// The layers that had to be compressed, and the blobs that they became.
    pub compressed: Vec<(DiffId, Descriptor)>,
}

/// Pushes an image under its tag. Blocks; an async runtime and the threads that compress live
/// only inside. The store is read and nothing else.
///
/// # Errors
///
/// [`PushError`]; the tag means what it meant before, and what was half uploaded is cancelled.
pub fn push(
    store: &Store,
    request: &PushRequest<'_>,
    progress: &dyn PushProgress,
) -> Result<PushedImage, PushError> {
    let push = Push {
        store,
        request,
        progress,
    };
    let outcome = std::thread::scope(|threads| runtime::block_on(push.run(threads)));
    outcome.map_err(|source| PushError::Start {
        reference: request.reference.familiar(),
        what: "network client",
        source,
    })?
}

/// One push, and the way its errors name the image.
#[derive(Clone, Copy)]
pub(super) struct Push<'a> {
    store: &'a Store,
    request: &'a PushRequest<'a>,
    progress: &'a dyn PushProgress,
}

/// The manifest that the image `id` of these layers came with, if it is there and still fits the
/// image. A damaged one is no help, and no reason not to push.
#[must_use]
pub fn kept_manifest(
    store: &Store,
    manifest: &Digest,
    id: &Digest,
    layers: &[DiffId],
) -> Option<Manifest> {
    let bytes = store.read_blob(manifest).ok()?;
    match Document::parse(bytes, None, manifest.clone(), &DocumentLimits::LARGEST) {
        Ok(Document::Manifest(found)) => {
            let fits = found.config.digest == *id && found.layers.len() == layers.len();
            fits.then_some(found)
        }
        Ok(Document::Index(_)) | Err(_) => None,
    }
}

/// What layers are pushed with.
struct Site<'s, 'scope, 'env> {
    threads: &'scope Scope<'scope, 'env>,
    store: &'scope Store,
    uploader: &'s Uploader<'s>,
    permits: Semaphore,
    provenance: Provenance<'s>,
    /// The repositories of the same registry that may be mounted from.
    mounts: Vec<&'s str>,
}

impl<'a> Push<'a> {
    async fn run<'scope>(
        &'scope self,
        threads: &'scope Scope<'scope, '_>,
    ) -> Result<PushedImage, PushError> {
        let request = self.request;
        let known: Vec<_> = request.layers.iter().map(request.known_blobs).collect();
        let mounts = self.mounts(&known);
        let own = || Endpoint::of(&request.reference, request.registry.clone());
        let place = request.instead.clone().unwrap_or_else(own);
        let (registry, repository) = (place.registry.as_str(), place.repository.as_str());
        let mut scopes = vec![format!("repository:{repository}:pull,push")];
        scopes.extend(mounts.iter().map(|repository| pull_scope(repository)));
        let errand = Errand {
            registry,
            repository,
            scopes,
        };
        let on_retry = |Retry { what, cause, delay }: Retry<'_>| {
            self.progress
                .event(PushEvent::Retrying { what, cause, delay });
        };
        tokio::select! {
            biased;
            () = runtime::cancelled(request.cancelled) => Err(self.interrupted()),
            connected = Repository::connect(&errand, &place.options, &on_retry) => {
                let repository = connected.map_err(|error| self.registry_error(error))?;
                let uploader = Uploader::new(&repository);
                let site = Site {
                    threads,
                    store: self.store,
                    uploader: &uploader,
                    permits: Semaphore::new(request.registry.concurrency.max(1)),
                    provenance: Provenance::new(request.elsewhere.clone(), &on_retry),
                    mounts,
                };
                let outcome = tokio::select! {
                    biased;
                    () = runtime::cancelled(request.cancelled) => Err(self.interrupted()),
                    outcome = self.image(&site, &known) => outcome,
                };
                uploader.cancel_all().await;
                outcome
            }
        }
    }

    /// The other repositories of the registry where layers were seen.
    fn mounts<'k>(&self, known: &'k [Vec<KnownBlob>]) -> Vec<&'k str> {
        /// More would make a token request that no service takes.
        const MOST: usize = 8;
        let target = &self.request.reference;
        let mut mounts = Vec::new();
        // where it really goes, repositories have other names
        if self.request.instead.is_some() {
            return mounts;
        }
        for seen in known.iter().flatten().flat_map(|known| &known.seen_in) {
            let is_other =
                seen.registry() == target.registry() && seen.repository() != target.repository();
            if is_other && mounts.len() < MOST && !mounts.contains(&seen.repository()) {
                mounts.push(seen.repository());
            }
        }
        mounts
    }

    /// Layers, then the config, then the manifest: nothing is named before it is there.
    async fn image(
        &self,
        site: &Site<'_, '_, '_>,
        known: &[Vec<KnownBlob>],
    ) -> Result<PushedImage, PushError> {
        let request = self.request;
        let original = request.manifest.as_ref().and_then(|manifest| {
            kept_manifest(self.store, manifest, &request.image_id, &request.layers)
        });
        let brought = self.layers(site, known, original.as_ref()).await?;
        let layers: Vec<_> = brought
            .iter()
            .map(|(_, layer)| layer.blob.clone())
            .collect();
        let config = self.read(&self.request.image_id)?;
        self.config(site, &config).await?;
        let size = config.len() as u64;
        let config = (&self.request.image_id, size);
        let document = manifest::compose(original.as_ref(), self.request.format, config, &layers);
        let document = document.map_err(|source| PushError::Manifest {
            reference: self.reference(),
            source,
        })?;
        let tag = self.request.reference.tag().unwrap_or("latest");
        let put = site.uploader.put_manifest(tag, &document).await;
        put.map_err(|error| self.registry_error(error))?;
        Ok(PushedImage {
            digest: document.digest,
            manifest: document.bytes.to_vec(),
            compressed: brought
                .into_iter()
                .filter(|(_, layer)| layer.is_new)
                .map(|(id, layer)| (id, layer.blob))
                .collect(),
        })
    }

    fn read(&self, digest: &Digest) -> Result<Vec<u8>, PushError> {
        self.store
            .read_blob(digest)
            .map_err(|source| PushError::Store {
                reference: self.reference(),
                source: Box::new(source),
            })
    }

    /// Brings every layer there; a layer that the image has twice is brought once.
    async fn layers(
        &self,
        site: &Site<'_, '_, '_>,
        known: &[Vec<KnownBlob>],
        original: Option<&Manifest>,
    ) -> Result<Vec<(DiffId, Brought)>, PushError> {
        let ids = &self.request.layers;
        self.progress.event(PushEvent::Begun { layers: ids });
        let mut brought: HashMap<usize, Brought> = HashMap::new();
        let firsts = ids
            .iter()
            .enumerate()
            .filter(|(position, id)| ids.iter().position(|other| other == *id) == Some(*position));
        let mut uploads: FuturesUnordered<_> = firsts
            .map(|(position, id)| {
                let known = known.get(position).cloned().unwrap_or_default();
                let own = original.and_then(|manifest| manifest.layers.get(position));
                let blobs = self.choices(known, own);
                async move { Ok((position, self.layer(site, id, &blobs).await?)) }
            })
            .collect();
        while let Some(outcome) = uploads.next().await {
            let (position, layer): (usize, Brought) = outcome?;
            for (other, id) in ids.iter().enumerate() {
                if Some(id) == ids.get(position) {
                    brought.insert(other, layer.clone());
                }
            }
        }
        let all = ids.iter().enumerate();
        let all = all.filter_map(|(position, id)| Some((id.clone(), brought.remove(&position)?)));
        Ok(all.collect())
    }

    /// Which blobs will do for a layer. The one that the image's own manifest says comes first.
    fn choices(&self, mut known: Vec<KnownBlob>, own: Option<&Descriptor>) -> Vec<KnownBlob> {
        if let Some(own) = own {
            let seen = known.iter().filter(|known| known.blob.digest == own.digest);
            let seen_in = seen.flat_map(|known| known.seen_in.clone()).collect();
            known.retain(|known| known.blob.digest != own.digest);
            let blob = own.clone();
            known.insert(0, KnownBlob { blob, seen_in });
        }
        if self.request.format == Some(Format::Docker) {
            // its manifests know no zstd
            known.retain(|known| known.blob.compression() != Some(Compression::Zstd));
        }
        if self.request.reuse == Reuse::SameCompression {
            let compression = Some(self.request.compression.of_layer());
            known.retain(|known| known.blob.compression() == compression);
        }
        known
    }

    async fn config(&self, site: &Site<'_, '_, '_>, config: &[u8]) -> Result<(), PushError> {
        let digest = &self.request.image_id;
        let fail = |error| self.registry_error(error);
        if site.uploader.has(digest).await.map_err(fail)? {
            return Ok(());
        }
        let bytes = bytes::Bytes::copy_from_slice(config);
        site.uploader.put_small(bytes, digest).await.map_err(fail)
    }

    fn reference(&self) -> String {
        self.request.reference.familiar()
    }

    fn interrupted(&self) -> PushError {
        PushError::Interrupted {
            reference: self.reference(),
        }
    }

    fn registry_error(&self, source: RegistryError) -> PushError {
        PushError::Registry {
            reference: self.reference(),
            source: Box::new(source),
        }
    }
}
