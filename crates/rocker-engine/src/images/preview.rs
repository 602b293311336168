//! `pull --dry-run`.

use rocker_image::registry;
use rocker_types::{Digest, ImageConfig};

use crate::EngineError;
use crate::engine::Engine;
use crate::images::PullRequest;

/// What a pull would fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullPreview {
    /// What the reference means: digest of the index or of the manifest.
    pub digest: Digest,
    /// The image's id.
    pub id: Digest,
    /// Its layers, base first; one that the image has twice is listed once.
    pub layers: Vec<PreviewedLayer>,
    /// Whether the name means this image here already.
    pub is_here: bool,
}

/// A layer of a [`PullPreview`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreviewedLayer {
    /// The digest of its blob.
    pub digest: Digest,
    /// Compressed size in bytes.
    pub size_bytes: u64,
    /// Whether it need not be fetched.
    pub is_here: bool,
}

impl Engine {
    /// Finds out what [`pull`](Self::pull) would fetch; no blob is, and nothing is written. Of what a
    /// pull left that ended early nothing is known: it is counted as missing.
    ///
    /// # Errors
    ///
    /// [`EngineError::Pull`].
    pub fn preview_pull(
        &mut self,
        request: &PullRequest,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<PullPreview, EngineError> {
        let by_name = self.durable()?.image_by_reference(&request.reference)?;
        let known = self.known_layers()?;
        let pull = registry::PullRequest {
            reference: request.reference.clone(),
            platform: request.platform.clone(),
            registry: registry::RegistryOptions::default(),
            instead: request.places.clone(),
            limits: self.limits,
            known_layers: &|_| None,
            cancelled,
        };
        let store = self.store()?;
        let found = registry::preview(store, &pull);
        let found = found.map_err(|error| EngineError::Pull(Box::new(error)))?;
        // without the config only blobs tell which layers these are
        let config = store.read_blob(&found.image_id).ok();
        let config = config.and_then(|json| serde_json::from_slice::<ImageConfig>(&json).ok());
        let diff_ids = config
            .map(|config| config.rootfs.diff_ids)
            .unwrap_or_default();
        let mut layers: Vec<PreviewedLayer> = Vec::new();
        for (position, (digest, size_bytes)) in found.layers.into_iter().enumerate() {
            let is_known = known.iter().any(|row| {
                row.blob.as_ref().is_some_and(|(blob, _)| *blob == digest)
                    || diff_ids.get(position) == Some(&row.diff_id)
            });
            if !layers.iter().any(|layer| layer.digest == digest) {
                layers.push(PreviewedLayer {
                    digest,
                    size_bytes,
                    is_here: is_known,
                });
            }
        }
        Ok(PullPreview {
            is_here: by_name.is_some_and(|row| row.id == found.image_id),
            digest: found.digest,
            id: found.image_id,
            layers,
        })
    }
}
