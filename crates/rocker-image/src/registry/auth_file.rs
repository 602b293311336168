//! Auth files: `~/.docker/config.json`, `containers/auth.json`.
//!
//! Read here, never written; whatever the file holds, no error shows it.

use std::io::Read;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use rocker_types::{Diagnose, ErrorKind};
use serde::Deserialize;

use super::{Credential, Credentials};

/// The largest auth file, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// Why an auth file is of no use. No text of the file is part of it.
#[derive(Debug, thiserror::Error)]
pub enum AuthFileError {
    /// The file cannot be read.
    #[error("cannot read the auth file {path:?}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What happened.
        source: std::io::Error,
    },

    /// The file is larger than any auth file.
    #[error("auth file {path:?} is larger than {MAX_BYTES} bytes")]
    TooLarge {
        /// The file.
        path: PathBuf,
    },

    /// Not the JSON of an auth file.
    #[error("auth file {path:?} is not valid JSON (line {line}, column {column})")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
    },

    /// An entry whose `auth` is not the base64 of `USER:PASSWORD`.
    #[error("auth file {path:?}: the entry for {key:?} is not base64 of USER:PASSWORD")]
    Entry {
        /// The file.
        path: PathBuf,
        /// The registry.
        key: String,
    },
}

impl Diagnose for AuthFileError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Entry { key, .. } => Some(format!("log in to {key} again, or remove the entry")),
            Self::Read { .. } | Self::TooLarge { .. } | Self::Syntax { .. } => None,
        }
    }
}

#[derive(Deserialize)]
struct AuthFile {
    #[serde(default)]
    auths: std::collections::BTreeMap<String, Entry>,
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

/// Reads the `auths` of the auth file at `path`; `None` when there is no such file.
///
/// Entries without a secret (credential helpers leave such) are passed over.
///
/// # Errors
///
/// [`AuthFileError`]; a file that is there and cannot be understood is an error, because
/// going on without credentials would fail later with a misleading text.
pub fn read_auth_file(path: &Path) -> Result<Option<Credentials>, AuthFileError> {
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
    parse_auth_file(&bytes, path).map(Some)
}

/// Reads the bytes of an auth file; `path` is for the errors.
///
/// # Errors
///
/// All but those about reading.
pub fn parse_auth_file(bytes: &[u8], path: &Path) -> Result<Credentials, AuthFileError> {
    if bytes.trim_ascii().is_empty() {
        return Ok(Credentials::none());
    }
    // serde_json's own text could quote a secret
    let syntax = |error: serde_json::Error| AuthFileError::Syntax {
        path: path.to_owned(),
        line: error.line(),
        column: error.column(),
    };
    let file: AuthFile = serde_json::from_slice(bytes).map_err(syntax)?;
    let mut credentials = Credentials::none();
    for (key, entry) in file.auths {
        let malformed = || AuthFileError::Entry {
            path: path.to_owned(),
            key: key.clone(),
        };
        if let Some(credential) = entry.credential().map_err(|Malformed| malformed())? {
            credentials.insert(&key, credential);
        }
    }
    Ok(credentials)
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
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Credentials, AuthFileError> {
        parse_auth_file(text.as_bytes(), Path::new("/auth.json"))
    }

    fn basic(username: &str, password: &str) -> Credential {
        Credential::Basic {
            username: username.to_owned(),
            password: password.to_owned(),
        }
    }

    #[test]
    fn entries_are_read() {
        let credentials = parse(
            r#"{"auths": {
                "https://index.docker.io/v1/": {"auth": "dXNlcjpwYTpzcw=="},
                "quay.io": {"auth": "dXNlcjpwdw"},
                "ghcr.io": {"username": "u", "password": "p"},
                "acr.io": {"auth": "MDAwMDo=", "identitytoken": "refresh"},
                "helper.io": {}
            }, "credHelpers": {"gcr.io": "gcloud"}, "HttpHeaders": {"X": "y"}}"#,
        )
        .unwrap();
        let cases = [
            ("docker.io", Some(basic("user", "pa:ss"))),
            ("quay.io", Some(basic("user", "pw"))),
            ("ghcr.io", Some(basic("u", "p"))),
            ("acr.io", Some(Credential::Identity("refresh".to_owned()))),
            ("helper.io", None),
            ("gcr.io", None),
        ];
        for (registry, expected) in cases {
            assert_eq!(
                credentials.find(registry, "x/y"),
                expected.as_ref(),
                "{registry}"
            );
        }
    }

    #[test]
    fn empty_files_have_no_credentials() {
        for text in ["", " \n", "{}", r#"{"auths":{}}"#] {
            assert!(parse(text).unwrap().is_empty(), "{text:?}");
        }
    }

    #[test]
    fn errors_name_the_registry_and_no_secret() {
        let secret = "c2VjcmV0"; // "secret": no colon
        let cases = [
            format!(r#"{{"auths":{{"quay.io":{{"auth":"{secret}"}}}}}}"#),
            format!(r#"{{"auths":{{"quay.io":{{"auth":"!{secret}"}}}}}}"#),
            format!(r#"{{"auths":{{"quay.io":{{"auth":["{secret}"]}}}}}}"#),
            format!(r#"{{"auths":"{secret}"}}"#),
            format!(r#"{{"auths":{{"quay.io":"{secret}"#),
        ];
        for text in cases {
            let error = parse(&text).unwrap_err();
            let shown = format!("{error} {error:?}");
            assert!(
                shown.contains("auth.json") && !shown.contains(secret),
                "{text}: {shown}"
            );
        }
    }

    #[test]
    fn a_missing_file_is_not_an_error() {
        assert!(
            read_auth_file(Path::new("/nonexistent/auth.json"))
                .unwrap()
                .is_none()
        );
        assert!(read_auth_file(Path::new("/dev/zero")).is_err());
    }
}
