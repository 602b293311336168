//! What stands behind a failure, and whether it may pass by itself.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use super::RegistryError;

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
            | Self::Stalled { .. }
            | Self::Reauthorised { .. } => Transience::Passing,
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
            | Self::Proxy { .. }
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
pub(super) enum ConnectCause {
    /// Nobody listens.
    Refused,
    /// The name has no address.
    Name,
    /// The peer's certificate is no good; which way, if it matters.
    Certificate(CertificateProblem),
    /// A proxy leads nowhere.
    Proxy,
    /// The peer does not speak TLS.
    NotTls,
    /// TLS failed in another way.
    Tls,
    /// Anything else, a time-out or a reset mostly.
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CertificateProblem {
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
    pub(super) fn of(error: &reqwest::Error) -> Self {
        if error.is_dns() {
            return Self::Name;
        }
        let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
        while let Some(error) = cause {
            // its type is hidden from us
            if error.to_string().starts_with("tunnel error") {
                return Self::Proxy;
            }
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

    pub(super) fn hint(self, origin: &str) -> Option<String> {
        let host = origin.split_once("://").map_or(origin, |(_, host)| host);
        let is_secure = origin.starts_with("https://");
        match self {
            Self::Refused if is_secure => Some(format!(
                "nobody listens there; if {host} is a registry without TLS, list it as an insecure registry"
            )),
            Self::Refused => Some("is the registry running?".to_owned()),
            Self::Proxy => Some(format!(
                "the proxy that HTTPS_PROXY or ALL_PROXY names does not lead to {host}; NO_PROXY lists what needs none"
            )),
            Self::Name => Some("check the spelling of the registry's name and the name server".to_owned()),
            Self::NotTls => Some(format!("{host} does not speak TLS; to use plain HTTP, list it as an insecure registry")),
            Self::Certificate(CertificateProblem::Expired) => {
                Some("the certificate is not valid now; is the clock of this host right?".to_owned())
            }
            Self::Certificate(CertificateProblem::UnknownIssuer) => {
                Some("add the authority that signed the registry's certificate to this host's trusted ones, or for this registry alone to /etc/containers/certs.d/HOST[:PORT]/ca.crt".to_owned())
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
        | ConnectCause::Proxy
        | ConnectCause::NotTls
        | ConnectCause::Tls => true,
        ConnectCause::Other => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
