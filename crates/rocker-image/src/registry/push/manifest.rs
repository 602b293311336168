//! The manifest of what was pushed.

use bytes::Bytes;
use rocker_types::{Algorithm, Digest};
use serde_json::{Map, Value, json};

use crate::document::{Compression, Descriptor, Format, Manifest, digest_of};

/// How layers are compressed that have to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PushCompression {
    /// Every registry and every client knows it.
    #[default]
    Gzip,
    /// Smaller and quicker; clients older than 2020 do not know it.
    Zstd,
}

/// Which blobs will do that a layer is known as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reuse {
    /// All that the registry takes.
    #[default]
    Any,
    /// Those that are compressed as new ones would be.
    SameCompression,
}

impl PushCompression {
    /// The same as a layer's media type says it.
    #[must_use]
    pub const fn of_layer(self) -> Compression {
        match self {
            Self::Gzip => Compression::Gzip,
            Self::Zstd => Compression::Zstd,
        }
    }
}

/// A manifest that is ready to be sent.
#[derive(Debug)]
pub(super) struct Composed {
    pub(super) media_type: String,
    pub(super) bytes: Bytes,
    pub(super) digest: Digest,
}

/// The manifest of an image whose layers are these blobs: the original byte for byte if it says
/// that already, else the original with other blobs, in the format that is asked for or else in
/// its own where that is possible; docker's has no zstd.
pub(super) fn compose(
    original: Option<&Manifest>,
    asked: Option<Format>,
    config: (&Digest, u64),
    layers: &[Descriptor],
) -> Result<Composed, serde_json::Error> {
    let own = original.map(|original| Format::of_manifest(&original.media_type));
    // what another format says besides, it says in its own way
    let original = original.filter(|_| asked.is_none() || asked == own);
    if let Some(original) = original.filter(|original| is_same(original, layers)) {
        return Ok(Composed {
            media_type: original.media_type.clone(),
            bytes: Bytes::copy_from_slice(&original.raw),
            digest: original.digest.clone(),
        });
    }
    let has_zstd = layers
        .iter()
        .any(|layer| layer.compression() == Some(Compression::Zstd));
    let format = match asked.or(own) {
        Some(Format::Docker) if !has_zstd => Format::Docker,
        Some(Format::Docker | Format::Oci) | None => Format::Oci,
    };
    let mut document: Map<String, Value> = match original {
        Some(original) => serde_json::from_slice(&original.raw)?,
        None => Map::new(),
    };
    document.insert("schemaVersion".to_owned(), json!(2));
    document.insert("mediaType".to_owned(), json!(format.manifest()));
    let (digest, size) = config;
    let config =
        json!({ "mediaType": format.config(), "digest": digest.to_string(), "size": size });
    document.insert("config".to_owned(), config);
    let before = match document.get("layers") {
        Some(Value::Array(before)) => before.clone(),
        Some(_) | None => Vec::new(),
    };
    let described = layers.iter().enumerate().map(|(position, layer)| {
        let compression = layer.compression().unwrap_or(Compression::Gzip);
        let digest = layer.digest.to_string();
        // what else is said about a blob stays with that blob
        let mut entry = match before.get(position) {
            Some(Value::Object(old)) if old.get("digest") == Some(&json!(digest)) => old.clone(),
            Some(_) | None => Map::new(),
        };
        entry.insert("mediaType".to_owned(), json!(format.layer(compression)));
        entry.insert("digest".to_owned(), json!(digest));
        entry.insert("size".to_owned(), json!(layer.size));
        Value::Object(entry)
    });
    let described = described.collect();
    document.insert("layers".to_owned(), Value::Array(described));
    let bytes = Bytes::from(serde_json::to_vec(&document)?);
    Ok(Composed {
        media_type: format.manifest().to_owned(),
        digest: digest_of(Algorithm::Sha256, &bytes),
        bytes,
    })
}

fn is_same(original: &Manifest, layers: &[Descriptor]) -> bool {
    let pairs = original.layers.iter().zip(layers);
    original.layers.len() == layers.len()
        && pairs
            .into_iter()
            .all(|(old, new)| (&old.digest, old.size) == (&new.digest, new.size))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{Document, DocumentLimits};

    const DOCKER: &str = "application/vnd.docker.distribution.manifest.v2+json";

    fn digest(n: u8) -> Digest {
        Digest::from_sha256([n; 32])
    }

    fn layer(n: u8, compression: Compression) -> Descriptor {
        Descriptor {
            media_type: Format::Oci.layer(compression).to_owned(),
            digest: digest(n),
            size: u64::from(n),
        }
    }

    fn parse(bytes: &[u8], media_type: &str) -> Manifest {
        let digest = digest_of(Algorithm::Sha256, bytes);
        match Document::parse(
            bytes.to_vec(),
            Some(media_type),
            digest,
            &DocumentLimits::default(),
        )
        .unwrap()
        {
            Document::Manifest(manifest) => manifest,
            Document::Index(_) => panic!("an index"),
        }
    }

    fn docker_original() -> Manifest {
        let text = json!({
            "schemaVersion": 2, "mediaType": DOCKER, "x-other": [1],
            "config": {"mediaType": Format::Docker.config(), "digest": digest(9).to_string(), "size": 90},
            "layers": [
                {"mediaType": Format::Docker.layer(Compression::Gzip), "digest": digest(1).to_string(), "size": 1, "annotations": {"a": "b"}},
                {"mediaType": Format::Docker.layer(Compression::Gzip), "digest": digest(2).to_string(), "size": 2},
            ],
        });
        // the spaces make it a text that no serializer writes
        parse(format!("{text:#}  ").as_bytes(), DOCKER)
    }

    #[test]
    fn an_image_that_stays_the_same_keeps_its_manifest() {
        let original = docker_original();
        let layers = original.layers.clone();
        let composed = compose(Some(&original), None, (&digest(9), 90), &layers).unwrap();
        assert_eq!(
            (&composed.bytes[..], &composed.digest),
            (&original.raw[..], &original.digest)
        );
    }

    #[test]
    fn other_blobs_make_another_manifest_of_the_same_format() {
        let original = docker_original();
        let layers = [original.layers[0].clone(), layer(7, Compression::Gzip)];
        let composed = compose(Some(&original), None, (&digest(9), 90), &layers).unwrap();
        let manifest = parse(&composed.bytes, &composed.media_type);
        assert_eq!(manifest.media_type, DOCKER);
        assert_eq!(manifest.layers[1].digest, digest(7));
        assert_eq!(
            manifest.layers[1].media_type,
            Format::Docker.layer(Compression::Gzip)
        );
        let text = String::from_utf8_lossy(&composed.bytes);
        assert!(
            text.contains("x-other") && text.contains("annotations"),
            "{text}"
        );
    }

    #[test]
    fn another_format_is_another_document_about_the_same_blobs() {
        let original = docker_original();
        let layers = original.layers.clone();
        let config = (&digest(9), 90);
        let compose = |format| compose(Some(&original), Some(format), config, &layers).unwrap();
        let same = compose(Format::Docker);
        assert_eq!(same.digest, original.digest);
        let oci = compose(Format::Oci);
        let manifest = parse(&oci.bytes, &oci.media_type);
        assert_eq!(manifest.media_type, Format::Oci.manifest());
        assert_eq!(manifest.config.media_type, Format::Oci.config());
        let digests = |layers: &[Descriptor]| -> Vec<_> {
            layers.iter().map(|layer| layer.digest.clone()).collect()
        };
        assert_eq!(digests(&manifest.layers), digests(&layers));
        assert!(manifest.layers.iter().all(|l| l.media_type.contains("oci")));
        let text = String::from_utf8_lossy(&oci.bytes);
        assert!(
            !text.contains("docker") && !text.contains("x-other"),
            "{text}"
        );
    }

    #[test]
    fn zstd_and_images_of_our_own_are_oci() {
        let original = docker_original();
        let layers = [original.layers[0].clone(), layer(7, Compression::Zstd)];
        for original in [Some(&original), None] {
            let composed = compose(original, None, (&digest(9), 90), &layers).unwrap();
            let manifest = parse(&composed.bytes, &composed.media_type);
            assert_eq!(manifest.media_type, Format::Oci.manifest());
            assert_eq!(manifest.config.media_type, Format::Oci.config());
            let kinds: Vec<_> = manifest
                .layers
                .iter()
                .map(Descriptor::compression)
                .collect();
            assert_eq!(kinds, [Some(Compression::Gzip), Some(Compression::Zstd)]);
            assert!(manifest.layers.iter().all(|l| l.media_type.contains("oci")));
        }
    }
}
