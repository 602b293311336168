//! Image references.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Digest;

const DEFAULT_REGISTRY: &str = "docker.io";
const DEFAULT_TAG: &str = "latest";

/// What images' ids begin with.
const ID_ALGORITHM: &str = "sha256";

/// `[REGISTRY[:PORT]/]PATH[:TAG][@DIGEST]`, normalised by docker's rules: a first component
/// without a dot, a colon or the word `localhost` is part of the path on docker.io, and a
/// single component there lives below `library/`.
///
/// Without tag and digest the tag is `latest`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ImageRef {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// The text does not name an image.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("invalid image reference {text:?}: {why}")]
pub struct InvalidReference {
    text: String,
    why: String,
}

impl ImageRef {
    /// Host and port, as written; `docker.io` by default.
    #[must_use]
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The path at the registry, `library/alpine`.
    #[must_use]
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// Whether both are in one repository, whatever tag and digest they have.
    #[must_use]
    pub fn is_same_repository(&self, other: &Self) -> bool {
        (self.registry(), self.repository()) == (other.registry(), other.repository())
    }

    /// The tag, if one was given or implied.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, if one was given.
    #[must_use]
    pub const fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// `docker.io/library/alpine:latest`.
    #[must_use]
    pub fn canonical(&self) -> String {
        format!("{}/{}", self.registry, self.with_suffix(&self.repository))
    }

    /// As short as docker prints it: `alpine:latest`.
    #[must_use]
    pub fn familiar(&self) -> String {
        self.with_suffix(&self.familiar_repository())
    }

    /// The repository as docker prints it: `alpine`, `127.0.0.1:5000/app`. The registry is left
    /// out only where nobody would take the first component for another one.
    #[must_use]
    pub fn familiar_repository(&self) -> String {
        match self.repository.strip_prefix("library/") {
            Some(ID_ALGORITHM) => format!("{}/{}", self.registry, self.repository),
            Some(official) if self.registry == DEFAULT_REGISTRY && !official.contains('/') => {
                official.to_owned()
            }
            _ if self.registry == DEFAULT_REGISTRY
                && split_registry(&self.repository).1 == self.repository =>
            {
                self.repository.clone()
            }
            _ => format!("{}/{}", self.registry, self.repository),
        }
    }

    /// `REPOSITORY@DIGEST` in docker's short form, for `RepoDigests`.
    #[must_use]
    pub fn familiar_with_digest(&self, digest: &Digest) -> String {
        format!("{}@{digest}", self.familiar_repository())
    }

    /// Whether `text` says at which registry the image is, rather than leaving it to a default.
    #[must_use]
    pub fn names_registry(text: &str) -> bool {
        has_registry(text).is_some()
    }

    /// Whether `text` says neither a tag nor a digest: a name, or a repository.
    #[must_use]
    pub fn is_bare(text: &str) -> bool {
        let last = text.rsplit('/').next().unwrap_or(text);
        !last.contains([':', '@'])
    }

    /// Whether `text` can be a tag.
    #[must_use]
    pub fn is_tag(text: &str) -> bool {
        check_tag(text).is_ok()
    }

    fn with_suffix(&self, name: &str) -> String {
        let tag = self
            .tag
            .as_ref()
            .map_or(String::new(), |tag| format!(":{tag}"));
        let digest = self
            .digest
            .as_ref()
            .map_or(String::new(), |digest| format!("@{digest}"));
        format!("{name}{tag}{digest}")
    }
}

impl FromStr for ImageRef {
    type Err = InvalidReference;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).map_err(|why| InvalidReference {
            text: text.chars().take(300).collect(),
            why,
        })
    }
}

fn parse(text: &str) -> Result<ImageRef, String> {
    if text.contains("://") {
        return Err("leave the scheme out, an image reference is not a URL".into());
    }
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => (
            rest,
            Some(digest.parse::<Digest>().map_err(|e| e.to_string())?),
        ),
        None => (text, None),
    };
    // a colon after the last slash starts the tag; before it, it is a port
    let (name, tag) = match rest.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(check_tag(tag)?)),
        _ => (rest, None),
    };
    check_not_an_id(text, name)?;
    let (registry, path) = split_registry(name);
    let registry = check_registry(registry)?;
    check_path(path)?;
    let repository = if registry == DEFAULT_REGISTRY && !path.contains('/') {
        format!("library/{path}")
    } else {
        path.to_owned()
    };
    if repository.len() > 255 {
        return Err("the path is longer than 255 characters".into());
    }
    let tag = if tag.is_none() && digest.is_none() {
        Some(DEFAULT_TAG.to_owned())
    } else {
        tag
    };
    Ok(ImageRef {
        registry,
        repository,
        tag,
        digest,
    })
}

/// What could be an image's id is refused as a name, as docker does.
fn check_not_an_id(text: &str, name: &str) -> Result<(), String> {
    if text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err("64 hex digits are an image's ID".into());
    }
    match name == ID_ALGORITHM {
        true => Err(format!("{ID_ALGORITHM}: begins an image's ID")),
        false => Ok(()),
    }
}

fn split_registry(name: &str) -> (&str, &str) {
    has_registry(name).unwrap_or((DEFAULT_REGISTRY, name))
}

fn has_registry(name: &str) -> Option<(&str, &str)> {
    let (first, path) = name.split_once('/')?;
    let is_host = first.contains(['.', ':']) || first == "localhost" || first.starts_with('[');
    is_host.then_some((first, path))
}

fn check_registry(text: &str) -> Result<String, String> {
    let bad = || format!("{text:?} is not a registry host");
    let (host, port) = match text.strip_prefix('[') {
        Some(v6) => {
            let (address, rest) = v6.split_once(']').ok_or_else(bad)?;
            address.parse::<std::net::Ipv6Addr>().map_err(|_| bad())?;
            (
                None,
                if rest.is_empty() {
                    None
                } else {
                    Some(rest.strip_prefix(':').ok_or_else(bad)?)
                },
            )
        }
        None => match text.split_once(':') {
            Some((host, port)) => (Some(host), Some(port)),
            None => (Some(text), None),
        },
    };
    let label = |label: &str| {
        let edge = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_alphanumeric());
        edge(label.bytes().next())
            && edge(label.bytes().last())
            && label.len() <= 63
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    let host_ok = host.is_none_or(|host| host.len() <= 253 && host.split('.').all(label));
    let port_ok = port.is_none_or(|port| {
        port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|p| p > 0)
    });
    if !host_ok || !port_ok {
        return Err(bad());
    }
    // docker.io has two more spellings in the wild
    Ok(
        if matches!(text, "index.docker.io" | "registry-1.docker.io") {
            DEFAULT_REGISTRY.to_owned()
        } else {
            text.to_owned()
        },
    )
}

fn check_path(path: &str) -> Result<(), String> {
    if path.is_empty() {
        return Err("the name is empty".into());
    }
    if path.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err(format!(
            "the name must be lower case: {:?}",
            path.to_ascii_lowercase()
        ));
    }
    if path.split('/').all(component) {
        Ok(())
    } else {
        Err("a name is components of [a-z0-9] joined by /, with single . or up to two _ or any number of - between".into())
    }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`. Source: distribution-spec, "Pulling manifests".
fn component(text: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else {
        return false;
    };
    if !alphanumeric(*first) || !alphanumeric(*last) {
        return false;
    }
    let separators = text
        .split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        .filter(|s| !s.is_empty());
    separators
        .into_iter()
        .all(|s| s == "." || s == "_" || s == "__" || s.bytes().all(|b| b == b'-'))
}

fn check_tag(tag: &str) -> Result<String, String> {
    let first_ok = tag
        .bytes()
        .next()
        .is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_');
    let rest_ok = tag
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
    if first_ok && rest_ok && tag.len() <= 128 {
        Ok(tag.to_owned())
    } else {
        Err("a tag is up to 128 characters of [A-Za-z0-9_.-] and does not start with . or -".into())
    }
}

impl TryFrom<String> for ImageRef {
    type Error = InvalidReference;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<ImageRef> for String {
    fn from(reference: ImageRef) -> Self {
        reference.canonical()
    }
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.familiar())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registry_is_left_out_only_where_nobody_misses_it() {
        for (text, familiar) in [
            ("docker.io/quay.io/x", "docker.io/quay.io/x:latest"),
            ("docker.io/localhost/x:1", "docker.io/localhost/x:1"),
            ("docker.io/localhost", "localhost:latest"),
            ("docker.io/library/a.b", "a.b:latest"),
            (
                "docker.io/library/sha256:beef",
                "docker.io/library/sha256:beef",
            ),
            ("docker.io/library/a.b/c", "library/a.b/c:latest"),
        ] {
            let parsed: ImageRef = text.parse().unwrap();
            assert_eq!(parsed.familiar(), familiar);
            assert_eq!(familiar.parse(), Ok(parsed), "{text}");
        }
    }

    #[test]
    fn short_names_become_dockers() {
        let d = format!("sha256:{}", "0".repeat(64));
        let table = [
            ("alpine", "docker.io/library/alpine:latest", "alpine:latest"),
            ("alpine:3", "docker.io/library/alpine:3", "alpine:3"),
            ("user/app", "docker.io/user/app:latest", "user/app:latest"),
            (
                "localhost/app",
                "localhost/app:latest",
                "localhost/app:latest",
            ),
            (
                "127.0.0.1:5000/a/b:x",
                "127.0.0.1:5000/a/b:x",
                "127.0.0.1:5000/a/b:x",
            ),
            (
                "ghcr.io/a__b/c-d.e",
                "ghcr.io/a__b/c-d.e:latest",
                "ghcr.io/a__b/c-d.e:latest",
            ),
            (
                "index.docker.io/alpine",
                "docker.io/library/alpine:latest",
                "alpine:latest",
            ),
            ("[::1]:5000/x", "[::1]:5000/x:latest", "[::1]:5000/x:latest"),
        ];
        for (text, canonical, familiar) in table {
            let parsed: ImageRef = text.parse().unwrap();
            assert_eq!(
                (parsed.canonical().as_str(), parsed.familiar().as_str()),
                (canonical, familiar),
                "{text}"
            );
            assert_eq!(canonical.parse(), Ok(parsed), "{text}");
        }
        for (text, bare) in [
            ("alpine", true),
            ("[::1]:5000/x", true),
            ("localhost:5000/a/b", true),
            ("alpine:3", false),
            ("localhost:5000/a:1", false),
            (&format!("a/b@{d}"), false),
        ] {
            assert_eq!(ImageRef::is_bare(text), bare, "{text}");
        }
        let pinned: ImageRef = format!("alpine@{d}").parse().unwrap();
        assert_eq!(
            (pinned.tag(), pinned.digest().map(ToString::to_string)),
            (None, Some(d.clone()))
        );
        assert_eq!(
            format!("alpine:3@{d}").parse::<ImageRef>().unwrap().tag(),
            Some("3")
        );
    }

    #[test]
    fn bad_references_are_refused() {
        let (long_tag, long_path) = (format!("a:{}", "t".repeat(129)), "p".repeat(256));
        let bad = [
            "",
            ":",
            "@",
            "/",
            "a/",
            "/a",
            "Alpine",
            "a//b",
            "a/../b",
            "a:b:c",
            "a:",
            "a: b",
            "a:b\n",
            "a:\0",
            "img@sha256:short",
            "img@md5:00",
            "host:99999/x",
            "host.:5/x",
            "-x",
            "x-",
            "http://x/y",
            "a.b./x",
            "ümlaut.de/x",
            "a___b",
            "a..b",
            "a@b@c",
            "[::1/x",
            "[zz]/x",
            "h:0/x",
            "h:+1/x",
            "sha256",
            "sha256:beef",
            &"beef".repeat(16),
            &long_tag,
            &long_path,
        ];
        for text in bad {
            assert!(text.parse::<ImageRef>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn upper_case_is_answered_with_the_lower_case_form() {
        let error = "Ubuntu".parse::<ImageRef>().unwrap_err();
        assert!(error.to_string().contains("\"ubuntu\""), "{error}");
    }
}
