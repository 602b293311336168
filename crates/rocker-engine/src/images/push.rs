//! `push`.

use std::collections::HashMap;

use rocker_db::{ImageRow, NewImage};
use rocker_image::document::{Document, Manifest};
use rocker_image::registry::{
    self, Endpoint, KnownBlob, PushCompression, PushProgress, PushedImage,
};
use rocker_types::{DiffId, Digest, ImageRef};

use crate::EngineError;
use crate::engine::Engine;

/// What to send where.
#[derive(Clone, Debug)]
pub struct PushRequest {
    /// An image's name here, which says where it goes.
    pub reference: ImageRef,
    /// Where that registry is, and how to talk to it.
    pub place: Endpoint,
    /// How layers are compressed whose blobs are nowhere to be had.
    pub compression: PushCompression,
}

/// What came of a push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// The digest of the manifest.
    pub digest: Digest,
    /// The length of the manifest in bytes.
    pub manifest_bytes: u64,
}

/// Whom a push tells and asks.
#[derive(Clone, Copy)]
pub struct PushWatch<'a> {
    /// Gets the events.
    pub progress: &'a dyn PushProgress,
    /// Where a repository that layers came from is; `None` if it shall not be asked.
    pub elsewhere: &'a dyn Fn(&ImageRef) -> Option<Endpoint>,
    /// Asked while the network is waited for.
    pub cancelled: &'a dyn Fn() -> bool,
}

impl std::fmt::Debug for PushWatch<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PushWatch")
    }
}

impl Engine {
    /// Sends the image of a name to the registry that the name says.
    ///
    /// # Errors
    ///
    /// [`EngineError::NoSuchImage`], [`EngineError::Push`]; the name means at the registry
    /// what it meant before.
    pub fn push(
        &mut self,
        request: &PushRequest,
        watch: PushWatch<'_>,
    ) -> Result<Pushed, EngineError> {
        let reference = &request.reference;
        let row = self
            .durable()?
            .image_by_reference(reference)?
            .ok_or_else(|| EngineError::NoSuchImage(reference.familiar()))?;
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
            elsewhere: watch.elsewhere,
            compression: request.compression,
            cancelled: watch.cancelled,
        };
        let pushed = registry::push(self.store()?, &push, watch.progress)
            .map_err(|error| EngineError::Push(Box::new(error)))?;
        self.remember(&row, reference, &pushed)?;
        drop(using);
        self.sweep()?;
        Ok(Pushed {
            manifest_bytes: pushed.manifest.len() as u64,
            digest: pushed.digest,
        })
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
            let Some(manifest) = self.manifest(&row)? else {
                continue;
            };
            let seen_in = row.repo_digests.iter().filter_map(|name| name.parse().ok());
            let seen_in: Vec<ImageRef> = seen_in.collect();
            for (layer, blob) in row.layers.iter().zip(manifest.layers) {
                // a manifest may claim anything of a layer that was here before it
                if !self.store()?.knows_blob(layer, &blob.digest, blob.size) {
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
        Ok(known)
    }

    /// The manifest that an image came with; `None` if there is none that fits.
    fn manifest(&mut self, row: &ImageRow) -> Result<Option<Manifest>, EngineError> {
        let Some(digest) = &row.manifest_digest else {
            return Ok(None);
        };
        // a damaged one is no help, and no reason not to push
        let Ok(bytes) = self.store()?.read_blob(digest) else {
            return Ok(None);
        };
        Ok(match Document::parse(bytes, None, digest.clone()) {
            Ok(Document::Manifest(manifest)) if manifest.layers.len() == row.layers.len() => {
                Some(manifest)
            }
            Ok(Document::Manifest(_) | Document::Index(_)) | Err(_) => None,
        })
    }

    /// Records where the image is now. An image that was made here keeps the manifest, so that
    /// its blobs are known from then on.
    fn remember(
        &mut self,
        row: &ImageRow,
        reference: &ImageRef,
        pushed: &PushedImage,
    ) -> Result<(), EngineError> {
        let is_first = row.manifest_digest.is_none();
        if is_first {
            self.want_sweep()?;
            let store = self.store()?;
            store.write_blob(&pushed.digest, &pushed.manifest)?;
            store.flush()?;
            let manifest = Document::parse(pushed.manifest.clone(), None, pushed.digest.clone());
            if let Ok(Document::Manifest(manifest)) = manifest {
                let blobs = manifest.layers.iter().map(|blob| (&blob.digest, blob.size));
                let blobs = row.layers.iter().zip(blobs);
                store.remember_blobs(blobs.map(|(layer, (digest, size))| (layer, digest, size)))?;
            }
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
