//! JSON from registries and archives.

use rocker_image::document::{Document, DocumentLimits, digest_of, parse_bare_config};
use rocker_types::{Algorithm, Platform};
use serde_json::Value;

const ANNOUNCED: [Option<&str>; 5] = [
    None,
    Some("application/vnd.oci.image.manifest.v1+json"),
    Some("application/vnd.oci.image.index.v1+json"),
    Some("application/vnd.docker.distribution.manifest.v2+json"),
    Some("application/vnd.docker.distribution.manifest.list.v2+json"),
];

/// A manifest or an index: a byte that chooses who announces it, then the document. What is
/// taken says to a plain JSON reader what it says to rocker.
pub fn document(data: &[u8]) {
    let Some((first, raw)) = data.split_first() else {
        return;
    };
    let announced = ANNOUNCED[usize::from(*first) % ANNOUNCED.len()];
    let digest = digest_of(Algorithm::Sha256, raw);
    let Ok(document) = Document::parse(raw.to_vec(), announced, digest, &DocumentLimits::default())
    else {
        return;
    };
    let plain: Value = serde_json::from_slice(raw).expect("what rocker reads is JSON");
    match document {
        Document::Index(index) => {
            assert!(plain.get("layers").is_none() && plain.get("config").is_none());
            let entries = plain["manifests"].as_array().map_or(0, Vec::len);
            assert!(index.entries.len() <= entries);
            // what it offers is of no interest, that it decides is
            drop(
                index
                    .choose(&Platform::host())
                    .map(|entry| entry.descriptor.size),
            );
        }
        Document::Manifest(manifest) => {
            assert!(plain.get("manifests").is_none());
            let layers = plain["layers"].as_array().expect("layers are an array");
            assert_eq!(layers.len(), manifest.layers.len());
            for (plain, layer) in layers.iter().zip(&manifest.layers) {
                assert_eq!(
                    plain["digest"].as_str(),
                    Some(layer.digest.to_string().as_str())
                );
                assert_eq!(plain["size"].as_u64(), Some(layer.size));
            }
            let id = manifest.config.digest.to_string();
            assert_eq!(plain["config"]["digest"].as_str(), Some(id.as_str()));
        }
    }
}

/// An image config: a byte for the number of layers that its manifest has, then the document.
pub fn config(data: &[u8]) {
    let Some((first, raw)) = data.split_first() else {
        return;
    };
    let layers = usize::from(*first % 4);
    let Ok(config) = parse_bare_config(raw, layers, None, &DocumentLimits::default()) else {
        return;
    };
    assert_eq!(config.rootfs.diff_ids.len(), layers);
    assert_eq!(config.os, "linux");
    let plain: Value = serde_json::from_slice(raw).expect("what rocker reads is JSON");
    for (plain, layer) in plain["rootfs"]["diff_ids"]
        .as_array()
        .into_iter()
        .flatten()
        .zip(&config.rootfs.diff_ids)
    {
        assert_eq!(plain.as_str(), Some(layer.0.to_string().as_str()));
    }
    // what the database keeps must come back as it was
    let kept = serde_json::to_vec(&config).expect("a config can be written");
    let again = serde_json::from_slice(&kept).expect("a config that was written can be read");
    assert_eq!(config, again);
}
