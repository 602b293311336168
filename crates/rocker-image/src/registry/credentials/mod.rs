//! Who we are at which registry, and the files and programs that know it.

mod edit;
mod error;
mod file;
mod helper;
mod server;

use std::collections::BTreeMap;
use std::fmt;

pub use edit::{KeyStyle, SavedIn, forget_all_logins, forget_login, save_login};
pub use error::AuthFileError;
pub use file::AuthFile;
pub use helper::HelperError;
pub use server::{InvalidServer, Server};

use server::normalise;

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

impl Credential {
    /// The name of the user, where there is one.
    #[must_use]
    pub fn username(&self) -> Option<&str> {
        match self {
            Self::Basic { username, .. } => Some(username),
            Self::Identity(_) | Self::Bearer(_) => None,
        }
    }
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
        keys_of(registry, repository).find_map(|key| self.0.get(&key))
    }

    /// The keys that there are.
    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Whether there is none at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The keys that cover `repository` at `registry`, the longest first.
fn keys_of(registry: &str, repository: &str) -> impl Iterator<Item = String> {
    let longest = match repository {
        "" => normalise(registry),
        path => format!("{}/{path}", normalise(registry)),
    };
    std::iter::successors(Some(longest), |key| {
        Some(key.get(..key.rfind('/')?)?.to_owned())
    })
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
