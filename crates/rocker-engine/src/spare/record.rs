//! What a copy says of an image, recorded.

use rocker_db::{DbError, DurableDb, LayerRow, NewImage};
use rocker_types::ImageRef;

use super::SpareImage;

/// Records what a copy says of an image, in one change.
pub(crate) fn record_copy(
    durable: &mut DurableDb,
    spare: &SpareImage,
    config: &str,
) -> Result<(), DbError> {
    let layers = spare.layers.iter().map(|layer| LayerRow {
        diff_id: layer.diff_id.clone(),
        size_bytes: layer.size_bytes,
        blob: layer.blob.clone(),
        disk_bytes: None,
    });
    let layers: Vec<LayerRow> = layers.collect();
    let named = |reference, repo_digest| NewImage {
        id: &spare.id,
        config,
        manifest_digest: spare.manifest_digest.as_ref(),
        layers: &layers,
        reference,
        repo_digest,
        pulled_ns: spare.pulled_ns,
    };
    let names = references(&spare.names);
    let asked = references(&spare.asked_digests);
    let asked_by = |name: &String| asked.iter().find(|asked| asked.familiar() == *name);
    let mut new = vec![named(None, None)];
    new.extend(names.iter().map(|name| named(Some(name), None)));
    let digests = spare.repo_digests.iter();
    new.extend(digests.map(|digest| named(asked_by(digest), Some(digest.as_str()))));
    durable.record_again(&new, &references(&spare.archived_names))
}

/// Those of these names that can be read.
pub(crate) fn references(names: &[String]) -> Vec<ImageRef> {
    names.iter().filter_map(|name| name.parse().ok()).collect()
}
