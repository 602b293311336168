//! Why an image document was refused.

use rocker_types::{Diagnose, Digest, ErrorKind, Platform};

use crate::store::LimitExceeded;

/// Why an image document was refused.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// It asks for more than any honest one.
    #[error(transparent)]
    Limit(#[from] LimitExceeded),

    /// The bytes are not those that were promised.
    #[error("{what} has digest {actual}, but {expected} was promised")]
    DigestMismatch {
        /// `manifest`, `config`, …
        what: &'static str,
        /// The digest in the reference or the parent document.
        expected: Digest,
        /// The digest of the bytes that came.
        actual: Digest,
    },

    /// The length is not the one that was promised.
    #[error("{what} has {actual} bytes, but {expected} were promised")]
    SizeMismatch {
        /// `manifest`, `config`, …
        what: &'static str,
        /// The size in the parent document.
        expected: u64,
        /// How many bytes came.
        actual: u64,
    },

    /// Not JSON, nested too deeply, a key twice, or a field of the wrong type.
    #[error("{what} is not valid{}", at(.place))]
    Syntax {
        /// `manifest`, `config`, …
        what: &'static str,
        /// The path of the field, like `config.Cmd`; empty if it is the document as a whole.
        place: String,
        /// Where, and what was expected.
        source: serde_json::Error,
    },

    /// A key that some readers would take for another one.
    #[error("{what} has the key {key:?}, which differs from the specified key in case only")]
    CaseVariant {
        /// `manifest` or `index`.
        what: &'static str,
        /// The key as written.
        key: String,
    },

    /// A field has a value that the specification does not allow.
    #[error("{what}: {field} {problem}")]
    Field {
        /// `manifest`, `config`, …
        what: &'static str,
        /// The path of the field, like `layers[2].size`.
        field: String,
        /// What is wrong with it.
        problem: String,
    },

    /// Both `manifests` and `layers` or `config` (CVE-2021-41190).
    #[error(
        "document has both \"manifests\" and \"{other}\", so it is neither an index nor a manifest"
    )]
    Ambiguous {
        /// The second field.
        other: &'static str,
    },

    /// The document says that it is something else than what announced it.
    #[error("document was announced as {announced}, but says that it is {found}")]
    Contradiction {
        /// From Content-Type or the parent's descriptor.
        announced: String,
        /// From the document.
        found: String,
    },

    /// The registry answered with something that is no image document.
    #[error("{media_type} is not an image manifest or index")]
    UnknownMediaType {
        /// The type as announced.
        media_type: String,
    },

    /// Docker's manifest schema 1.
    #[error(
        "image uses Docker manifest schema 1, which registries stopped serving and rocker does not read"
    )]
    Schema1,

    /// The artifact is not a container image (a Helm chart, a signature, …).
    #[error("not a container image: its config has type {media_type}")]
    NotAnImage {
        /// The config's media type.
        media_type: String,
    },

    /// A layer that must be fetched from elsewhere.
    #[error("layer {index} is a foreign layer ({media_type}), which registries do not hold")]
    ForeignLayer {
        /// Position in the manifest, from 0.
        index: usize,
        /// The layer's media type.
        media_type: String,
    },

    /// The config lists another number of layers than the manifest.
    #[error("config lists {diff_ids} diff_ids, but the manifest has {layers} layers")]
    LayerCount {
        /// Entries of `rootfs.diff_ids`.
        diff_ids: usize,
        /// Layers of the manifest.
        layers: usize,
    },

    /// The index has nothing for the platform.
    #[error("no image for {wanted}; there is {}", list(.present))]
    NoPlatform {
        /// The platform asked for.
        wanted: Platform,
        /// What the index offers.
        present: Vec<Platform>,
    },

    /// The image is for another platform than asked for or announced.
    #[error("image is for {found}, not for {wanted}")]
    WrongPlatform {
        /// The platform asked for or announced by the index.
        wanted: Box<Platform>,
        /// The platform that the config names.
        found: Box<Platform>,
    },

    /// The image is not for Linux.
    #[error("image is for the operating system {os:?}, rocker runs linux images")]
    UnsupportedOs {
        /// What the config says.
        os: String,
    },
}

fn at(place: &str) -> String {
    match place {
        "" => String::new(),
        place => format!(" at {place}"),
    }
}

fn list(platforms: &[Platform]) -> String {
    if platforms.is_empty() {
        return "none".to_owned();
    }
    platforms
        .iter()
        .map(Platform::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}

impl Diagnose for DocumentError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::DigestMismatch { .. } | Self::SizeMismatch { .. } => ErrorKind::Tampered,
            Self::NoPlatform { .. } => ErrorKind::NotFound,
            Self::Schema1
            | Self::NotAnImage { .. }
            | Self::ForeignLayer { .. }
            | Self::WrongPlatform { .. }
            | Self::UnsupportedOs { .. } => ErrorKind::Unsupported,
            Self::Limit(_)
            | Self::Syntax { .. }
            | Self::CaseVariant { .. }
            | Self::Field { .. }
            | Self::Ambiguous { .. }
            | Self::Contradiction { .. }
            | Self::UnknownMediaType { .. }
            | Self::LayerCount { .. } => ErrorKind::Invalid,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Schema1 => {
                Some("push the image again with a current docker, podman or skopeo".to_owned())
            }
            Self::NoPlatform { present, .. } => present
                .first()
                .map(|p| format!("choose one that exists, for example with --platform {p}")),
            Self::WrongPlatform { found, .. } => {
                Some(format!("ask for it with --platform {found}"))
            }
            Self::Limit(source) => source.hint(),
            Self::DigestMismatch { .. }
            | Self::SizeMismatch { .. }
            | Self::Syntax { .. }
            | Self::CaseVariant { .. }
            | Self::Field { .. }
            | Self::Ambiguous { .. }
            | Self::Contradiction { .. }
            | Self::UnknownMediaType { .. }
            | Self::NotAnImage { .. }
            | Self::ForeignLayer { .. }
            | Self::LayerCount { .. }
            | Self::UnsupportedOs { .. } => None,
        }
    }
}
