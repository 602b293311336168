//! Which images an archive has, by its documents.

use std::io::Read;

use rocker_types::{Algorithm, DiffId, Digest, ImageConfig, ImageRef, Platform};
use serde::Deserialize;

use super::files::Files;
use super::layout::layout_images;
use super::load_error::LoadError;
use super::{INDEX, MANIFEST};
use crate::document::{DocumentError, DocumentLimits, digest_of, parse_bare_config};
use crate::store::{ExpectedLayer, LimitExceeded, UnpackLimits, printable};

/// An image as an archive describes it; its layers are not read yet.
pub(super) struct ArchivedImage {
    pub(super) id: Digest,
    /// What the archive lists it by: its manifest's digest, or its config's in docker's archives.
    pub(super) listed_as: Digest,
    pub(super) config: Vec<u8>,
    pub(super) names: Vec<ImageRef>,
    /// What else it is called there, which may be no name of an image, and which name that
    /// stands for.
    pub(super) labels: Vec<(String, Option<ImageRef>)>,
    pub(super) layers: Vec<ArchivedLayer>,
}

impl ArchivedImage {
    /// One more entry of the index is about it.
    pub(super) fn call(&mut self, name: Option<ImageRef>, label: Option<String>) {
        self.labels.extend(label.map(|label| (label, name.clone())));
        self.names.extend(name);
    }
}

pub(super) struct ArchivedLayer {
    /// The file that has it.
    pub(super) name: String,
    pub(super) diff_id: DiffId,
    /// What a manifest promises of the file.
    pub(super) blob: Option<ExpectedLayer>,
}

/// One image of docker's `manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerImage {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

/// Lists the images. Where both lists are, docker's counts, as it does for docker and podman.
pub(super) fn images(
    files: &Files,
    platform: Option<&Platform>,
    limits: &UnpackLimits,
) -> Result<Vec<ArchivedImage>, LoadError> {
    if let Some(list) = read(files, MANIFEST, Part::Manifest, &limits.documents)? {
        return docker_images(files, &list, platform, limits);
    }
    match read(files, INDEX, Part::Manifest, &limits.documents)? {
        Some(index) => layout_images(files, index, platform, limits),
        None => Err(LoadError::NotImages),
    }
}

/// What a file of an archive is to be.
#[derive(Clone, Copy, Debug)]
pub(super) enum Part {
    /// A manifest, an index, or docker's list.
    Manifest,
    Config,
}

/// Reads a document; `None` if it is not there.
pub(super) fn read(
    files: &Files,
    name: &str,
    part: Part,
    limits: &DocumentLimits,
) -> Result<Option<Vec<u8>>, LoadError> {
    let Some(member) = files.open(name)? else {
        return Ok(None);
    };
    let (within, limit) = match part {
        Part::Manifest => (limits.check_manifest(member.size()), limits.manifest_bytes),
        Part::Config => (limits.check_config(member.size()), limits.config_bytes),
    };
    within.map_err(document(name))?;
    let mut bytes = Vec::new();
    let read = member.take(limit).read_to_end(&mut bytes);
    read.map_err(|source| LoadError::Read { source })?;
    Ok(Some(bytes))
}

/// Puts the file's name to an error.
pub(super) fn document(name: &str) -> impl Fn(DocumentError) -> LoadError {
    move |source| LoadError::Document {
        name: printable(name.as_bytes()),
        source: Box::new(source),
    }
}

/// Parses a name that an image has in the archive. A digest in it is left out, and a name that
/// is nothing else is none: what digest an image has is not for the archive to say.
pub(super) fn parse_name(name: &str) -> Result<Option<ImageRef>, LoadError> {
    let (name, is_exact) = match name.split_once('@') {
        Some((before, _)) => (before, true),
        None => (name, false),
    };
    let parsed: ImageRef = name.parse().map_err(|source| LoadError::Name {
        name: printable(name.as_bytes()),
        source,
    })?;
    Ok((!is_exact || !ImageRef::is_bare(name)).then_some(parsed))
}

fn docker_images(
    files: &Files,
    list: &[u8],
    platform: Option<&Platform>,
    limits: &UnpackLimits,
) -> Result<Vec<ArchivedImage>, LoadError> {
    let what = MANIFEST;
    if list.trim_ascii_start().starts_with(b"{") {
        return Err(LoadError::ManifestAlone { list: what });
    }
    let list: Vec<DockerImage> =
        serde_json::from_slice(list).map_err(|source| LoadError::Syntax { what, source })?;
    if list.is_empty() {
        return Err(LoadError::Empty { list: MANIFEST });
    }
    let within = limits.documents.check_images(list.len());
    within.map_err(document(MANIFEST))?;
    let mut budget = ConfigBudget::new(limits);
    let read = |image| {
        let image = docker_image(files, image, platform, &limits.documents)?;
        budget.take(&image)?;
        Ok(image)
    };
    list.into_iter().map(read).collect()
}

/// All configs are held at once, and an archive may name one of them a thousand times.
pub(super) struct ConfigBudget {
    taken: usize,
    allowed: usize,
}

impl ConfigBudget {
    pub(super) fn new(limits: &UnpackLimits) -> Self {
        Self {
            taken: 0,
            allowed: limits.index_bytes,
        }
    }

    pub(super) fn take(&mut self, image: &ArchivedImage) -> Result<(), LoadError> {
        let allowed = self.allowed;
        self.taken += image.config.len();
        if self.taken <= allowed {
            return Ok(());
        }
        Err(LoadError::Limit(LimitExceeded {
            limit: "index_bytes",
            allowed: allowed as u64,
            object: "the memory for the configs in the archive".to_owned(),
        }))
    }
}

fn docker_image(
    files: &Files,
    image: DockerImage,
    platform: Option<&Platform>,
    limits: &DocumentLimits,
) -> Result<ArchivedImage, LoadError> {
    let name = image.config.as_str();
    let config = read(files, name, Part::Config, limits)?;
    let config = config.ok_or_else(|| LoadError::Missing {
        name: printable(name.as_bytes()),
        by: MANIFEST,
    })?;
    let id = digest_of(Algorithm::Sha256, &config);
    // `<id>.json` in old archives, `blobs/sha256/<id>` in new ones
    let stem = name.rsplit('/').next().unwrap_or(name);
    let stem = stem.strip_suffix(".json").unwrap_or(stem);
    let promised = format!("sha256:{stem}").parse::<Digest>().ok();
    if promised.is_some_and(|promised| promised != id) {
        return Err(LoadError::ConfigDigest {
            name: printable(name.as_bytes()),
            actual: id,
        });
    }
    let layers = image.layers.unwrap_or_default();
    let parsed = parse_docker_config(&config, layers.len(), platform, limits);
    let parsed = parsed.map_err(document(name))?;
    let diff_ids = parsed.rootfs.diff_ids.into_iter();
    let layers = layers.into_iter().zip(diff_ids);
    let layers = layers.map(|(name, diff_id)| ArchivedLayer {
        name,
        diff_id,
        blob: None,
    });
    let names = image.repo_tags.unwrap_or_default();
    Ok(ArchivedImage {
        listed_as: id.clone(),
        id,
        layers: layers.collect(),
        labels: Vec::new(),
        names: names
            .iter()
            .filter_map(|name| parse_name(name).transpose())
            .collect::<Result<_, _>>()?,
        config,
    })
}

fn parse_docker_config(
    config: &[u8],
    layers: usize,
    platform: Option<&Platform>,
    limits: &DocumentLimits,
) -> Result<ImageConfig, DocumentError> {
    if layers == 0 {
        return Err(DocumentError::Field {
            what: MANIFEST,
            field: "Layers".to_owned(),
            problem: "is empty".to_owned(),
        });
    }
    limits.check_layers(layers)?;
    parse_bare_config(config, layers, platform, limits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_in_a_name_is_left_out() {
        let digest = format!("sha256:{}", "0".repeat(64));
        let cases = [
            ("app:1".to_owned(), Some("app:1")),
            ("app".to_owned(), Some("app:latest")),
            (format!("app:1@{digest}"), Some("app:1")),
            (format!("localhost:5000/app@{digest}"), None),
            (
                format!("localhost:5000/app:2@{digest}"),
                Some("localhost:5000/app:2"),
            ),
        ];
        for (text, expected) in cases {
            let name = parse_name(&text).unwrap().map(|name| name.familiar());
            assert_eq!(name.as_deref(), expected, "{text}");
        }
        assert!(parse_name("UPPER").is_err());
    }
}
