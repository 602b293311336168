//! Why the files that know who we are cannot be used.

use std::path::PathBuf;

use rocker_types::{Diagnose, ErrorKind};

use super::HelperError;

/// The largest auth file, in bytes.
pub(super) const MAX_BYTES: u64 = 1 << 20;

/// Why an auth file is of no use. No text of the file is part of it.
#[derive(Debug, thiserror::Error)]
pub enum AuthFileError {
    /// The file cannot be read.
    #[error("cannot read the auth file {path:?}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What happened.
        source: std::io::Error,
    },

    /// The file is larger than any auth file.
    #[error("auth file {path:?} is larger than {MAX_BYTES} bytes")]
    TooLarge {
        /// The file.
        path: PathBuf,
    },

    /// Not the JSON of an auth file.
    #[error("auth file {path:?} is not the JSON of one (line {line}, column {column})")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
    },

    /// An entry whose `auth` is not the base64 of `USER:PASSWORD`.
    #[error("auth file {path:?}: the entry for {key:?} is not base64 of USER:PASSWORD")]
    Entry {
        /// The file.
        path: PathBuf,
        /// The registry.
        key: String,
    },

    /// A credential helper that the file names failed.
    #[error("cannot use the credential helper that {path:?} names")]
    Helper {
        /// The file.
        path: PathBuf,
        /// What happened.
        source: HelperError,
    },

    /// A header of `HttpHeaders` that cannot be sent, or that is ours to choose.
    #[error("auth file {path:?}: HttpHeaders must not set {name:?}")]
    Header {
        /// The file.
        path: PathBuf,
        /// The header.
        name: String,
    },

    /// The file cannot be changed.
    #[error("cannot write the auth file {path:?}")]
    Write {
        /// The file.
        path: PathBuf,
        /// What happened.
        source: std::io::Error,
    },

    /// What is there is not a file whose content could be replaced.
    #[error("cannot keep a login in {path:?}: it is not a regular file")]
    NotAFile {
        /// A device for example.
        path: PathBuf,
    },

    /// Somebody else has been changing the file for long.
    #[error("auth file {path:?} is locked by another process")]
    Locked {
        /// The file.
        path: PathBuf,
    },

    /// What an auth file cannot hold.
    #[error("{problem}")]
    Unfit {
        /// Which part, and why.
        problem: &'static str,
    },
}

impl Diagnose for AuthFileError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Read { .. }
            | Self::TooLarge { .. }
            | Self::Syntax { .. }
            | Self::Entry { .. }
            | Self::Header { .. }
            | Self::NotAFile { .. }
            | Self::Unfit { .. } => ErrorKind::Invalid,
            Self::Helper { source, .. } => source.kind(),
            Self::Locked { .. } => ErrorKind::Conflict,
            Self::Write { .. } => ErrorKind::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Entry { key, .. } => Some(format!("log in to {key} again, or remove the entry")),
            Self::Helper { source, .. } => source.hint(),
            Self::NotAFile { .. } => Some("name another with --authfile".to_owned()),
            Self::Read { .. }
            | Self::TooLarge { .. }
            | Self::Header { .. }
            | Self::Syntax { .. }
            | Self::Write { .. }
            | Self::Locked { .. }
            | Self::Unfit { .. } => None,
        }
    }
}
