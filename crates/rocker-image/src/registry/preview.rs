//! What a pull would fetch, found out from manifests alone.

use rocker_types::Digest;

use super::look::{ask, of_pull};
use super::resolve::Resolver;
use super::{Endpoint, PullError, PullRequest};
use crate::store::Store;

/// What a reference means at its registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preview {
    /// The digest of the index where there is one, else of the manifest.
    pub digest: Digest,
    /// The digest of the config: the image's ID.
    pub image_id: Digest,
    /// Length of the config in bytes.
    pub config_bytes: u64,
    /// Digest and compressed length in bytes of each layer, base first.
    pub layers: Vec<(Digest, u64)>,
}

/// Finds out what a pull would fetch. Fetches manifests and indexes, no blob, and writes nothing.
///
/// # Errors
///
/// [`PullError`].
pub fn preview(store: &Store, request: &PullRequest<'_>) -> Result<Preview, PullError> {
    let mut places = request.instead.clone();
    if places.is_empty() {
        places.push(Endpoint::of(&request.reference, request.registry.clone()));
    }
    let name = request.reference.familiar();
    let cancelled = request.cancelled;
    let chosen = ask(&name, &places, of_pull, cancelled, async |repository| {
        let resolver = Resolver {
            repository,
            store,
            reference: &request.reference,
            platform: request.platform.as_ref(),
            limits: &request.limits.documents,
        };
        resolver.choose().await
    })?;
    let manifest = chosen.manifest;
    let layers = manifest.layers.into_iter();
    Ok(Preview {
        digest: chosen.index.map_or(manifest.digest, |index| index.digest),
        image_id: manifest.config.digest,
        config_bytes: manifest.config.size,
        layers: layers.map(|layer| (layer.digest, layer.size)).collect(),
    })
}
