//! Auth files: `~/.docker/config.json`, `containers/auth.json`.
//!
//! Whatever a file holds, no error shows it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;

use super::error::MAX_BYTES;
use super::helper::Helper;
use super::server::normalise;
use super::{AuthFileError, Credential, Credentials, HelperError, Server, keys_of};
use crate::document::shorten;
use crate::registry::ExtraHeaders;

#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
    #[serde(default, rename = "credHelpers")]
    helpers: BTreeMap<String, String>,
    #[serde(default, rename = "credsStore")]
    store: Option<String>,
    #[serde(default, rename = "HttpHeaders")]
    headers: BTreeMap<String, String>,
}

/// What one auth file knows: credentials, and helpers that know others.
#[derive(Debug)]
pub struct AuthFile {
    path: PathBuf,
    auths: Credentials,
    /// Entries that nobody can read, by what they are for.
    malformed: BTreeMap<String, String>,
    /// Entries without a secret: what `store` keeps for a path, and docker for a registry.
    named: BTreeSet<String>,
    /// By registry, or by registry and the start of a path.
    helpers: BTreeMap<String, String>,
    /// For all registries that have no helper of their own.
    store: Option<String>,
    headers: ExtraHeaders,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

/// Docker writes padding, some tools do not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

impl AuthFile {
    /// Reads the auth file at `path`; `None` when there is no such file.
    ///
    /// Entries without a secret say what a credential helper has one for.
    ///
    /// # Errors
    ///
    /// [`AuthFileError`]; a file that is there and cannot be understood is an error, because
    /// going on without credentials would fail later with a misleading text.
    pub fn read(path: &Path) -> Result<Option<Self>, AuthFileError> {
        read_bytes(path)?
            .map(|bytes| Self::parse(&bytes, path))
            .transpose()
    }

    /// Reads the bytes of an auth file; `path` is for the errors.
    ///
    /// # Errors
    ///
    /// All but those about reading and helpers.
    pub fn parse(bytes: &[u8], path: &Path) -> Result<Self, AuthFileError> {
        let mut file = Self {
            path: path.to_owned(),
            auths: Credentials::none(),
            malformed: BTreeMap::new(),
            named: BTreeSet::new(),
            helpers: BTreeMap::new(),
            store: None,
            headers: ExtraHeaders::default(),
        };
        if bytes.trim_ascii().is_empty() {
            return Ok(file);
        }
        // serde would take an array for a struct as well
        if bytes.trim_ascii_start().first() != Some(&b'{') {
            let path = path.to_owned();
            let (line, column) = (1, 1);
            return Err(AuthFileError::Syntax { path, line, column });
        }
        let document: Document = serde_json::from_slice(bytes).map_err(syntax(path))?;
        for (key, entry) in document.auths {
            match entry.credential() {
                Ok(Some(credential)) => file.auths.insert(&key, credential),
                Ok(None) => drop(file.named.insert(normalise(&key))),
                // it is no reason to know nothing of the other registries
                Err(Malformed) => drop(file.malformed.insert(normalise(&key), key)),
            }
        }
        let helpers = document.helpers.into_iter();
        file.helpers = helpers
            .filter(|(_, name)| !name.is_empty())
            .map(|(key, name)| (normalise(&key), name))
            .collect();
        file.store = document.store.filter(|name| !name.is_empty());
        file.headers =
            ExtraHeaders::new(&document.headers).map_err(|name| AuthFileError::Header {
                path: path.to_owned(),
                name: shorten(&name),
            })?;
        Ok(file)
    }

    /// The credential for `repository` at `registry`, which may be all of a registry (empty):
    /// the one with the longest key, of a helper before the file's own. The helper for all
    /// registries is asked for the registry, and for paths that the file names.
    ///
    /// # Errors
    ///
    /// [`AuthFileError::Helper`], and [`AuthFileError::Entry`] if it cannot be read.
    pub fn find(
        &self,
        registry: &str,
        repository: &str,
    ) -> Result<Option<Credential>, AuthFileError> {
        let all = normalise(registry);
        for key in keys_of(registry, repository) {
            let is_kept = key == all || self.named.contains(&key);
            let store = self.store.as_ref().filter(|_| is_kept);
            if let Some(name) = self.helpers.get(&key).or(store)
                && let Some(found) = self.ask(name, &key)?
            {
                return Ok(Some(found));
            }
            if let Some(key) = self.malformed.get(&key) {
                return Err(AuthFileError::Entry {
                    path: self.path.clone(),
                    key: key.clone(),
                });
            }
            if let Some(found) = self.auths.0.get(&key) {
                return Ok(Some(found.clone()));
            }
        }
        Ok(None)
    }

    /// What the helper of this name has for exactly `key`.
    fn ask(&self, name: &str, key: &str) -> Result<Option<Credential>, AuthFileError> {
        let helper = self.helper(name)?;
        let Ok(server) = key.parse::<Server>() else {
            return Ok(None);
        };
        for address in server.addresses() {
            let found = helper.get(address);
            if let Some(found) = found.map_err(|source| self.helper_failed(source))? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// The registries that the file itself names; no helper is asked.
    pub fn servers(&self) -> impl Iterator<Item = &str> {
        let others = self.helpers.keys().chain(&self.named);
        self.auths.keys().chain(others.map(String::as_str))
    }

    /// What the file wants registries to see besides.
    #[must_use]
    pub const fn headers(&self) -> &ExtraHeaders {
        &self.headers
    }

    /// Where the file is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the file has something to say about `server`, in itself or in a helper.
    ///
    /// # Errors
    ///
    /// [`AuthFileError::Helper`].
    pub fn knows(&self, server: &Server) -> Result<bool, AuthFileError> {
        Ok(self.find(server.registry(), server.path())?.is_some())
    }

    /// The helper that keeps what belongs to `server`, if one does.
    pub(super) fn keeper(&self, server: &Server) -> Result<Option<Helper>, AuthFileError> {
        let own = self.helpers.get(server.key());
        own.or(self.store.as_ref())
            .map(|name| self.helper(name))
            .transpose()
    }

    /// Every helper that the file names, with the key that it is for; the one for all comes
    /// last, without a key.
    pub(super) fn helpers(&self) -> Result<Vec<(Option<&str>, Helper)>, AuthFileError> {
        let own = self
            .helpers
            .iter()
            .map(|(key, name)| (Some(key.as_str()), name));
        own.chain(self.store.iter().map(|name| (None, name)))
            .map(|(key, name)| Ok((key, self.helper(name)?)))
            .collect()
    }

    /// Whether the file has an entry for exactly `server`, with a secret or without.
    pub(super) fn mentions(&self, server: &Server) -> bool {
        let key = server.key();
        self.has_secret(server) || self.named.contains(key)
    }

    /// Whether the file itself has, or seems to have, a secret for exactly `server`.
    pub(super) fn has_secret(&self, server: &Server) -> bool {
        let key = server.key();
        self.auths.0.contains_key(key) || self.malformed.contains_key(key)
    }

    /// Whether the file has no entry at all.
    pub(super) fn has_no_entries(&self) -> bool {
        self.auths.is_empty() && self.malformed.is_empty() && self.named.is_empty()
    }

    /// Whether the helper for all registries would be asked for `server` only if the file
    /// names it.
    pub(super) fn has_to_name(&self, server: &Server) -> bool {
        !server.path().is_empty() && !self.helpers.contains_key(server.key())
    }

    fn helper(&self, name: &str) -> Result<Helper, AuthFileError> {
        Helper::named(name).map_err(|source| self.helper_failed(source))
    }

    pub(super) fn helper_failed(&self, source: HelperError) -> AuthFileError {
        AuthFileError::Helper {
            path: self.path.clone(),
            source,
        }
    }
}

/// The bytes of the file; `None` when there is none.
pub(super) fn read_bytes(path: &Path) -> Result<Option<Vec<u8>>, AuthFileError> {
    let read = |source| AuthFileError::Read {
        path: path.to_owned(),
        source,
    };
    let file = match fs_err::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(read(error)),
    };
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(read)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(AuthFileError::TooLarge {
            path: path.to_owned(),
        });
    }
    Ok(Some(bytes))
}

/// Where the JSON is wrong; serde_json's own text could quote a secret.
pub(super) fn syntax(path: &Path) -> impl Fn(serde_json::Error) -> AuthFileError {
    move |error| AuthFileError::Syntax {
        path: path.to_owned(),
        line: error.line(),
        column: error.column(),
    }
}

struct Malformed;

impl Entry {
    fn credential(self) -> Result<Option<Credential>, Malformed> {
        let filled = |value: Option<String>| value.filter(|value| !value.is_empty());
        if let Some(token) = filled(self.identitytoken) {
            return Ok(Some(Credential::Identity(token)));
        }
        if let Some(token) = filled(self.registrytoken) {
            return Ok(Some(Credential::Bearer(token)));
        }
        if let Some(auth) = filled(self.auth) {
            return decode(&auth).map(Some).ok_or(Malformed);
        }
        match (filled(self.username), filled(self.password)) {
            (Some(username), Some(password)) => Ok(Some(Credential::Basic { username, password })),
            _ => Ok(None),
        }
    }
}

fn decode(auth: &str) -> Option<Credential> {
    let text = String::from_utf8(BASE64.decode(auth.trim()).ok()?).ok()?;
    let (username, password) = text.split_once(':')?;
    // docker pads what it encodes with NUL bytes in some versions
    let password = password.trim_end_matches('\0');
    Some(Credential::Basic {
        username: username.to_owned(),
        password: password.to_owned(),
    })
}

#[cfg(test)]
mod tests;
