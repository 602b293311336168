//! What can go wrong in the store.

use std::io;
use std::path::PathBuf;

use rocker_types::{Diagnose, DiffId, Digest, ErrorKind};

use super::kernel::{io_hint, io_kind};
use super::limits::LimitExceeded;

/// Why the store could not do its own work.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The kernel refused an operation on a file of the store.
    #[error("cannot {attempt} {path:?}")]
    Access {
        /// What was tried, as a verb.
        attempt: &'static str,
        /// On what.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The data directory is a symlink, so somebody else could move it.
    #[error("data directory {path:?} is a symbolic link")]
    RootIsSymlink {
        /// The directory.
        path: PathBuf,
    },
    /// The data directory belongs to another user.
    #[error("data directory {path:?} belongs to user {owner}, not to user {us}")]
    RootNotOurs {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Who we are.
        us: u32,
    },
    /// Others could have put files into the data directory.
    #[error("data directory {path:?} is writable by others (mode {mode:04o})")]
    RootWritableByOthers {
        /// The directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The layer is not in the store.
    #[error("layer {layer} is not in the store")]
    NoLayer {
        /// Which layer.
        layer: DiffId,
    },
    /// The layer is there, and what the store wrote down about it is not.
    #[error("the record of layer {layer} is missing")]
    NoRecord {
        /// Which layer.
        layer: DiffId,
    },
    /// The blob is not in the store.
    #[error("blob {blob} is not in the store")]
    NoBlob {
        /// Which blob.
        blob: Digest,
    },
    /// Bytes are not what their digest promises.
    #[error("blob {blob} has other content: its digest is {actual}")]
    BlobTampered {
        /// What was promised.
        blob: Digest,
        /// What is there.
        actual: Digest,
    },
    /// What the store wrote down about a layer cannot be read.
    #[error("record {path:?} is damaged")]
    Record {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A hard link's target is neither in its own layer nor below it.
    #[error(
        "layer {layer} links {path:?} to {target:?}, which neither it nor a layer below it has"
    )]
    LinkTargetMissing {
        /// The layer.
        layer: DiffId,
        /// The link, escaped.
        path: String,
        /// What it should link to, escaped.
        target: String,
    },
    /// What a layer copies from the layers below it is too much.
    #[error("layer {layer} is too large with what it links to")]
    TooLarge {
        /// The layer.
        layer: DiffId,
        /// Which limit.
        source: LimitExceeded,
    },
    /// Another layer may not take the place of a damaged one now.
    #[error("layer {layer} cannot be replaced")]
    Kept {
        /// The layer.
        layer: DiffId,
        /// Why not.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The caller did not want the layers any more.
    #[error("interrupted")]
    Interrupted,
    /// A layer takes something from the layers below it, and is already kept as it came out
    /// on top of other layers. Sharing it would mix two images.
    #[error(
        "layer {layer} depends on the layers below it at {path:?}, and is stored for an image with a different base"
    )]
    OtherBase {
        /// The layer.
        layer: DiffId,
        /// Where the two images differ, escaped.
        path: String,
    },
}

impl StoreError {
    /// Whether what the store wrote down about a layer is missing or damaged.
    pub(super) fn is_of_record(&self) -> bool {
        matches!(self, Self::Record { .. } | Self::NoRecord { .. })
    }

    pub(super) fn access(
        attempt: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Access {
            attempt,
            path,
            source,
        }
    }
}

impl Diagnose for StoreError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Access { source, .. } => io_kind(source),
            Self::RootIsSymlink { .. }
            | Self::RootNotOurs { .. }
            | Self::RootWritableByOthers { .. } => ErrorKind::Denied,
            Self::NoLayer { .. } | Self::NoBlob { .. } => ErrorKind::NotFound,
            Self::BlobTampered { .. } | Self::Record { .. } | Self::NoRecord { .. } => {
                ErrorKind::Tampered
            }
            Self::LinkTargetMissing { .. } | Self::TooLarge { .. } => ErrorKind::Invalid,
            Self::Interrupted => ErrorKind::Interrupted,
            Self::OtherBase { .. } | Self::Kept { .. } => ErrorKind::Conflict,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Access { source, .. } => io_hint(source),
            Self::RootIsSymlink { .. } => Some("name the directory itself with --root".into()),
            Self::RootNotOurs { .. } | Self::RootWritableByOthers { .. } => {
                Some("give rocker a directory of its own: owned by root, mode 0700".into())
            }
            Self::OtherBase { .. } => {
                Some("remove the other image that uses this layer, then pull again".into())
            }
            Self::BlobTampered { .. } => Some("remove the image and pull it again".into()),
            Self::Record { .. } | Self::NoRecord { .. } => {
                Some("run `rocker system check --repair`".into())
            }
            Self::TooLarge { source, .. } => source.hint(),
            Self::NoLayer { .. } | Self::NoBlob { .. } => {
                Some("run `rocker system check --repair`, or pull the image again".into())
            }
            Self::LinkTargetMissing { .. } | Self::Kept { .. } | Self::Interrupted => None,
        }
    }
}
