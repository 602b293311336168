//! Why an archive holds no images, or not those it says.

use std::io;
use std::path::PathBuf;

use rocker_types::{Diagnose, Digest, ErrorKind, InvalidReference};

use crate::document::DocumentError;
use crate::policy::PolicyError;
use crate::store::{ArchiveError, LimitExceeded, StoreError, UnpackError, io_hint, io_kind};

/// Why images could not be loaded. The store has at most layers more that nobody needs.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The archive could not be read.
    #[error("cannot read the archive")]
    Read {
        /// What the source said.
        source: io::Error,
    },
    /// The compressed stream is damaged or cut off.
    #[error("cannot decompress the archive as {compression}")]
    Inflate {
        /// How it is compressed.
        compression: &'static str,
        /// What the decoder said.
        source: io::Error,
    },
    /// The archive could not be kept while its images are taken out.
    #[error("cannot keep the archive in the data directory")]
    Spool {
        /// What the kernel said.
        source: io::Error,
    },
    /// It is no archive.
    #[error("it is no usable tar archive")]
    Archive {
        /// What is wrong with it.
        source: ArchiveError,
    },
    /// Too much of something.
    #[error("the archive is too large")]
    Limit(#[from] LimitExceeded),
    /// An archive of something else.
    #[error("the archive has neither manifest.json nor index.json, so it holds no images")]
    NotImages,
    /// A list without images.
    #[error("{list} names no image")]
    Empty {
        /// Which list.
        list: &'static str,
    },
    /// No image of that name.
    #[error("no image there is called {name:?}")]
    NoSuchName {
        /// What was asked for, escaped.
        name: String,
        /// What there is, escaped.
        there: Vec<String>,
    },
    /// Several images of that name.
    #[error("{name:?} there means both {} and {}", digests[0], digests[1])]
    AmbiguousName {
        /// What was asked for, escaped.
        name: String,
        /// What two of them are listed by.
        digests: [Digest; 2],
    },
    /// The directory cannot be used.
    #[error("cannot open {path:?}")]
    Open {
        /// Which one.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// Two files of one name, of which programs may take either.
    #[error("the archive has {name:?} twice")]
    Twice {
        /// The name, escaped.
        name: String,
    },
    /// A file that is named and not there.
    #[error("{name:?} is not in the archive, though {by} names it")]
    Missing {
        /// The file, escaped.
        name: String,
        /// Who names it.
        by: &'static str,
    },
    /// What skopeo's `dir:` writes, which has a file of the same name for another purpose.
    #[error("{list} is a manifest and no list of images")]
    ManifestAlone {
        /// Which file.
        list: &'static str,
    },
    /// A list cannot be read.
    #[error("{what} is malformed")]
    Syntax {
        /// Which list.
        what: &'static str,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A document is not what it should be.
    #[error("{name:?} cannot be used")]
    Document {
        /// The file, escaped.
        name: String,
        /// What is wrong with it.
        source: Box<DocumentError>,
    },
    /// A name that no image can have.
    #[error("the archive gives an image the name {name:?}")]
    Name {
        /// The name, escaped.
        name: String,
        /// What is wrong with it.
        source: InvalidReference,
    },
    /// A layer is not what the config promised, or could not be unpacked.
    #[error("cannot load layer {name:?}")]
    Layer {
        /// The file, escaped.
        name: String,
        /// Why.
        source: Box<UnpackError>,
    },
    /// The config is another than its name says.
    #[error("{name:?} has digest {actual}")]
    ConfigDigest {
        /// The file, escaped.
        name: String,
        /// The digest of its content.
        actual: Digest,
    },
    /// The caller does not want it any more.
    #[error("interrupted")]
    Cancelled,
    /// The user's policy does not let it in.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The store could not take the image.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<ArchiveError> for LoadError {
    fn from(source: ArchiveError) -> Self {
        Self::Archive { source }
    }
}

impl Diagnose for LoadError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Read { source } | Self::Spool { source } | Self::Open { source, .. } => {
                io_kind(source)
            }
            Self::NoSuchName { .. } => ErrorKind::NotFound,
            Self::Inflate { .. }
            | Self::Archive { .. }
            | Self::Limit(_)
            | Self::NotImages
            | Self::Empty { .. }
            | Self::AmbiguousName { .. }
            | Self::ManifestAlone { .. }
            | Self::Twice { .. }
            | Self::Missing { .. }
            | Self::Syntax { .. }
            | Self::Name { .. } => ErrorKind::Invalid,
            Self::Cancelled => ErrorKind::Interrupted,
            Self::Document { source, .. } => source.kind(),
            Self::Layer { source, .. } => source.kind(),
            Self::ConfigDigest { .. } => ErrorKind::Tampered,
            Self::Policy(error) => error.kind(),
            Self::Store(error) => error.kind(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NotImages => {
                Some("if it is a root file system, use `rocker import` instead".to_owned())
            }
            Self::NoSuchName { there, .. } if !there.is_empty() => {
                Some(format!("there is {}", there.join(", ")))
            }
            Self::AmbiguousName { .. } => {
                Some("`rocker load` takes all images that are there".to_owned())
            }
            Self::Spool { source } => io_hint(source),
            Self::ManifestAlone { .. } => Some(
                "if skopeo wrote it as dir:DIR, make a layout of it: skopeo copy dir:DIR oci:LAYOUT"
                    .to_owned(),
            ),
            Self::Limit(limit) => limit.hint(),
            Self::Document { source, .. } => source.hint(),
            Self::Layer { source, .. } => source.hint(),
            Self::Policy(error) => error.hint(),
            Self::Store(error) => error.hint(),
            Self::Read { .. }
            | Self::Inflate { .. }
            | Self::Archive { .. }
            | Self::Cancelled
            | Self::NoSuchName { .. }
            | Self::Empty { .. }
            | Self::Open { .. }
            | Self::Twice { .. }
            | Self::Missing { .. }
            | Self::Syntax { .. }
            | Self::Name { .. }
            | Self::ConfigDigest { .. } => None,
        }
    }
}
