//! Why an image could not be pushed.

use std::io;

use rocker_types::{Diagnose, DiffId, ErrorKind};

use crate::registry::RegistryError;
use crate::store::{StoreError, TarError};

/// Why [`push`](super::push) failed. The tag means what it meant before.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// The caller said so; see [`PushRequest::cancelled`](super::PushRequest::cancelled).
    #[error("push of {reference} was interrupted")]
    Interrupted {
        /// The image.
        reference: String,
    },

    /// The registry did not take what it was given.
    #[error("cannot push {reference}")]
    Registry {
        /// The image.
        reference: String,
        /// What happened.
        source: Box<RegistryError>,
    },

    /// The tar of a layer could not be written.
    #[error("cannot push layer {layer} of {reference}")]
    Layer {
        /// The image.
        reference: String,
        /// The layer.
        layer: DiffId,
        /// What happened.
        source: Box<TarError>,
    },

    /// The compressor failed.
    #[error("cannot compress layer {layer} of {reference}")]
    Compress {
        /// The image.
        reference: String,
        /// The layer.
        layer: DiffId,
        /// What happened.
        source: io::Error,
    },

    /// A document of the image is not in the store.
    #[error("cannot read {reference} from the store")]
    Store {
        /// The image.
        reference: String,
        /// What happened.
        source: Box<StoreError>,
    },

    /// No manifest can be made of the image's.
    #[error("cannot write a manifest for {reference}")]
    Manifest {
        /// The image.
        reference: String,
        /// What happened.
        source: serde_json::Error,
    },

    /// The kernel refused a thread or an epoll instance.
    #[error("cannot start {what} for the push of {reference}")]
    Start {
        /// The image.
        reference: String,
        /// `network client` or `compressing thread`.
        what: &'static str,
        /// What happened.
        source: io::Error,
    },
}

impl Diagnose for PushError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Interrupted { .. } => ErrorKind::Interrupted,
            Self::Registry { source, .. } => source.kind(),
            Self::Layer { source, .. } => source.kind(),
            Self::Store { source, .. } => source.kind(),
            Self::Compress { .. } | Self::Manifest { .. } | Self::Start { .. } => {
                ErrorKind::Internal
            }
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Registry { source, .. } => refusal(source).or_else(|| source.hint()),
            Self::Layer { source, .. } => source.hint(),
            Self::Store { source, .. } => source.hint(),
            Self::Interrupted { .. }
            | Self::Compress { .. }
            | Self::Manifest { .. }
            | Self::Start { .. } => None,
        }
    }
}

/// What to do about a registry that lets nobody push whom it does not know.
fn refusal(error: &RegistryError) -> Option<String> {
    let RegistryError::Denied {
        registry,
        authenticated: false,
        ..
    } = error
    else {
        return None;
    };
    Some(format!(
        "log in with `rocker login {registry}`, as a user who may push there"
    ))
}
