//! The documents of an archive, made before anything is written.

use std::collections::BTreeMap;

use oci_client::manifest::{
    IMAGE_LAYER_MEDIA_TYPE, OCI_IMAGE_INDEX_MEDIA_TYPE, OCI_IMAGE_MEDIA_TYPE,
};
use rocker_types::{Algorithm, DiffId, Digest, ImageRef};
use serde::Serialize;

use super::save::{ArchiveFormat, SaveError, SavedImage, SavedName};
use super::{INDEX, MANIFEST, OCI_LAYOUT, REPOSITORIES};
use crate::document::{ANNOTATION_NAME, ANNOTATION_REF, digest_of};
use crate::store::Store;

const CONFIG_MEDIA_TYPE: &str = "application/vnd.oci.image.config.v1+json";

/// Everything that an archive will hold, in its order.
pub(super) struct Plan {
    pub(super) documents: Vec<(String, Vec<u8>)>,
    /// Each once, with the length of its tar.
    pub(super) layers: Vec<(DiffId, u64)>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: &'static str,
    digest: Digest,
    size: u64,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<&'static str, String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OciManifest<'a> {
    schema_version: u32,
    media_type: &'static str,
    config: &'a Descriptor,
    layers: &'a [Descriptor],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OciIndex {
    schema_version: u32,
    media_type: &'static str,
    manifests: Vec<Descriptor>,
}

/// One image of docker's `manifest.json`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct DockerImage {
    config: String,
    /// `null` for an image without a name, as docker writes it.
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
    layer_sources: BTreeMap<String, Descriptor>,
}

/// Where a blob is kept in both layouts.
pub(super) fn blob_path(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm().name(), digest.hex())
}

impl Plan {
    pub(super) fn new(
        store: &Store,
        images: &[SavedImage],
        format: ArchiveFormat,
    ) -> Result<Self, SaveError> {
        let mut plan = Self {
            documents: Vec::new(),
            layers: Vec::new(),
        };
        let (mut manifests, mut docker) = (Vec::new(), Vec::new());
        // docker's old list of names: repository, then tag, then the topmost layer
        let mut repositories = BTreeMap::<String, BTreeMap<String, String>>::new();
        let mut blobs = Vec::new();
        for image in images {
            let layers = plan.add_layers(store, image)?;
            let config = store.read_blob(&image.id)?;
            let manifest = manifest(&image.id, config.len() as u64, &layers)?;
            manifests.extend(described(&manifest, &image.names));
            for name in full_names(image) {
                let tags = repositories.entry(name.familiar_repository()).or_default();
                let top = image.layers.last().map(|layer| layer.hex().to_owned());
                tags.insert(tag(name).to_owned(), top.unwrap_or_default());
            }
            docker.push(docker_image(image, layers));
            let id = digest_of(Algorithm::Sha256, &manifest);
            blobs.push((blob_path(&image.id), config));
            blobs.push((blob_path(&id), manifest));
        }
        let layout = br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec();
        plan.add(OCI_LAYOUT, layout);
        plan.add(INDEX, index(manifests)?);
        if format == ArchiveFormat::Docker {
            plan.add(MANIFEST, json(MANIFEST, &docker)?);
            if !repositories.is_empty() {
                plan.add(REPOSITORIES, json(REPOSITORIES, &repositories)?);
            }
        }
        for (name, bytes) in blobs {
            plan.add(&name, bytes);
        }
        Ok(plan)
    }

    fn add(&mut self, name: &str, bytes: Vec<u8>) {
        if !self.documents.iter().any(|(there, _)| there == name) {
            self.documents.push((name.to_owned(), bytes));
        }
    }

    fn add_layers(
        &mut self,
        store: &Store,
        image: &SavedImage,
    ) -> Result<Vec<Descriptor>, SaveError> {
        let mut described = Vec::with_capacity(image.layers.len());
        for layer in &image.layers {
            let known = self.layers.iter().find(|(there, _)| there == layer);
            let size = match known {
                Some((_, size)) => *size,
                None => {
                    let size = store.tar_bytes(layer).map_err(SaveError::layer(layer))?;
                    self.layers.push((layer.clone(), size));
                    size
                }
            };
            described.push(Descriptor {
                media_type: IMAGE_LAYER_MEDIA_TYPE,
                digest: layer.0.clone(),
                size,
                annotations: BTreeMap::new(),
            });
        }
        Ok(described)
    }
}

fn manifest(id: &Digest, config_bytes: u64, layers: &[Descriptor]) -> Result<Vec<u8>, SaveError> {
    let config = Descriptor {
        media_type: CONFIG_MEDIA_TYPE,
        digest: id.clone(),
        size: config_bytes,
        annotations: BTreeMap::new(),
    };
    let manifest = OciManifest {
        schema_version: 2,
        media_type: OCI_IMAGE_MEDIA_TYPE,
        config: &config,
        layers,
    };
    json("manifest", &manifest)
}

/// One descriptor for each name of an image, or one for an image that has none.
fn described(manifest: &[u8], names: &[SavedName]) -> Vec<Descriptor> {
    let descriptor = |annotations| Descriptor {
        media_type: OCI_IMAGE_MEDIA_TYPE,
        digest: digest_of(Algorithm::Sha256, manifest),
        size: manifest.len() as u64,
        annotations,
    };
    if names.is_empty() {
        return vec![descriptor(BTreeMap::new())];
    }
    let annotations = names.iter().map(|name| {
        let full = name.full.as_ref().map(ImageRef::canonical);
        let full = full.map(|full| (ANNOTATION_NAME, full));
        full.into_iter()
            .chain([(ANNOTATION_REF, name.label.clone())])
            .collect()
    });
    annotations.map(descriptor).collect()
}

fn full_names(image: &SavedImage) -> impl Iterator<Item = &ImageRef> {
    image.names.iter().filter_map(|name| name.full.as_ref())
}

fn docker_image(image: &SavedImage, layers: Vec<Descriptor>) -> DockerImage {
    let names: Vec<_> = full_names(image).map(ImageRef::familiar).collect();
    DockerImage {
        config: blob_path(&image.id),
        repo_tags: (!names.is_empty()).then_some(names),
        layers: layers
            .iter()
            .map(|layer| blob_path(&layer.digest))
            .collect(),
        layer_sources: layers
            .into_iter()
            .map(|layer| (layer.digest.to_string(), layer))
            .collect(),
    }
}

fn index(manifests: Vec<Descriptor>) -> Result<Vec<u8>, SaveError> {
    let index = OciIndex {
        schema_version: 2,
        media_type: OCI_IMAGE_INDEX_MEDIA_TYPE,
        manifests,
    };
    json(INDEX, &index)
}

fn tag(name: &ImageRef) -> &str {
    name.tag().unwrap_or("latest")
}

fn json(what: &'static str, value: &impl Serialize) -> Result<Vec<u8>, SaveError> {
    serde_json::to_vec(value).map_err(|source| SaveError::Document { what, source })
}
