//! `push`.

use std::collections::HashMap;

use rocker_db::{ImageRow, NewImage};
use rocker_image::document::{Document, DocumentLimits, Format};
use rocker_image::registry::{
    self, Elsewhere, Endpoint, KnownBlob, PushCompression, PushProgress, PushedImage, Reuse,
};
use rocker_types::{DiffId, Digest, ImageRef};

use crate::EngineError;
use crate::engine::Engine;

/// What to send where.
#[derive(Clone, Debug)]
pub struct PushRequest {
    /// The image, by name or id.
    pub image: String,
    /// The name that it is to have there.
    pub reference: ImageRef,
    /// Where that registry is, and how to talk to it.
    pub place: Endpoint,
    /// How layers are compressed whose blobs are nowhere to be had.
    pub compression: PushCompression,
    /// Which blobs are taken as they are.
    pub reuse: Reuse,
    /// How hard; `None` leaves it to the compressor.
    pub level: Option<u8>,
    /// Which family of documents the registry gets; `None` leaves the image in its own.
    pub format: Option<Format>,
}

/// What came of a push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// The digest of the manifest.
    pub digest: Digest,
    /// The length of the manifest in bytes.
    pub manifest_bytes: u64,
    /// How many layers are there as blobs of another compression than was asked for.
    pub otherwise_compressed: usize,
}

/// Whom a push tells and asks.
#[derive(Clone, Copy)]
pub struct PushWatch<'a> {
    /// Gets the events.
    pub progress: &'a dyn PushProgress,
    /// Where repositories are that layers came from.
    pub elsewhere: &'a Elsewhere,
    /// Asked while the network is waited for.
    pub cancelled: &'a dyn Fn() -> bool,
}

impl std::fmt::Debug for PushWatch<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PushWatch")
    }
}

impl Engine {
    /// Sends an image to the registry that its name there says.
    ///
    /// # Errors
    ///
    /// [`EngineError::NoSuchImage`], [`EngineError::AmbiguousImage`], [`EngineError::Push`]; the
    /// name means at the registry what it meant before.
    pub fn push(
        &mut self,
        request: &PushRequest,
        watch: PushWatch<'_>,
    ) -> Result<Pushed, EngineError> {
        let reference = &request.reference;
        let row = self.image_row(&request.image)?;
        // nobody sweeps the layers away meanwhile
        let using = crate::sweep::using_images(&self.layout)?;
        let known = self.known_blobs(&row)?;
        let place = &request.place;
        let is_elsewhere = (place.registry.as_str(), place.repository.as_str())
            != (reference.registry(), reference.repository());
        let push = registry::PushRequest {
            reference: reference.clone(),
            registry: place.options.clone(),
            instead: is_elsewhere.then(|| place.clone()),
            image_id: row.id.clone(),
            manifest: row.manifest_digest.clone(),
            layers: row.layers.clone(),
            known_blobs: &|layer| known.get(layer).cloned().unwrap_or_default(),
            elsewhere: watch.elsewhere.clone(),
            compression: request.compression,
            reuse: request.reuse,
            level: request.level,
            format: request.format,
            cancelled: watch.cancelled,
        };
        let pushed = registry::push(self.store()?, &push, watch.progress)
            .map_err(|error| EngineError::Push(Box::new(error)))?;
        self.remember(&row, reference, &pushed)?;
        drop(using);
        self.sweep()?;
        let wanted = Some(request.compression.of_layer());
        let (manifest, digest) = (pushed.manifest.clone(), pushed.digest.clone());
        let manifest = Document::parse(manifest, None, digest, &DocumentLimits::LARGEST);
        let layers = match manifest {
            Ok(Document::Manifest(manifest)) => manifest.layers,
            Ok(Document::Index(_)) | Err(_) => Vec::new(),
        };
        Ok(Pushed {
            otherwise_compressed: layers
                .iter()
                .filter(|layer| layer.compression() != wanted)
                .count(),
            manifest_bytes: pushed.manifest.len() as u64,
            digest: pushed.digest,
        })
    }

    /// The names of images here that are tags of a repository, sorted.
    ///
    /// # Errors
    ///
    /// [`EngineError::NoSuchImage`] if there is none.
    pub fn tags_of(&mut self, repository: &str) -> Result<Vec<ImageRef>, EngineError> {
        let tags = self.tagged(repository)?;
        match tags.is_empty() {
            true => Err(EngineError::NoSuchImage(
                repository.chars().take(300).collect(),
            )),
            false => Ok(tags.into_iter().map(|(tag, _)| tag).collect()),
        }
    }

    /// As which blobs, and where, the layers of an image are known: what the manifests of all
    /// images here say.
    fn known_blobs(
        &mut self,
        image: &ImageRow,
    ) -> Result<HashMap<DiffId, Vec<KnownBlob>>, EngineError> {
        let rows = self.durable()?.images()?;
        let mut known: HashMap<DiffId, Vec<KnownBlob>> = HashMap::new();
        for row in rows {
            if !row.layers.iter().any(|layer| image.layers.contains(layer)) {
                continue;
            }
            let Some(manifest) = &row.manifest_digest else {
                continue;
            };
            let store = self.store()?;
            let manifest = registry::kept_manifest(store, manifest, &row.id, &row.layers);
            let Some(manifest) = manifest else {
                continue;
            };
            let seen_in = row.repo_digests.iter().filter_map(|name| name.parse().ok());
            let seen_in: Vec<ImageRef> = seen_in.collect();
            for (layer, blob) in row.layers.iter().zip(manifest.layers) {
                // a manifest may claim anything of a layer that was here before it
                let compression = blob.compression();
                let is_known =
                    self.store()?
                        .knows_blob(layer, &blob.digest, blob.size, compression);
                if !is_known {
                    continue;
                }
                let blobs = known.entry(layer.clone()).or_default();
                match blobs
                    .iter_mut()
                    .find(|known| known.blob.digest == blob.digest)
                {
                    Some(known) => known.seen_in.extend(seen_in.clone()),
                    None => blobs.push(KnownBlob {
                        blob,
                        seen_in: seen_in.clone(),
                    }),
                }
            }
        }
        // what earlier pushes made of them may be where this image went
        let pushed_to: Vec<ImageRef> = image
            .repo_digests
            .iter()
            .filter_map(|name| name.parse().ok())
            .collect();
        for layer in &image.layers {
            let blobs = known.entry(layer.clone()).or_default();
            for blob in self.store()?.blobs_of(layer) {
                if !blobs.iter().any(|known| known.blob.digest == blob.digest) {
                    let seen_in = pushed_to.clone();
                    blobs.push(KnownBlob { blob, seen_in });
                }
            }
        }
        Ok(known)
    }

    /// Records where the image is now, and what its layers were compressed to: they need not be
    /// again. An image that was made here keeps the manifest.
    fn remember(
        &mut self,
        row: &ImageRow,
        reference: &ImageRef,
        pushed: &PushedImage,
    ) -> Result<(), EngineError> {
        let is_first = row.manifest_digest.is_none();
        let made = pushed.compressed.iter().map(|(layer, blob)| (layer, blob));
        self.store()?.remember_blobs(made)?;
        if is_first {
            self.want_sweep()?;
            let store = self.store()?;
            store.write_blob(&pushed.digest, &pushed.manifest)?;
        }
        let layout = self.layout.clone();
        let (live, durable) = self.databases()?;
        let tx = live.begin()?;
        // somebody may have removed it while its bytes travelled
        if durable.image(&row.id.to_string())?.is_some() {
            durable.record_image(&NewImage {
                id: &row.id,
                config: &row.config,
                manifest_digest: is_first.then_some(&pushed.digest),
                layers: &[],
                reference: None,
                repo_digest: Some(&reference.familiar_with_digest(&pushed.digest)),
                pulled_ns: row.pulled_ns,
            })?;
            crate::spare::keep_image(&layout, durable, &row.id);
        }
        drop(tx);
        Ok(())
    }
}
