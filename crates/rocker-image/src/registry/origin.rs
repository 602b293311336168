//! Where a registry is, and which hosts plain HTTP may go to.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use reqwest::Url;

use super::{RegistryError, TlsPolicy};

/// Scheme, host and port: what a credential belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) secure: bool,
    pub(super) host: String,
    pub(super) port: u16,
}

impl Origin {
    /// The origin of `url`; `None` for anything but http and https.
    pub(super) fn of(url: &Url) -> Option<Self> {
        let secure = match url.scheme() {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        Some(Self {
            secure,
            host: host_of(url)?,
            port: url.port_or_known_default()?,
        })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "https" } else { "http" };
        let host = if self.host.contains(':') {
            format!("[{}]", self.host)
        } else {
            self.host.clone()
        };
        write!(f, "{scheme}://{host}:{}", self.port)
    }
}

/// The host in lower case, without the brackets of IPv6.
fn host_of(url: &Url) -> Option<String> {
    let host = url.host_str()?;
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    Some(bare.trim_end_matches('.').to_ascii_lowercase())
}

/// How far away a host is, as far as its name tells. Names are not resolved here: what a
/// name resolves to is the business of whoever runs that name's zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// This machine.
    Loopback,
    /// An address that no server should send anybody to: link-local (cloud metadata
    /// services), unspecified, multicast, broadcast.
    Special,
    /// A private network's address, or a name without a dot.
    Private,
    /// Everything else.
    Public,
}

impl Reach {
    pub(super) fn of(host: &str) -> Self {
        match host.parse::<IpAddr>().map(|address| address.to_canonical()) {
            Ok(IpAddr::V4(v4)) => Self::of_v4(v4),
            Ok(IpAddr::V6(v6)) => Self::of_v6(v6),
            Err(_) if host == "localhost" || host.ends_with(".localhost") => Self::Loopback,
            Err(_) if host.contains('.') => Self::Public,
            Err(_) => Self::Private,
        }
    }

    const fn of_v4(address: Ipv4Addr) -> Self {
        let shared = address.octets()[0] == 100 && address.octets()[1] & 0xc0 == 64;
        if address.is_loopback() {
            Self::Loopback
        } else if address.is_link_local()
            || address.is_multicast()
            || address.octets()[0] == 0
            || address.is_broadcast()
        {
            Self::Special
        } else if address.is_private() || shared {
            Self::Private
        } else {
            Self::Public
        }
    }

    const fn of_v6(address: Ipv6Addr) -> Self {
        if address.is_loopback() {
            Self::Loopback
        } else if address.is_unicast_link_local()
            || address.is_multicast()
            || address.is_unspecified()
        {
            Self::Special
        } else if address.is_unique_local() {
            Self::Private
        } else {
            Self::Public
        }
    }
}

/// The hosts that the user said may be spoken to in plain HTTP.
#[derive(Clone, Debug, Default)]
pub(super) struct InsecureHosts(Vec<String>);

impl InsecureHosts {
    pub(super) fn new(hosts: &[String]) -> Self {
        Self(
            hosts
                .iter()
                .map(|host| host.trim_end_matches('/').to_ascii_lowercase())
                .collect(),
        )
    }

    /// Whether the user named `host` with or without `port`.
    pub(super) fn names(&self, host: &str, port: u16) -> bool {
        let bracketed = format!("[{host}]");
        let with_port = [format!("{host}:{port}"), format!("{bracketed}:{port}")];
        self.0
            .iter()
            .any(|named| *named == host || *named == bracketed || with_port.contains(named))
    }
}

/// The base URL of `registry` as an image reference writes it.
///
/// Docker Hub's API lives at another name than its images. By the usual policy the scheme is
/// https but for loopback and hosts that are named insecure; by the others it is https.
pub(super) fn base_url(
    registry: &str,
    insecure: &InsecureHosts,
    policy: TlsPolicy,
) -> Result<Url, RegistryError> {
    let bad_host = || RegistryError::BadHost {
        registry: registry.to_owned(),
    };
    let host = if registry == "docker.io" {
        "registry-1.docker.io"
    } else {
        registry
    };
    let secure = Url::parse(&format!("https://{host}/")).map_err(|_| bad_host())?;
    let is_bare = secure.path() == "/" && secure.query().is_none() && secure.username().is_empty();
    let name = host_of(&secure).filter(|_| is_bare).ok_or_else(bad_host)?;
    // the port as written: without one, plain HTTP is meant to go to port 80
    let plain = Url::parse(&format!("http://{host}/")).map_err(|_| bad_host())?;
    let port = plain.port_or_known_default().unwrap_or(80);
    let may_be_plain = Reach::of(&name) == Reach::Loopback || insecure.names(&name, port);
    match policy {
        TlsPolicy::Usual if may_be_plain => Ok(plain),
        TlsPolicy::Usual | TlsPolicy::Required | TlsPolicy::Unverified => Ok(secure),
    }
}

/// `url` without user, query and fragment, for messages: queries hold signatures.
pub(super) fn shown(url: &Url) -> String {
    let mut shown = url.clone();
    shown.set_query(None);
    shown.set_fragment(None);
    // both fail only for URLs that cannot have a user
    let _ = shown.set_username("");
    let _ = shown.set_password(None);
    super::words::shorten(shown.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_goes_to_loopback_and_named_hosts_only() {
        let insecure = InsecureHosts::new(&[
            "reg.local:5000".to_owned(),
            "Old.Example".to_owned(),
            "[fd00::1]:5000".to_owned(),
        ]);
        let cases = [
            ("docker.io", "https://registry-1.docker.io/"),
            ("quay.io", "https://quay.io/"),
            ("quay.io:80", "https://quay.io:80/"),
            ("localhost", "http://localhost/"),
            ("localhost:5000", "http://localhost:5000/"),
            ("127.0.0.1:5000", "http://127.0.0.1:5000/"),
            ("127.9.9.9", "http://127.9.9.9/"),
            ("[::1]:5000", "http://[::1]:5000/"),
            ("127.0.0.1.evil.io", "https://127.0.0.1.evil.io/"),
            ("localhost.evil.io", "https://localhost.evil.io/"),
            ("10.0.0.1:5000", "https://10.0.0.1:5000/"),
            ("reg.local:5000", "http://reg.local:5000/"),
            ("reg.local:5001", "https://reg.local:5001/"),
            ("reg.local", "https://reg.local/"),
            ("old.example:1234", "http://old.example:1234/"),
            ("[fd00::1]:5000", "http://[fd00::1]:5000/"),
        ];
        for (registry, url) in cases {
            assert_eq!(
                base_url(registry, &insecure, TlsPolicy::Usual)
                    .unwrap()
                    .as_str(),
                url,
                "{registry}"
            );
        }
        for policy in [TlsPolicy::Required, TlsPolicy::Unverified] {
            let base = base_url("127.0.0.1:5000", &insecure, policy).unwrap();
            assert_eq!(base.as_str(), "https://127.0.0.1:5000/");
        }
        for bad in [
            "a b",
            "host:99999",
            "user@host",
            "host/path",
            "host?x",
            "[::1",
        ] {
            assert!(base_url(bad, &insecure, TlsPolicy::Usual).is_err(), "{bad}");
        }
    }

    #[test]
    fn reach_is_read_from_the_address() {
        let cases = [
            ("127.0.0.1", Reach::Loopback),
            ("::1", Reach::Loopback),
            ("::ffff:127.0.0.1", Reach::Loopback),
            ("localhost", Reach::Loopback),
            ("169.254.169.254", Reach::Special),
            ("::ffff:169.254.169.254", Reach::Special),
            ("fe80::1", Reach::Special),
            ("0.0.0.0", Reach::Special),
            ("::", Reach::Special),
            ("224.0.0.1", Reach::Special),
            ("10.1.2.3", Reach::Private),
            ("172.16.0.1", Reach::Private),
            ("192.168.0.1", Reach::Private),
            ("100.64.0.1", Reach::Private),
            ("fd00::1", Reach::Private),
            ("registry", Reach::Private),
            ("8.8.8.8", Reach::Public),
            ("quay.io", Reach::Public),
        ];
        for (host, reach) in cases {
            assert_eq!(Reach::of(host), reach, "{host}");
        }
    }

    #[test]
    fn shown_urls_keep_no_secrets() {
        let url = Url::parse("https://u:p@host/path?X-Signature=secret#f").unwrap();
        assert_eq!(shown(&url), "https://host/path");
    }
}
