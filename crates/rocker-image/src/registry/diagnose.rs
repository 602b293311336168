//! Kinds and hints of the errors of this module.

use rocker_types::{Diagnose, ErrorKind};

use super::cause::ConnectCause;
use super::{PullError, RegistryError};

impl Diagnose for PullError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Interrupted { .. } => ErrorKind::Interrupted,
            Self::Registry { source, .. } => source.kind(),
            Self::Document { source, .. } => source.kind(),
            Self::Layer { source, .. } => source.kind(),
            Self::Store { source, .. } => source.kind(),
            Self::LayerSize { .. } => ErrorKind::Tampered,
            Self::Start { .. } => ErrorKind::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Registry { source, .. } => source.hint(),
            Self::Document { source, .. } => source.hint(),
            Self::Layer { source, .. } => source.hint(),
            Self::Store { source, .. } => source.hint(),
            Self::Interrupted { .. } => Some("pull it again to go on from here".to_owned()),
            Self::LayerSize { .. } | Self::Start { .. } => None,
        }
    }
}

impl Diagnose for RegistryError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound { .. } => ErrorKind::NotFound,
            Self::Denied { .. } => ErrorKind::Denied,
            Self::BadHost { .. } | Self::Proxy { .. } => ErrorKind::Invalid,
            Self::TooLong { .. }
            | Self::WrongLength { .. }
            | Self::Redirect { .. }
            | Self::Realm { .. } => ErrorKind::Tampered,
            Self::Challenge { .. } => ErrorKind::Unsupported,
            Self::Token { source, .. } => source.kind(),
            Self::TlsSetup { .. }
            | Self::Connect { .. }
            | Self::Transport { .. }
            | Self::Truncated { .. }
            | Self::Stalled { .. }
            | Self::Header { .. }
            | Self::Reauthorised { .. }
            | Self::RateLimited { .. }
            | Self::Status { .. }
            | Self::TokenSyntax { .. } => ErrorKind::Unavailable,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Connect { origin, source } => ConnectCause::of(source).hint(origin),
            Self::Denied { authenticated: false, repository, .. } if repository.is_empty() => {
                Some("it may need credentials: log in to the registry first".to_owned())
            }
            Self::Denied { authenticated: false, .. } => {
                Some("the image may not exist, or it needs credentials: log in to the registry first".to_owned())
            }
            Self::Denied { authenticated: true, .. } => {
                Some("the credentials do not allow this; log in to the registry again".to_owned())
            }
            Self::NotFound { what, .. } if what.starts_with("tag ") => {
                Some("check the spelling of the image's name and tag".to_owned())
            }
            Self::RateLimited { authenticated: false, .. } => {
                Some("registries allow more to users who are logged in".to_owned())
            }
            Self::TlsSetup { .. } => Some("install the ca-certificates package, or set SSL_CERT_FILE".to_owned()),
            Self::Token { source, .. } => source.hint(),
            Self::Transport { url, .. } if url.starts_with("http://") => {
                Some("does the registry want https? Plain HTTP is used for loopback and insecure registries".to_owned())
            }
            Self::Status { url, status: 400, .. } if url.starts_with("http://") => {
                Some("if the registry wants https, ask for that with --tls-verify".to_owned())
            }
            Self::BadHost { .. }
            | Self::Proxy { .. }
            | Self::Transport { .. }
            | Self::Truncated { .. }
            | Self::Stalled { .. }
            | Self::TooLong { .. }
            | Self::WrongLength { .. }
            | Self::Header { .. }
            | Self::NotFound { .. }
            | Self::Reauthorised { .. }
            | Self::RateLimited { .. }
            | Self::Status { .. }
            | Self::Redirect { .. }
            | Self::Challenge { .. }
            | Self::Realm { .. }
            | Self::TokenSyntax { .. } => None,
        }
    }
}
