//! Indexes, and the choice of the image for a platform.

use std::collections::BTreeMap;

use rocker_types::{Digest, ImageRef, Platform};
use serde::Deserialize;

use super::descriptor::RawDescriptor;
use super::json::{Object, Scalar};
use super::{Descriptor, DocumentError, DocumentKind, DocumentLimits};

/// A list of images, one per platform (OCI index, Docker manifest list).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index {
    /// OCI or Docker.
    pub media_type: String,
    /// The entries that are images or indexes; attestations and types unknown to rocker
    /// are left out, as image-spec asks.
    pub entries: Vec<IndexEntry>,
    /// The bytes that `digest` is of.
    pub raw: Vec<u8>,
    /// The digest of `raw`.
    pub digest: Digest,
}

/// One image of an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexEntry {
    /// Where its manifest (or a nested index) is.
    pub descriptor: Descriptor,
    /// What it runs on; indexes may leave it out.
    pub platform: Option<Platform>,
    /// What the image is called, where an index is a list of images and not of platforms: the
    /// full name that containerd and docker write, or else image-spec's if it is more than a
    /// tag.
    pub name: Option<String>,
    /// What image-spec calls it there, whatever that is.
    pub label: Option<String>,
}

/// The name of an image as containerd and docker write it: in full.
pub(crate) const ANNOTATION_NAME: &str = "io.containerd.image.name";
/// The name of an image as image-spec has it: whatever the user likes, often a tag alone.
pub(crate) const ANNOTATION_REF: &str = "org.opencontainers.image.ref.name";

#[derive(Debug, Deserialize)]
pub(super) struct RawEntry {
    #[serde(flatten)]
    descriptor: RawDescriptor,
    platform: Option<Object<RawPlatform>>,
    annotations: Option<BTreeMap<String, Scalar>>,
}

impl RawEntry {
    fn annotation(&self, key: &str) -> Option<String> {
        match self.annotations.as_ref()?.get(key)? {
            Scalar::Text(text) => Some(text.clone()),
            Scalar::Missing | Scalar::Unsigned(_) | Scalar::Other(_) => None,
        }
    }

    fn name(&self) -> Option<String> {
        let annotation = |key| self.annotation(key);
        // the specification lets it be much that is no name of an image
        let is_more_than_a_tag =
            |name: &String| name.contains(['/', ':']) && name.parse::<ImageRef>().is_ok();
        annotation(ANNOTATION_NAME)
            .or_else(|| annotation(ANNOTATION_REF).filter(is_more_than_a_tag))
    }
}

#[derive(Debug, Deserialize)]
struct RawPlatform {
    #[serde(default)]
    os: Scalar,
    #[serde(default)]
    architecture: Scalar,
    #[serde(default)]
    variant: Scalar,
}

impl Index {
    pub(super) fn from_raw(
        entries: Vec<Object<RawEntry>>,
        media_type: String,
        raw: Vec<u8>,
        digest: Digest,
        limits: &DocumentLimits,
    ) -> Result<Self, DocumentError> {
        limits.check_entries(entries.len())?;
        let mut images = Vec::with_capacity(entries.len());
        for (position, Object(entry)) in entries.into_iter().enumerate() {
            let path = format!("manifests[{position}]");
            let name = entry.name();
            let label = entry.annotation(ANNOTATION_REF);
            let descriptor = entry.descriptor.check("index", &path)?;
            let platform = entry
                .platform
                .map(|platform| platform.0.check(&path))
                .transpose()?;
            let is_image = DocumentKind::from_media_type(&descriptor.media_type).is_some();
            if is_image && !platform.as_ref().is_some_and(is_unknown) {
                images.push(IndexEntry {
                    descriptor,
                    platform,
                    name,
                    label,
                });
            }
        }
        Ok(Self {
            media_type,
            entries: images,
            raw,
            digest,
        })
    }

    /// Chooses the entry for `wanted`: the nearest variant that runs on it, else the first
    /// entry that names no platform (a nested index, or an index of one image).
    ///
    /// # Errors
    ///
    /// [`DocumentError::NoPlatform`], with what there is.
    pub fn choose(&self, wanted: &Platform) -> Result<&IndexEntry, DocumentError> {
        nearest(&self.entries, wanted)
    }

    /// The platforms of the entries, each once, in the index's order.
    #[must_use]
    pub fn platforms(&self) -> Vec<Platform> {
        platforms(&self.entries)
    }
}

/// As [`Index::choose`], among some entries.
pub(crate) fn nearest<'a>(
    entries: &'a [IndexEntry],
    wanted: &Platform,
) -> Result<&'a IndexEntry, DocumentError> {
    let nearest = entries.iter().filter_map(|entry| {
        let distance = entry.platform.as_ref()?.distance(wanted)?;
        Some((distance, entry))
    });
    // `min_by_key` keeps the first of equals: image-spec says that the first match wins
    let nearest = nearest
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, entry)| entry);
    let unnamed = || entries.iter().find(|entry| entry.platform.is_none());
    nearest
        .or_else(unnamed)
        .ok_or_else(|| DocumentError::NoPlatform {
            wanted: wanted.clone(),
            present: platforms(entries),
        })
}

fn platforms(entries: &[IndexEntry]) -> Vec<Platform> {
    let mut platforms: Vec<Platform> = Vec::new();
    let all = entries.iter().filter_map(|entry| entry.platform.as_ref());
    for platform in all {
        if !platforms.contains(platform) {
            platforms.push(platform.clone());
        }
    }
    platforms
}

impl RawPlatform {
    fn check(self, path: &str) -> Result<Platform, DocumentError> {
        let word = |name: &str, value: Scalar| match value {
            Scalar::Text(text) => Ok(Some(text)),
            Scalar::Missing | Scalar::Other("null") => Ok(None),
            other @ (Scalar::Unsigned(_) | Scalar::Other(_)) => Err(DocumentError::Field {
                what: "index",
                field: format!("{path}.platform.{name}"),
                problem: format!("must be a string, it is {}", other.describe()),
            }),
        };
        Ok(Platform {
            os: word("os", self.os)?.unwrap_or_default(),
            architecture: word("architecture", self.architecture)?.unwrap_or_default(),
            variant: word("variant", self.variant)?.filter(|variant| !variant.is_empty()),
        })
    }
}

/// BuildKit marks what is no image (provenance, SBOM) with this platform.
fn is_unknown(platform: &Platform) -> bool {
    platform.os == "unknown" || platform.architecture == "unknown"
}
