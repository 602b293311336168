//! Why an image could not be fetched.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use oci_client::errors::OciEnvelope;
use rocker_types::{Diagnose, Digest, ErrorKind};

use crate::document::DocumentError;
use crate::store::{StoreError, UnpackError};

/// Why [`pull`](super::pull) failed. The store is as it was before.
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
    #[error("{registry} refused access to {repository} (status {status}){}", detail(.message))]
    Denied {
        /// The registry.
        registry: String,
        /// The repository.
        repository: String,
        /// 401 or 403.
        status: u16,
        /// Whether we had credentials to show.
        authenticated: bool,
        /// The registry's own words.
        message: Option<String>,
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

/// Whether a failure may pass by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transience {
    /// The same request will fail the same way.
    Permanent,
    /// Another attempt may succeed.
    Passing,
    /// Another attempt may succeed after this time.
    After(Duration),
}

impl RegistryError {
    /// Whether the same request is worth another attempt.
    pub(super) fn transience(&self) -> Transience {
        match self {
            Self::Connect { source, .. } if is_hopeless(source) => Transience::Permanent,
            Self::Connect { .. }
            | Self::Transport { .. }
            | Self::Truncated { .. }
            | Self::Stalled { .. } => Transience::Passing,
            Self::RateLimited {
                retry_after: Some(wait),
                ..
            } => Transience::After(*wait),
            Self::RateLimited {
                retry_after: None, ..
            } => Transience::Passing,
            Self::Status {
                status: 408 | 500 | 502 | 503 | 504,
                ..
            } => Transience::Passing,
            Self::Token { source, .. } => source.transience(),
            Self::BadHost { .. }
            | Self::TlsSetup { .. }
            | Self::TooLong { .. }
            | Self::WrongLength { .. }
            | Self::Header { .. }
            | Self::NotFound { .. }
            | Self::Denied { .. }
            | Self::Status { .. }
            | Self::Redirect { .. }
            | Self::Challenge { .. }
            | Self::Realm { .. }
            | Self::TokenSyntax { .. } => Transience::Permanent,
        }
    }
}

/// What stands behind a failed connection, as far as it can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ConnectCause {
    /// Nobody listens.
    Refused,
    /// The name has no address.
    Name,
    /// The peer's certificate is no good; which way, if it matters.
    Certificate(CertificateProblem),
    /// The peer does not speak TLS.
    NotTls,
    /// TLS failed in another way.
    Tls,
    /// Anything else, a time-out or a reset mostly.
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CertificateProblem {
    Expired,
    UnknownIssuer,
    WrongName,
    Other,
}

impl CertificateProblem {
    fn of(error: &rustls::CertificateError) -> Self {
        use rustls::CertificateError as Bad;
        let expired = matches!(
            error,
            Bad::Expired
                | Bad::ExpiredContext { .. }
                | Bad::NotValidYet
                | Bad::NotValidYetContext { .. }
        );
        if expired {
            Self::Expired
        } else if matches!(error, Bad::UnknownIssuer) {
            Self::UnknownIssuer
        } else if matches!(
            error,
            Bad::NotValidForName | Bad::NotValidForNameContext { .. }
        ) {
            Self::WrongName
        } else {
            Self::Other
        }
    }
}

impl ConnectCause {
    fn of(error: &reqwest::Error) -> Self {
        if error.is_dns() {
            return Self::Name;
        }
        let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
        while let Some(error) = cause {
            if let Some(found) = error.downcast_ref::<io::Error>().and_then(Self::of_io) {
                return found;
            }
            if let Some(error) = error.downcast_ref::<rustls::Error>() {
                return Self::of_tls(error);
            }
            cause = error.source();
        }
        Self::Other
    }

    /// An I/O error hides what it wraps from `source`.
    fn of_io(error: &io::Error) -> Option<Self> {
        if error.kind() == io::ErrorKind::ConnectionRefused {
            return Some(Self::Refused);
        }
        let inner = error.get_ref()?;
        if let Some(error) = inner.downcast_ref::<rustls::Error>() {
            return Some(Self::of_tls(error));
        }
        inner.downcast_ref::<io::Error>().and_then(Self::of_io)
    }

    fn of_tls(error: &rustls::Error) -> Self {
        if let rustls::Error::InvalidCertificate(problem) = error {
            Self::Certificate(CertificateProblem::of(problem))
        } else if matches!(error, rustls::Error::InvalidMessage(_)) {
            Self::NotTls
        } else {
            Self::Tls
        }
    }

    fn hint(self, origin: &str) -> Option<String> {
        let host = origin.split_once("://").map_or(origin, |(_, host)| host);
        let is_secure = origin.starts_with("https://");
        match self {
            Self::Refused if is_secure => Some(format!(
                "nobody listens there; if {host} is a registry without TLS, list it as an insecure registry"
            )),
            Self::Refused => Some("is the registry running?".to_owned()),
            Self::Name => Some("check the spelling of the registry's name and the name server".to_owned()),
            Self::NotTls => Some(format!("{host} does not speak TLS; to use plain HTTP, list it as an insecure registry")),
            Self::Certificate(CertificateProblem::Expired) => {
                Some("the certificate is not valid now; is the clock of this host right?".to_owned())
            }
            Self::Certificate(CertificateProblem::UnknownIssuer) => {
                Some("add the authority that signed the registry's certificate to this host's trusted ones".to_owned())
            }
            Self::Certificate(CertificateProblem::WrongName) => {
                Some("the certificate is for another host; use the name that it was made for".to_owned())
            }
            Self::Certificate(CertificateProblem::Other) | Self::Tls | Self::Other => None,
        }
    }
}

/// Connections that fail the same way each time; a reset or a time-out may pass.
fn is_hopeless(error: &reqwest::Error) -> bool {
    match ConnectCause::of(error) {
        ConnectCause::Refused
        | ConnectCause::Name
        | ConnectCause::Certificate(_)
        | ConnectCause::NotTls
        | ConnectCause::Tls => true,
        ConnectCause::Other => false,
    }
}

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
            Self::Interrupted { .. } | Self::LayerSize { .. } | Self::Start { .. } => None,
        }
    }
}

impl Diagnose for RegistryError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound { .. } => ErrorKind::NotFound,
            Self::Denied { .. } => ErrorKind::Denied,
            Self::BadHost { .. } => ErrorKind::Invalid,
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
            | Self::RateLimited { .. }
            | Self::Status { .. }
            | Self::TokenSyntax { .. } => ErrorKind::Unavailable,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Connect { origin, source } => ConnectCause::of(source).hint(origin),
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
            Self::BadHost { .. }
            | Self::Transport { .. }
            | Self::Truncated { .. }
            | Self::Stalled { .. }
            | Self::TooLong { .. }
            | Self::WrongLength { .. }
            | Self::Header { .. }
            | Self::NotFound { .. }
            | Self::RateLimited { .. }
            | Self::Status { .. }
            | Self::Redirect { .. }
            | Self::Challenge { .. }
            | Self::Realm { .. }
            | Self::TokenSyntax { .. } => None,
        }
    }
}

/// A stranger's text for a message: one line, nothing that a terminal acts on, not long.
pub(super) fn shorten(text: &str) -> String {
    const MAX_CHARS: usize = 200;
    // besides control characters, those that reorder the text around them
    let is_plain = |c: &char| {
        !c.is_control()
            && !matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut plain = text.chars().map(|c| if is_plain(&c) { c } else { ' ' });
    let mut shown: String = plain.by_ref().take(MAX_CHARS).collect();
    if plain.next().is_some() {
        shown.push('…');
    }
    shown
}

/// The registry's own words in an error's body; `None` when there are none of the form that
/// distribution-spec gives them.
pub(super) fn parse_envelope(body: &[u8]) -> Option<String> {
    let envelope: OciEnvelope = serde_json::from_slice(body).ok()?;
    let error = envelope.errors.into_iter().next()?;
    let code = serde_json::to_value(&error.code).ok()?;
    let words = if error.message.trim().is_empty() {
        code.as_str()?
    } else {
        error.message.trim()
    };
    Some(shorten(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registrys_words_are_taken_over_safely() {
        let cases: &[(&str, Option<&str>)] = &[
            (
                r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown","detail":{"Tag":"x"}}]}"#,
                Some("manifest unknown"),
            ),
            (r#"{"errors":[{"code":"DENIED"}]}"#, Some("DENIED")),
            (
                r#"{"errors":[{"code":"CUSTOM","message":"a\u001b[31mb\nc\u202ed"}]}"#,
                Some("a [31mb c d"),
            ),
            (r#"{"errors":[]}"#, None),
            ("<html>", None),
            ("", None),
        ];
        for (body, words) in cases {
            assert_eq!(parse_envelope(body.as_bytes()).as_deref(), *words, "{body}");
        }
        assert_eq!(shorten(&"é".repeat(300)).chars().count(), 201);
    }

    #[test]
    fn only_what_may_pass_is_repeated() {
        let status = |status| {
            RegistryError::Status {
                url: String::new(),
                status,
                message: None,
            }
            .transience()
        };
        for code in [408, 500, 502, 503, 504] {
            assert_eq!(status(code), Transience::Passing, "{code}");
        }
        for code in [204, 301, 400, 405, 416, 418, 501, 505] {
            assert_eq!(status(code), Transience::Permanent, "{code}");
        }
    }
}
