//! Why an image could not be fetched.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use rocker_types::{Diagnose as _, Digest, ErrorKind};

use crate::document::DocumentError;
use crate::store::{StoreError, UnpackError};

/// Why [`pull`](super::pull) failed. The store has at most layers and blobs more
/// that nobody needs.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// The caller said so; see [`PullRequest::cancelled`](super::PullRequest::cancelled).
    #[error("pull of {reference} was interrupted")]
    Interrupted {
        /// The image.
        reference: String,
    },

    /// The registry did not give what was asked for.
    #[error("cannot pull {reference}")]
    Registry {
        /// The image.
        reference: String,
        /// What happened.
        source: Box<RegistryError>,
    },

    /// The registry gave a document that is no good.
    #[error("cannot pull {reference}")]
    Document {
        /// The image.
        reference: String,
        /// What is wrong with it.
        source: Box<DocumentError>,
    },

    /// A layer could not be unpacked, or is not what the manifest promised.
    #[error("cannot unpack layer {digest} of {reference}")]
    Layer {
        /// The image.
        reference: String,
        /// The layer's blob.
        digest: Digest,
        /// What happened.
        source: Box<UnpackError>,
    },

    /// A layer has two lengths.
    #[error("manifest of {reference} gives layer {digest} {claimed} bytes, but it has {actual}")]
    LayerSize {
        /// The image.
        reference: String,
        /// The layer's blob.
        digest: Digest,
        /// The manifest's claim.
        claimed: u64,
        /// The length of the blob when it was fetched before.
        actual: u64,
    },

    /// The store failed.
    #[error("cannot store {reference}")]
    Store {
        /// The image.
        reference: String,
        /// What happened.
        source: Box<StoreError>,
    },

    /// The kernel refused a thread or an epoll instance.
    #[error("cannot start {what} for the pull of {reference}")]
    Start {
        /// The image.
        reference: String,
        /// `network client` or `unpacking thread`.
        what: &'static str,
        /// What happened.
        source: io::Error,
    },
}

impl PullError {
    /// Whether another attempt may end otherwise, so that what came is worth keeping. An image
    /// that is refused for what it is, or that the disk has no room for, is not.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Interrupted { .. } | Self::Start { .. } => true,
            Self::Registry { source, .. } => matches!(
                source.kind(),
                ErrorKind::Unavailable | ErrorKind::Denied | ErrorKind::NotFound
            ),
            Self::Document { .. }
            | Self::Layer { .. }
            | Self::LayerSize { .. }
            | Self::Store { .. } => false,
        }
    }
}

/// Why one request to a registry failed. URLs are shown without their query, which may
/// hold signatures.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The registry's name cannot be part of a URL.
    #[error("{registry:?} is not a host that can be asked")]
    BadHost {
        /// As the reference has it.
        registry: String,
    },

    /// The trust store or the TLS library could not be set up.
    #[error("cannot set up TLS")]
    TlsSetup {
        /// What happened.
        source: Box<dyn StdError + Send + Sync>,
    },

    /// No connection came about: name resolution, TCP, proxy or TLS.
    #[error("cannot connect to {origin}")]
    Connect {
        /// `https://host:port`.
        origin: String,
        /// What happened.
        source: reqwest::Error,
    },

    /// The environment names a proxy that cannot be used. Its value may hold a password.
    #[error("cannot use the proxy of {variable}: {problem}")]
    Proxy {
        /// The variable.
        variable: &'static str,
        /// Why not.
        problem: &'static str,
    },

    /// The connection broke, or the peer does not speak HTTP.
    #[error("connection to {url} broke")]
    Transport {
        /// What was fetched.
        url: String,
        /// What happened.
        source: reqwest::Error,
    },

    /// The body ended too early.
    #[error("{url} ended after {got} of {expected} bytes")]
    Truncated {
        /// What was fetched.
        url: String,
        /// How many bytes came.
        got: u64,
        /// How many should have come.
        expected: u64,
    },

    /// Too little came for too long.
    #[error("{url} made no progress for {} s", .after.as_secs_f32())]
    Stalled {
        /// What was fetched.
        url: String,
        /// How long we waited.
        after: Duration,
    },

    /// A body is longer than it may be.
    #[error("{url} is longer than {limit} bytes")]
    TooLong {
        /// What was fetched.
        url: String,
        /// The limit, or the size that was promised.
        limit: u64,
    },

    /// The registry announces another length than the manifest.
    #[error("{url} has {announced} bytes, but {expected} were promised")]
    WrongLength {
        /// What was fetched.
        url: String,
        /// Content-Length, or the total of Content-Range.
        announced: u64,
        /// The size in the manifest.
        expected: u64,
    },

    /// A header makes no sense.
    #[error("{url} answered with a senseless {header} header: {value:?}")]
    Header {
        /// What was fetched.
        url: String,
        /// The header's name.
        header: &'static str,
        /// The header's value, shortened.
        value: String,
    },

    /// The registry has no such thing.
    #[error("{what} was not found at {registry}{}", detail(.message))]
    NotFound {
        /// `tag 3.99 of library/alpine`, `blob sha256:…`.
        what: String,
        /// The registry.
        registry: String,
        /// The registry's own words.
        message: Option<String>,
    },

    /// The registry refused.
    #[error("{registry} refused access{} (status {status}){}", object(.repository), detail(.message))]
    Denied {
        /// The registry.
        registry: String,
        /// The repository; empty if none was asked about.
        repository: String,
        /// 401 or 403.
        status: u16,
        /// Whether we had credentials to show.
        authenticated: bool,
        /// The registry's own words.
        message: Option<String>,
    },

    /// A request was sent with a token that the registry does not take any more. A new one is
    /// there for the next attempt.
    #[error("{url} wants a new token")]
    Reauthorised {
        /// What was asked for.
        url: String,
    },

    /// The registry wants a break that is too long, or goes on wanting one.
    #[error("{registry} allows no more requests for now (status {status}){}{}", wait(.retry_after), detail(.message))]
    RateLimited {
        /// The registry.
        registry: String,
        /// 429 or 503.
        status: u16,
        /// What `Retry-After` says.
        retry_after: Option<Duration>,
        /// Whether we had credentials to show.
        authenticated: bool,
        /// The registry's own words.
        message: Option<String>,
    },

    /// Any other status.
    #[error("{url} answered with status {status}{}", detail(.message))]
    Status {
        /// What was fetched.
        url: String,
        /// The HTTP status.
        status: u16,
        /// The registry's own words.
        message: Option<String>,
    },

    /// A redirect that must not be followed.
    #[error("{url} redirects to {target}: {problem}")]
    Redirect {
        /// Who redirected.
        url: String,
        /// Where to.
        target: String,
        /// Why not.
        problem: &'static str,
    },

    /// The challenge of a 401 cannot be answered.
    #[error("{registry} wants an authentication that rocker does not know: {challenge:?}")]
    Challenge {
        /// The registry.
        registry: String,
        /// The WWW-Authenticate header, shortened.
        challenge: String,
    },

    /// The token service is none that credentials may go to.
    #[error("{registry} sends us to {realm} for a token: {problem}")]
    Realm {
        /// The registry.
        registry: String,
        /// The token service.
        realm: String,
        /// Why not.
        problem: &'static str,
    },

    /// The token service gave no token.
    #[error("cannot get a token from {realm}")]
    Token {
        /// The token service.
        realm: String,
        /// What happened.
        source: Box<RegistryError>,
    },

    /// The token service's answer is not a token.
    #[error("{realm} answered with something that is not a token")]
    TokenSyntax {
        /// The token service.
        realm: String,
        /// What is wrong with it; `None` when the token itself is missing or malformed.
        source: Option<serde_json::Error>,
    },
}

fn object(repository: &str) -> String {
    match repository {
        "" => String::new(),
        repository => format!(" to {repository}"),
    }
}

/// The registry's own words after a colon.
fn detail(message: &Option<String>) -> String {
    message
        .as_ref()
        .map(|message| format!(": {message}"))
        .unwrap_or_default()
}

fn wait(retry_after: &Option<Duration>) -> String {
    retry_after
        .map(|wait| format!(", try again in {} s", wait.as_secs()))
        .unwrap_or_default()
}
