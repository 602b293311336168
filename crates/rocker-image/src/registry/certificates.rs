//! What a registry has of its own: authorities that sign its certificate, and a certificate
//! that tells it who we are. `/etc/docker/certs.d/HOST:PORT/` and its like.

use std::ffi::OsStr;
use std::fmt;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use rocker_types::{Diagnose, ErrorKind};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// The largest file, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// The most entries of a directory that are looked at.
const MOST_FILES: usize = 256;

/// Authorities for one registry, and who we are to it.
#[derive(Default)]
pub struct Certificates {
    pub(super) authorities: Vec<CertificateDer<'static>>,
    pub(super) client: Option<Client>,
}

/// A certificate of ours, with those that lead to its authority, and its key.
pub(super) struct Client {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
}

impl Clone for Certificates {
    fn clone(&self) -> Self {
        let client = self.client.as_ref().map(|client| Client {
            chain: client.chain.clone(),
            key: client.key.clone_key(),
        });
        Self {
            authorities: self.authorities.clone(),
            client,
        }
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates")
            .field("authorities", &self.authorities.len())
            .field("client", &self.client.is_some())
            .finish()
    }
}

/// Why a directory of certificates is of no use.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The directory or a file of it cannot be read.
    #[error("cannot read {path:?}")]
    Read {
        /// The directory or file.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },

    /// A file is not what its name says.
    #[error("{path:?} is not {what} in PEM")]
    Pem {
        /// The file.
        path: PathBuf,
        /// `a certificate` or `a private key`.
        what: &'static str,
    },

    /// A certificate without a key, or a key without one.
    #[error("{path:?} needs {other:?} beside it")]
    Half {
        /// The file that is there.
        path: PathBuf,
        /// The file that is not.
        other: PathBuf,
    },
}

impl Diagnose for CertificateError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Half { .. } => {
                Some("NAME.cert and NAME.key belong together; authorities are *.crt".to_owned())
            }
            Self::Read { .. } | Self::Pem { .. } => None,
        }
    }
}

impl Certificates {
    /// Reads `*.crt` (authorities), and `NAME.cert` with `NAME.key` (a certificate of ours; the
    /// first by name) of a directory. `None` if there is no such directory, or nothing in it.
    ///
    /// # Errors
    ///
    /// [`CertificateError`]: what is there and not understood is never passed over.
    pub fn read(directory: &Path) -> Result<Option<Self>, CertificateError> {
        let Some(files) = list(directory)? else {
            return Ok(None);
        };
        let mut found = Self::default();
        for path in &files {
            match path.extension().and_then(OsStr::to_str) {
                Some("crt") => found.authorities.extend(certificates(path)?),
                Some("cert") => {
                    let key = path.with_extension("key");
                    if !files.contains(&key) {
                        let (path, other) = (path.clone(), key);
                        return Err(CertificateError::Half { path, other });
                    }
                    if found.client.is_none() {
                        let (chain, key) = (certificates(path)?, private_key(&key)?);
                        found.client = Some(Client { chain, key });
                    }
                }
                Some("key") => {
                    let other = path.with_extension("cert");
                    if !files.contains(&other) {
                        let path = path.clone();
                        return Err(CertificateError::Half { path, other });
                    }
                }
                Some(_) | None => {}
            }
        }
        let is_empty = found.authorities.is_empty() && found.client.is_none();
        Ok((!is_empty).then_some(found))
    }
}

/// The directory's entries by name; `None` if it does not exist.
fn list(directory: &Path) -> Result<Option<Vec<PathBuf>>, CertificateError> {
    let failed = |source| CertificateError::Read {
        path: directory.to_owned(),
        source,
    };
    let entries = match fs_err::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    let mut paths: Vec<_> = paths
        .take(MOST_FILES)
        .collect::<Result<_, _>>()
        .map_err(failed)?;
    paths.sort();
    Ok(Some(paths))
}

fn read(path: &Path) -> Result<Vec<u8>, CertificateError> {
    let failed = |source| CertificateError::Read {
        path: path.to_owned(),
        source,
    };
    let mut bytes = Vec::new();
    fs_err::File::open(path)
        .and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes))
        .map_err(failed)?;
    // half of a bundle would be believed without a word
    match bytes.len() as u64 > MAX_BYTES {
        true => Err(failed(std::io::ErrorKind::FileTooLarge.into())),
        false => Ok(bytes),
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let bytes = read(path)?;
    let found = CertificateDer::pem_slice_iter(&bytes).collect::<Result<Vec<_>, _>>();
    found
        .ok()
        .filter(|found| !found.is_empty())
        .ok_or_else(|| CertificateError::Pem {
            path: path.to_owned(),
            what: "a certificate",
        })
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, CertificateError> {
    PrivateKeyDer::from_pem_slice(&read(path)?).map_err(|_| CertificateError::Pem {
        path: path.to_owned(),
        what: "a private key",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Good enough to be read; that it signs nothing is found out later.
    fn pem(label: &str) -> String {
        format!("-----BEGIN {label}-----\nAQID\n-----END {label}-----\n")
    }

    fn read_files(files: &[(&str, String)]) -> Result<Option<Certificates>, CertificateError> {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs_err::write(directory.path().join(name), text).unwrap();
        }
        Certificates::read(directory.path())
    }

    #[test]
    fn names_say_what_files_are() {
        let (certificate, key) = (pem("CERTIFICATE"), pem("PRIVATE KEY"));
        let found = read_files(&[
            ("ca.crt", format!("{certificate}{certificate}")),
            ("other.crt", certificate.clone()),
            ("client.cert", certificate.clone()),
            ("client.key", key),
            ("README", "x".to_owned()),
        ]);
        let found = found.unwrap().unwrap();
        assert_eq!(found.authorities.len(), 3);
        assert_eq!(found.client.unwrap().chain.len(), 1);
        assert!(read_files(&[]).unwrap().is_none());
        assert!(
            Certificates::read(Path::new("/nonexistent"))
                .unwrap()
                .is_none()
        );
    }

    #[test]
    fn a_bundle_is_read_whole_or_not_at_all() {
        let bundle = pem("CERTIFICATE").repeat(20_000);
        let refused = read_files(&[("ca.crt", bundle)]);
        assert!(
            matches!(refused, Err(CertificateError::Read { .. })),
            "{refused:?}"
        );
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        let (certificate, key) = (pem("CERTIFICATE"), pem("PRIVATE KEY"));
        for (files, says) in [
            (vec![("ca.crt", "x".to_owned())], "a certificate"),
            (vec![("a.cert", certificate.clone())], "a.key"),
            (vec![("a.key", key.clone())], "a.cert"),
            (
                vec![("a.key", certificate.clone()), ("a.cert", certificate)],
                "a private key",
            ),
        ] {
            let error = read_files(&files).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
        let shown = format!("{:?}", read_files(&[("a.key", key)]).unwrap_err());
        assert!(!shown.contains("AQID"), "{shown}");
    }
}
