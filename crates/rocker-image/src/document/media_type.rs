//! The media types that rocker understands.

use oci_client::manifest as media;
use serde::{Deserialize, Serialize};

/// What a JSON document is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DocumentKind {
    /// A list of manifests, one per platform.
    Index,
    /// One image: a config and layers.
    Manifest,
}

impl DocumentKind {
    /// The word that messages use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Index => "index",
            Self::Manifest => "manifest",
        }
    }

    /// Reads a media type, without parameters; `None` for types that are neither.
    #[must_use]
    pub fn from_media_type(media_type: &str) -> Option<Self> {
        match media_type {
            media::OCI_IMAGE_INDEX_MEDIA_TYPE | media::IMAGE_MANIFEST_LIST_MEDIA_TYPE => {
                Some(Self::Index)
            }
            media::OCI_IMAGE_MEDIA_TYPE | media::IMAGE_MANIFEST_MEDIA_TYPE => Some(Self::Manifest),
            _ => None,
        }
    }
}

/// The two families of media types for one and the same thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// Docker's schema 2.
    Docker,
    /// That of the OCI.
    Oci,
}

impl Format {
    /// The family of a manifest's media type.
    pub(crate) fn of_manifest(media_type: &str) -> Self {
        match media_type {
            media::IMAGE_MANIFEST_MEDIA_TYPE => Self::Docker,
            _ => Self::Oci,
        }
    }

    /// The media type of a manifest.
    pub(crate) const fn manifest(self) -> &'static str {
        match self {
            Self::Docker => media::IMAGE_MANIFEST_MEDIA_TYPE,
            Self::Oci => media::OCI_IMAGE_MEDIA_TYPE,
        }
    }

    /// The media type of a config.
    pub(crate) const fn config(self) -> &'static str {
        match self {
            Self::Docker => media::IMAGE_DOCKER_CONFIG_MEDIA_TYPE,
            Self::Oci => media::IMAGE_CONFIG_MEDIA_TYPE,
        }
    }

    /// The media type of a layer.
    pub(crate) const fn layer(self, compression: Compression) -> &'static str {
        match (self, compression) {
            (Self::Docker, Compression::None) => DOCKER_LAYER_PLAIN,
            (Self::Docker, Compression::Gzip) => media::IMAGE_DOCKER_LAYER_GZIP_MEDIA_TYPE,
            (Self::Docker, Compression::Zstd) => DOCKER_LAYER_ZSTD,
            (Self::Oci, Compression::None) => media::IMAGE_LAYER_MEDIA_TYPE,
            (Self::Oci, Compression::Gzip) => media::IMAGE_LAYER_GZIP_MEDIA_TYPE,
            (Self::Oci, Compression::Zstd) => OCI_LAYER_ZSTD,
        }
    }
}

/// How a layer's tar is packed, as its media type says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// A plain tar.
    None,
    /// gzip, possibly of several members.
    Gzip,
    /// Zstandard.
    Zstd,
}

/// What a layer's media type says about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LayerType {
    /// A layer that the registry holds.
    Distributable(Compression),
    /// A "foreign" layer that must be fetched from elsewhere (Windows base layers).
    Foreign,
}

const OCI_LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
const DOCKER_LAYER_ZSTD: &str = "application/vnd.docker.image.rootfs.diff.tar.zstd";
const DOCKER_LAYER_PLAIN: &str = "application/vnd.docker.image.rootfs.diff.tar";
const OCI_FOREIGN_ZSTD: &str = "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd";
const DOCKER_FOREIGN: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar";
const DOCKER_FOREIGN_GZIP: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
const DOCKER_SCHEMA1: &str = "application/vnd.docker.distribution.manifest.v1+json";
const DOCKER_SCHEMA1_SIGNED: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws";

/// Reads a layer's media type; `None` when rocker does not know it.
pub(super) fn layer_type(media_type: &str) -> Option<LayerType> {
    use LayerType::{Distributable, Foreign};
    match media_type {
        media::IMAGE_LAYER_MEDIA_TYPE | DOCKER_LAYER_PLAIN => {
            Some(Distributable(Compression::None))
        }
        media::IMAGE_LAYER_GZIP_MEDIA_TYPE | media::IMAGE_DOCKER_LAYER_GZIP_MEDIA_TYPE => {
            Some(Distributable(Compression::Gzip))
        }
        OCI_LAYER_ZSTD | DOCKER_LAYER_ZSTD => Some(Distributable(Compression::Zstd)),
        media::IMAGE_LAYER_NONDISTRIBUTABLE_MEDIA_TYPE
        | media::IMAGE_LAYER_NONDISTRIBUTABLE_GZIP_MEDIA_TYPE
        | OCI_FOREIGN_ZSTD
        | DOCKER_FOREIGN
        | DOCKER_FOREIGN_GZIP => Some(Foreign),
        _ => None,
    }
}

/// Whether `media_type` is an image config of OCI or Docker.
pub(super) fn is_config(media_type: &str) -> bool {
    matches!(
        media_type,
        media::IMAGE_CONFIG_MEDIA_TYPE | media::IMAGE_DOCKER_CONFIG_MEDIA_TYPE
    )
}

/// Whether `media_type` is Docker's manifest schema 1, plain or signed.
pub(super) fn is_schema1(media_type: &str) -> bool {
    matches!(media_type, DOCKER_SCHEMA1 | DOCKER_SCHEMA1_SIGNED)
}
