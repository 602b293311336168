//! `policy.json` of the container tools: which images its author wants to be let in.
//!
//! Signatures are not checked here. So a policy that asks for one, or for nothing to be let in,
//! is a refusal of the images that it is about, and one that accepts anything is none.
//!
//! Source: containers-policy.json(5).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rocker_types::{Diagnose, ErrorKind, ImageRef};
use serde::Deserialize;

/// The largest policy, in bytes.
const MAX_BYTES: usize = 1 << 20;

/// The one requirement that every image fulfils.
const ANYTHING: &str = "insecureAcceptAnything";

/// What a policy file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    path: PathBuf,
    document: Document,
}

/// Which way an image comes in.
#[derive(Clone, Copy, Debug)]
pub enum Entry<'a> {
    /// From the registry that it is named after.
    Registry(&'a ImageRef),
    /// As an archive of a root file system, which names no image.
    Tarball,
    /// From a docker archive.
    DockerArchive,
    /// From a tar of an OCI image layout.
    OciArchive,
    /// From the directory of an OCI image layout.
    OciDirectory,
}

/// Why an image is not let in.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// Not the JSON of a policy.
    #[error("{path:?} is not a signature policy")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// Larger than any policy.
    #[error("signature policy {path:?} is larger than {MAX_BYTES} bytes")]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// The policy wants to see what is not checked here, or wants no such image at all.
    #[error("{path:?} does not let {what} in: it wants {wants:?} for {scope}, not {ANYTHING}")]
    Refused {
        /// The file.
        path: PathBuf,
        /// The image, or where it is from.
        what: String,
        /// Where in the file that is said.
        scope: String,
        /// The type of the requirement.
        wants: String,
    },
}

impl Diagnose for PolicyError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Syntax { .. } | Self::TooLarge { .. } => ErrorKind::Invalid,
            Self::Refused { .. } => ErrorKind::Denied,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Refused { .. } => Some(
                "rocker checks no signatures: what a policy wants signed is fetched by tools that do"
                    .to_owned(),
            ),
            Self::Syntax { .. } | Self::TooLarge { .. } => None,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    default: Vec<Requirement>,
    /// By the way in, then by what there.
    #[serde(default)]
    transports: BTreeMap<String, BTreeMap<String, Vec<Requirement>>>,
}

/// What else it says is about signatures.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct Requirement {
    #[serde(rename = "type")]
    kind: String,
}

impl Policy {
    /// Reads the text of the policy at `path`.
    ///
    /// # Errors
    ///
    /// All but [`PolicyError::Refused`].
    pub fn parse(text: &[u8], path: &Path) -> Result<Self, PolicyError> {
        let path = path.to_owned();
        if text.len() > MAX_BYTES {
            return Err(PolicyError::TooLarge { path });
        }
        match serde_json::from_slice(text) {
            Ok(document) => Ok(Self { path, document }),
            Err(source) => Err(PolicyError::Syntax { path, source }),
        }
    }

    /// Whether an image may come in this way.
    ///
    /// # Errors
    ///
    /// [`PolicyError::Refused`].
    pub fn check(&self, entry: Entry<'_>) -> Result<(), PolicyError> {
        let (transport, scopes) = match entry {
            Entry::Registry(reference) => ("docker", scopes_of(reference)),
            Entry::Tarball => ("tarball", Vec::new()),
            Entry::DockerArchive => ("docker-archive", Vec::new()),
            Entry::OciArchive => ("oci-archive", Vec::new()),
            Entry::OciDirectory => ("oci", Vec::new()),
        };
        let of_transport = self.document.transports.get(transport);
        let mut scopes = scopes;
        if matches!(entry, Entry::OciArchive | Entry::OciDirectory) {
            // Their scopes are paths, and which of several ways to one file is meant nobody can
            // tell: what is wanted of any place is wanted of all.
            let wanting = of_transport.iter().flat_map(|all| all.iter());
            let wanting = wanting.filter(|(_, all)| all.iter().any(|one| one.kind != ANYTHING));
            scopes.extend(wanting.map(|(scope, _)| scope.clone()));
        }
        // the empty scope is the transport's default
        let scopes = scopes.into_iter().chain([String::new()]);
        let found = of_transport.and_then(|of_transport| {
            let mut found = scopes.filter_map(|scope| {
                let requirements = of_transport.get(&scope)?;
                Some((format!("{transport}:{scope}"), requirements))
            });
            found.next()
        });
        let (scope, requirements) =
            found.unwrap_or_else(|| ("default".to_owned(), &self.document.default));
        let wants = match requirements.as_slice() {
            [] => "nothing at all",
            all => match all.iter().find(|one| one.kind != ANYTHING) {
                None => return Ok(()),
                Some(other) => &other.kind,
            },
        };
        let what = match entry {
            Entry::Registry(reference) => reference.canonical(),
            Entry::Tarball => "an archive of a root file system".to_owned(),
            Entry::DockerArchive => "a docker archive".to_owned(),
            Entry::OciArchive | Entry::OciDirectory => "an OCI image layout".to_owned(),
        };
        Err(PolicyError::Refused {
            path: self.path.clone(),
            what,
            scope,
            wants: wants.chars().take(64).collect(),
        })
    }
}

/// What a policy may call an image of a registry, the narrowest first.
fn scopes_of(reference: &ImageRef) -> Vec<String> {
    let name = format!("{}/{}", reference.registry(), reference.repository());
    let mut scopes = vec![reference.canonical()];
    let mut above = Some(name.as_str());
    while let Some(name) = above {
        scopes.push(name.to_owned());
        above = name.rsplit_once('/').map(|(above, _)| above);
    }
    let host = reference.registry();
    let host = host.split_once(':').map_or(host, |(host, _)| host);
    let mut domain = host.split_once('.');
    while let Some((_, rest)) = domain {
        scopes.push(format!("*.{rest}"));
        domain = rest.split_once('.');
    }
    scopes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(text: &str) -> Policy {
        Policy::parse(text.as_bytes(), Path::new("/policy.json")).unwrap()
    }

    #[test]
    fn the_narrowest_scope_decides() {
        let policy = policy(
            r#"{"default": [{"type": "reject"}], "transports": {
                "docker": {
                    "docker.io/library": [{"type": "insecureAcceptAnything"}],
                    "docker.io/library/busybox": [{"type": "signedBy", "keyType": "GPGKeys"}],
                    "docker.io/library/busybox:1": [{"type": "insecureAcceptAnything"}],
                    "*.example.com": [{"type": "insecureAcceptAnything"}],
                    "sub.example.com:5000": [],
                    "quay.io": [{"type": "insecureAcceptAnything"}, {"type": "sigstoreSigned"}]
                },
                "docker-archive": {"": [{"type": "insecureAcceptAnything"}]},
                "docker-daemon": {"": [{"type": "insecureAcceptAnything"}]}
            }}"#,
        );
        let cases = [
            ("alpine", Ok(())),
            ("busybox", Err("signedBy")),
            ("busybox:2", Err("signedBy")),
            ("busybox:1", Ok(())),
            ("user/app", Err("reject")),
            ("a.b.example.com:5000/x", Ok(())),
            ("example.com/x", Err("reject")),
            ("sub.example.com:5000/x", Err("nothing at all")),
            ("quay.io/x/y:1", Err("sigstoreSigned")),
            ("localhost:5000/x", Err("reject")),
        ];
        for (name, expected) in cases {
            let reference: ImageRef = name.parse().unwrap();
            let outcome = policy.check(Entry::Registry(&reference));
            match (outcome, expected) {
                (Ok(()), Ok(())) => {}
                (Err(error), Err(wants)) => {
                    let text = error.to_string();
                    assert!(
                        text.contains(wants) && text.contains("/policy.json"),
                        "{text}"
                    );
                    assert_eq!(error.kind(), ErrorKind::Denied);
                }
                (outcome, _) => panic!("{name}: {outcome:?}"),
            }
        }
        assert!(policy.check(Entry::DockerArchive).is_ok());
        assert!(policy.check(Entry::OciArchive).is_err());
        assert!(policy.check(Entry::OciDirectory).is_err());
    }

    #[test]
    fn what_is_wanted_of_one_place_of_a_layout_is_wanted_of_all() {
        let policy = policy(
            r#"{"default": [{"type": "insecureAcceptAnything"}], "transports": {
                "oci": {"": [{"type": "insecureAcceptAnything"}], "/srv/x": [{"type": "reject"}]},
                "tarball": {"": [{"type": "reject"}]}
            }}"#,
        );
        assert!(policy.check(Entry::OciDirectory).is_err());
        assert!(policy.check(Entry::OciArchive).is_ok());
        assert!(policy.check(Entry::Tarball).is_err());
    }

    #[test]
    fn what_accepts_anything_is_no_obstacle_and_what_is_not_understood_is_one() {
        let usual = policy(r#"{"default": [{"type": "insecureAcceptAnything"}]}"#);
        let reference: ImageRef = "alpine".parse().unwrap();
        assert!(usual.check(Entry::Registry(&reference)).is_ok());
        for text in [
            "",
            "{}",
            "[]",
            r#"{"default": {}}"#,
            r#"{"default": [{}]}"#,
            r#"{"default": [{"type": "insecureAcceptAnything"}], "transport": {}}"#,
        ] {
            assert!(
                Policy::parse(text.as_bytes(), Path::new("x")).is_err(),
                "{text}"
            );
        }
    }
}
