//! Who we are at which registry.

use std::collections::BTreeMap;
use std::fmt;

/// What identifies us at one registry. Never shown: `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// User name and password (or access token), for Basic and for token requests.
    Basic {
        /// User name.
        username: String,
        /// Password or personal access token.
        password: String,
    },
    /// An OAuth2 refresh token (`identitytoken` in docker's file).
    Identity(String),
    /// A ready bearer token (`registrytoken` in docker's file).
    Bearer(String),
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Basic { .. } => "Basic(…)",
            Self::Identity(_) => "Identity(…)",
            Self::Bearer(_) => "Bearer(…)",
        })
    }
}

/// Credentials by registry, or by registry and the start of the repository's path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials(BTreeMap<String, Credential>);

impl Credentials {
    /// No credentials.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Adds or replaces the credential for `key`: `HOST[:PORT][/PATH]`, with or without
    /// `https://` in front, as auth files spell it.
    pub fn insert(&mut self, key: &str, credential: Credential) {
        self.0.insert(normalise(key), credential);
    }

    /// The credential with the longest key that covers `repository` at `registry`.
    #[must_use]
    pub fn find(&self, registry: &str, repository: &str) -> Option<&Credential> {
        let mut key = format!("{}/{repository}", normalise(registry));
        loop {
            if let Some(credential) = self.0.get(&key) {
                return Some(credential);
            }
            key.truncate(key.rfind('/')?);
        }
    }

    /// Whether there is none at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Docker Hub goes by several names in auth files; and docker's old files have URLs as keys.
fn normalise(key: &str) -> String {
    let bare = key
        .strip_prefix("https://")
        .or_else(|| key.strip_prefix("http://"))
        .unwrap_or(key);
    let bare = bare.trim_end_matches('/');
    let bare = bare
        .strip_suffix("/v1")
        .or_else(|| bare.strip_suffix("/v2"))
        .unwrap_or(bare);
    let (host, path) = bare
        .split_once('/')
        .map_or((bare, None), |(host, path)| (host, Some(path)));
    let host = match host {
        "index.docker.io" | "registry-1.docker.io" | "registry.hub.docker.com" => {
            "docker.io".to_owned()
        }
        other => other.to_ascii_lowercase(),
    };
    path.map_or_else(|| host.clone(), |path| format!("{host}/{path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn basic(username: &str) -> Credential {
        Credential::Basic {
            username: username.to_owned(),
            password: "secret".to_owned(),
        }
    }

    #[test]
    fn the_longest_key_wins() {
        let mut credentials = Credentials::none();
        for (key, user) in [
            ("https://index.docker.io/v1/", "hub"),
            ("quay.io", "quay"),
            ("quay.io/team", "team"),
            ("quay.io/team/app", "app"),
            ("127.0.0.1:5000", "local"),
        ] {
            credentials.insert(key, basic(user));
        }
        let cases = [
            ("docker.io", "library/alpine", Some("hub")),
            ("quay.io", "other/app", Some("quay")),
            ("quay.io", "team/tool", Some("team")),
            ("quay.io", "team/app", Some("app")),
            ("quay.io", "team/app/sub", Some("app")),
            ("quay.io", "team/application", Some("team")),
            ("127.0.0.1:5000", "x", Some("local")),
            ("127.0.0.1:5001", "x", None),
            ("127.0.0.1", "x", None),
            ("evil.io", "quay.io/team", None),
        ];
        for (registry, repository, user) in cases {
            assert_eq!(
                credentials.find(registry, repository),
                user.map(basic).as_ref(),
                "{registry}/{repository}"
            );
        }
    }

    #[test]
    fn debug_does_not_show_secrets() {
        let mut credentials = Credentials::none();
        credentials.insert("a", basic("user"));
        credentials.insert("b", Credential::Identity("secret".to_owned()));
        credentials.insert("c", Credential::Bearer("secret".to_owned()));
        assert!(!format!("{credentials:?}").contains("secret"));
    }
}
