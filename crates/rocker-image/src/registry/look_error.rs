//! Why a registry could not be looked at.

use rocker_types::{Diagnose, ErrorKind};

use super::{PullError, RegistryError};
use crate::document::DocumentError;

/// Why a registry did not show what it has. The store has nothing to do with it.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    /// It did not give what was asked for.
    #[error("cannot {what}")]
    Registry {
        /// `search quay.io`, `list the tags of app`.
        what: String,
        /// What happened.
        source: Box<RegistryError>,
    },

    /// It gave something else.
    #[error("cannot {what}")]
    Answer {
        /// As above.
        what: String,
        /// What is wrong with it.
        source: Box<DocumentError>,
    },

    /// The caller said so.
    #[error("interrupted: cannot {what}")]
    Interrupted {
        /// As above.
        what: String,
    },

    /// The kernel refused a thread or an epoll instance.
    #[error("cannot start the network client")]
    Start {
        /// What happened.
        source: std::io::Error,
    },
}

impl LookError {
    /// The same without an image that was to be fetched.
    pub(super) fn of(what: String) -> impl FnOnce(PullError) -> Self {
        |error| match error {
            PullError::Registry { source, .. } => Self::Registry { what, source },
            PullError::Document { source, .. } => Self::Answer { what, source },
            PullError::Start { source, .. } => Self::Start { source },
            // no layers are asked for
            PullError::Interrupted { .. }
            | PullError::Layer { .. }
            | PullError::LayerSize { .. }
            | PullError::Store { .. } => Self::Interrupted { what },
        }
    }
}

impl Diagnose for LookError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Registry { source, .. } => source.kind(),
            Self::Answer { source, .. } => source.kind(),
            Self::Interrupted { .. } => ErrorKind::Interrupted,
            Self::Start { .. } => ErrorKind::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Registry { source, .. } => source.hint(),
            Self::Answer { source, .. } => source.hint(),
            Self::Interrupted { .. } | Self::Start { .. } => None,
        }
    }
}
