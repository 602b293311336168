//! What can be wrong with a layer.

use std::io;

use rocker_types::{Diagnose, DiffId, Digest, ErrorKind};

use super::archive::ArchiveError;
use super::kernel::{io_hint, io_kind};
use super::limits::LimitExceeded;
use super::text::printable;
use super::{Compression, StoreError};

/// Why a layer could not be unpacked. Whatever it is, the store is as before.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The compressed bytes stopped coming.
    #[error("cannot read the layer after {bytes} bytes")]
    Read {
        /// Compressed bytes that had arrived.
        bytes: u64,
        /// What the source said.
        source: io::Error,
    },
    /// The blob is longer or shorter than its manifest says.
    #[error("layer {blob} has {actual} bytes, its manifest promised {promised}")]
    BlobSize {
        /// The blob.
        blob: Digest,
        /// Bytes in the manifest.
        promised: u64,
        /// Bytes that came; a lower bound if there are too many.
        actual: u64,
    },
    /// The blob is another than its manifest says.
    #[error("layer {promised} has digest {actual}")]
    BlobDigest {
        /// The manifest's digest.
        promised: Digest,
        /// The digest of what came.
        actual: Digest,
    },
    /// The blob is right but its content is not what the image's config says.
    #[error("layer {blob} unpacks to {actual}, the image config promised {promised}")]
    DiffId {
        /// The blob.
        blob: Digest,
        /// The config's diff id.
        promised: DiffId,
        /// The digest of the uncompressed bytes.
        actual: DiffId,
    },
    /// The bytes are compressed in another way than the media type says.
    #[error("layer is {actual}, its media type says {promised}")]
    Compression {
        /// According to the media type.
        promised: &'static str,
        /// According to the bytes.
        actual: &'static str,
    },
    /// The bytes are compressed in a way that layers never are.
    #[error("archive is compressed with {name}, which layers never are")]
    ForeignCompression {
        /// What compressed it.
        name: &'static str,
    },
    /// The compressed stream is damaged or cut off.
    #[error("cannot decompress the layer as {compression}")]
    Inflate {
        /// How it should be compressed.
        compression: &'static str,
        /// What the decoder said.
        source: io::Error,
    },
    /// The tar archive is malformed or ambiguous.
    #[error("layer is not a usable tar archive")]
    Archive {
        /// What is wrong with it.
        source: ArchiveError,
    },
    /// One entry asks for something that no layer may do.
    #[error("entry {path:?} is refused: {reason}")]
    Entry {
        /// The entry, escaped.
        path: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Too much of something.
    #[error("layer is too large")]
    Limit {
        /// Which limit.
        source: LimitExceeded,
    },
    /// The kernel refused to make a file.
    #[error("cannot {attempt} {path:?} of the layer")]
    Write {
        /// What was tried, as a verb.
        attempt: &'static str,
        /// The entry, escaped.
        path: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// How the layer's archive is made could not be written down.
    #[error("cannot write down how the layer's archive is made")]
    Recipe {
        /// What the kernel said.
        source: io::Error,
    },
    /// The staging directory could not be used.
    #[error("cannot prepare a place to unpack to")]
    Staging {
        /// Why.
        source: StoreError,
    },
    /// A thread could not be started.
    #[error("cannot start a thread to decompress the layer")]
    Thread {
        /// What the kernel said.
        source: io::Error,
    },
}

impl From<ArchiveError> for UnpackError {
    fn from(error: ArchiveError) -> Self {
        match error {
            ArchiveError::Limit(source) => Self::Limit { source },
            ArchiveError::Recipe { source } => Self::Recipe { source },
            source @ (ArchiveError::Read { .. }
            | ArchiveError::Truncated { .. }
            | ArchiveError::Checksum { .. }
            | ArchiveError::Number { .. }
            | ArchiveError::Pax { .. }
            | ArchiveError::Sparse { .. }
            | ArchiveError::Ambiguous { .. }
            | ArchiveError::UnsupportedType { .. }
            | ArchiveError::DanglingExtension
            | ArchiveError::AfterEnd { .. }
            | ArchiveError::Empty
            | ArchiveError::Trailing { .. }) => Self::Archive { source },
        }
    }
}

impl From<LimitExceeded> for UnpackError {
    fn from(source: LimitExceeded) -> Self {
        Self::Limit { source }
    }
}

impl From<StoreError> for UnpackError {
    fn from(source: StoreError) -> Self {
        Self::Staging { source }
    }
}

impl UnpackError {
    pub(super) fn write(
        attempt: &'static str,
        path: &[u8],
    ) -> impl FnOnce(rustix::io::Errno) -> Self {
        move |source| Self::Write {
            attempt,
            path: printable(path),
            source: source.into(),
        }
    }
}

impl UnpackError {
    /// Whether other bytes might have done better: neither the disk nor a thread failed, nor is
    /// there too much of something.
    pub(crate) fn blames_bytes(&self) -> bool {
        !matches!(
            self,
            Self::Write { .. }
                | Self::Recipe { .. }
                | Self::Staging { .. }
                | Self::Thread { .. }
                | Self::Limit { .. }
        )
    }
}

impl Diagnose for UnpackError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Read { source, .. } if source.kind() == io::ErrorKind::Interrupted => {
                ErrorKind::Interrupted
            }
            Self::Read { .. } => ErrorKind::Unavailable,
            Self::BlobSize { .. } | Self::BlobDigest { .. } | Self::DiffId { .. } => {
                ErrorKind::Tampered
            }
            Self::ForeignCompression { .. } => ErrorKind::Unsupported,
            Self::Compression { .. }
            | Self::Inflate { .. }
            | Self::Archive { .. }
            | Self::Entry { .. }
            | Self::Limit { .. } => ErrorKind::Invalid,
            Self::Write { source, .. } | Self::Recipe { source } | Self::Thread { source } => {
                io_kind(source)
            }
            Self::Staging { source } => source.kind(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::BlobSize { .. } | Self::BlobDigest { .. } => Some(
                "the download is damaged or the registry lies; try again, then ask its owner"
                    .into(),
            ),
            Self::ForeignCompression { name } => Some(format!(
                "decompress it first, for example: {name} -dc FILE | rocker import -"
            )),
            Self::Write { source, .. } | Self::Recipe { source } | Self::Thread { source } => {
                io_hint(source)
            }
            Self::Staging { source } => source.hint(),
            Self::Limit { source } => source.hint(),
            Self::Read { .. }
            | Self::DiffId { .. }
            | Self::Compression { .. }
            | Self::Inflate { .. }
            | Self::Archive { .. }
            | Self::Entry { .. } => None,
        }
    }
}

pub(super) fn compression_name(compression: Compression) -> &'static str {
    match compression {
        Compression::None => "a plain tar",
        Compression::Gzip => "gzip",
        Compression::Zstd => "zstd",
    }
}
