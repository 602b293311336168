//! What a login is for: a registry, or a path below one.

use std::fmt;
use std::str::FromStr;

use reqwest::Url;
use rocker_types::{Diagnose, ErrorKind};

use crate::document::shorten;

/// Docker Hub as image references call it.
const HUB: &str = "docker.io";

/// Docker Hub as docker's files and credential helpers call it.
const HUB_ADDRESS: &str = "https://index.docker.io/v1/";

/// A registry as users name it to `login`: `HOST[:PORT][/PATH]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Server(String);

/// The text is not the name of a registry.
#[derive(Debug, thiserror::Error)]
#[error("{server:?} is not a registry: HOST[:PORT][/PATH]")]
pub struct InvalidServer {
    server: String,
}

impl Diagnose for InvalidServer {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }

    fn hint(&self) -> Option<String> {
        None
    }
}

impl Server {
    /// Docker Hub, which is meant where none is named.
    #[must_use]
    pub fn hub() -> Self {
        Self(HUB.to_owned())
    }

    /// `HOST[:PORT]`.
    #[must_use]
    pub fn registry(&self) -> &str {
        self.0.split_once('/').map_or(&self.0, |(host, _)| host)
    }

    /// The path below the registry that this is about; empty for all of it.
    #[must_use]
    pub fn path(&self) -> &str {
        self.0.split_once('/').map_or("", |(_, path)| path)
    }

    /// As the files of the container tools have it.
    pub(super) fn key(&self) -> &str {
        &self.0
    }

    /// As docker's file and the credential helpers have it.
    pub(super) fn address(&self) -> &str {
        if self.0 == HUB { HUB_ADDRESS } else { &self.0 }
    }

    /// Every name that a credential helper may know this by, the usual one first.
    pub(super) fn addresses(&self) -> impl Iterator<Item = &str> {
        let other = (self.0 == HUB).then_some(HUB);
        std::iter::once(self.address()).chain(other)
    }
}

impl FromStr for Server {
    type Err = InvalidServer;

    fn from_str(text: &str) -> Result<Self, InvalidServer> {
        let key = normalise(text);
        let server = Self(key);
        let is_path = |c: u8| c.is_ascii_alphanumeric() || b"._-/".contains(&c);
        let is_good = !server.registry().is_empty()
            && server.0.len() <= 512
            && is_host(server.registry())
            && server.path().bytes().all(is_path);
        if is_good {
            return Ok(server);
        }
        Err(InvalidServer {
            server: shorten(text),
        })
    }
}

/// Whether a URL with this between its slashes has a host, perhaps a port, and no more.
fn is_host(text: &str) -> bool {
    let plain = |c: u8| c.is_ascii_alphanumeric() || b".-:[]".contains(&c);
    text.bytes().all(plain)
        && Url::parse(&format!("https://{text}/")).is_ok_and(|url| url.path() == "/")
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Docker Hub goes by several names in auth files; and docker's old files have as keys the URLs
/// of a registry's API. Without a scheme a path is one of repositories, however it is called.
pub(super) fn normalise(key: &str) -> String {
    let of_url = key
        .strip_prefix("https://")
        .or_else(|| key.strip_prefix("http://"));
    let bare = of_url.unwrap_or(key).trim_end_matches('/');
    let (host, path) = bare
        .split_once('/')
        .map_or((bare, None), |(host, path)| (host, Some(path)));
    let host = match host {
        "index.docker.io" | "registry-1.docker.io" | "registry.hub.docker.com" => HUB.to_owned(),
        other => other.to_ascii_lowercase(),
    };
    let is_api = |path: &&str| matches!(*path, "v1" | "v2") && (of_url.is_some() || host == HUB);
    path.filter(|path| !is_api(path))
        .map_or_else(|| host.clone(), |path| format!("{host}/{path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_read_as_users_write_them() {
        for (text, key, address) in [
            ("docker.io", "docker.io", HUB_ADDRESS),
            (HUB_ADDRESS, "docker.io", HUB_ADDRESS),
            ("registry-1.docker.io", "docker.io", HUB_ADDRESS),
            ("https://Quay.io/", "quay.io", "quay.io"),
            ("quay.io/team", "quay.io/team", "quay.io/team"),
            ("index.docker.io/v1/", "docker.io", HUB_ADDRESS),
            ("https://quay.io/v2/", "quay.io", "quay.io"),
            ("quay.io/v2", "quay.io/v2", "quay.io/v2"),
            ("quay.io/team/v2", "quay.io/team/v2", "quay.io/team/v2"),
            (
                "https://quay.io/team/v1",
                "quay.io/team/v1",
                "quay.io/team/v1",
            ),
            ("localhost:5000", "localhost:5000", "localhost:5000"),
            ("[::1]:5000", "[::1]:5000", "[::1]:5000"),
        ] {
            let server: Server = text.parse().unwrap();
            assert_eq!((server.key(), server.address()), (key, address), "{text}");
        }
        assert_eq!("quay.io/a/b".parse::<Server>().unwrap().path(), "a/b");
        for text in [
            "",
            "/",
            "https://",
            "a b",
            "user@host",
            "host:port",
            "host:99999",
            "h/../x y",
            "-u\n",
            "host?x",
            "host#x",
            "a\\b",
        ] {
            assert!(text.parse::<Server>().is_err(), "{text:?}");
        }
    }
}
