//! Why the database said no.

use std::path::PathBuf;

use rocker_types::{Diagnose, ErrorKind};

/// A failure of the database, or a race that was lost in it.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// The file cannot be opened or is not a database.
    #[error("cannot open database {path:?}")]
    Open {
        /// The file.
        path: PathBuf,
        /// sqlite's word.
        source: rusqlite::Error,
    },
    /// It is missing or empty, although what it knew of is still there.
    #[error("database {path:?} is lost: it is missing or empty, and images or containers are not")]
    Lost {
        /// The file.
        path: PathBuf,
    },
    /// Somebody else has been writing to it for longer than anybody waits.
    #[error("database {path:?} is locked by {holder}")]
    Locked {
        /// The file.
        path: PathBuf,
        /// Who holds it, in words.
        holder: String,
    },
    /// A newer rocker wrote it.
    #[error("database {path:?} has schema {found}, this rocker knows up to {known}")]
    TooNew {
        /// The file.
        path: PathBuf,
        /// Its schema number.
        found: i64,
        /// The newest that this binary understands.
        known: i64,
    },
    /// A statement failed.
    #[error("cannot {what} in the database")]
    Query {
        /// What was attempted.
        what: &'static str,
        /// sqlite's word.
        source: rusqlite::Error,
    },
    /// A stored value does not parse.
    #[error("the database holds {value:?} where {what} belongs")]
    Corrupt {
        /// What should be there.
        what: &'static str,
        /// What is there.
        value: String,
    },
    /// The name belongs to another container.
    #[error("the container name {name:?} is in use by container {holder}")]
    NameTaken {
        /// The name.
        name: String,
        /// The id of the container that has it.
        holder: String,
    },
    /// The port belongs to another container.
    #[error("port {port} is already published by container {holder}")]
    PortTaken {
        /// Address, port and protocol.
        port: String,
        /// Name of the container that has it.
        holder: String,
    },
    /// No address is left.
    #[error("no free address left in network {network:?}")]
    AddressesExhausted {
        /// The network.
        network: String,
    },
    /// No container of this name or id.
    #[error("no such container: {0}")]
    NoSuchContainer(String),
    /// The prefix fits several containers.
    #[error("{query:?} is ambiguous: it fits {}", candidates.join(", "))]
    Ambiguous {
        /// What was asked.
        query: String,
        /// Short ids of what it fits.
        candidates: Vec<String>,
    },
}

/// What helps when the file itself is damaged.
const REPAIR: &str = "run `rocker system check --repair`";

impl DbError {
    pub(crate) fn query(what: &'static str) -> impl Fn(rusqlite::Error) -> Self {
        move |source| Self::Query { what, source }
    }

    /// Whether there was no room for what was to be written.
    #[must_use]
    pub fn is_of_full_disk(&self) -> bool {
        let (Self::Open { source, .. } | Self::Query { source, .. }) = self else {
            return false;
        };
        source.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull)
    }

    /// Whether the database itself is damaged or lost, rather than out of reach: what was in it
    /// has to be found elsewhere.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        use rusqlite::ErrorCode as Code;
        match self {
            Self::Lost { .. } | Self::Corrupt { .. } => true,
            Self::Open { source, .. } | Self::Query { source, .. } => {
                is_missing_schema(source)
                    || is_misread(source)
                    || matches!(
                        source.sqlite_error_code(),
                        Some(Code::DatabaseCorrupt | Code::NotADatabase)
                    )
            }
            Self::TooNew { .. }
            | Self::Locked { .. }
            | Self::NameTaken { .. }
            | Self::PortTaken { .. }
            | Self::AddressesExhausted { .. }
            | Self::NoSuchContainer(_)
            | Self::Ambiguous { .. } => false,
        }
    }
}

/// A database of sqlite's, but with other tables than those that its version promises.
fn is_missing_schema(error: &rusqlite::Error) -> bool {
    matches!(error, rusqlite::Error::SqliteFailure(_, Some(message)) if message.starts_with("no such table"))
        || matches!(error, rusqlite::Error::SqlInputError { msg, .. } if msg.starts_with("no such "))
}

/// A value of another type or range than its column promises, or none where there must be one.
fn is_misread(error: &rusqlite::Error) -> bool {
    matches!(
        error,
        rusqlite::Error::Utf8Error(..)
            | rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            // asked for only where a row must be
            | rusqlite::Error::QueryReturnedNoRows
    )
}

impl Diagnose for DbError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NameTaken { .. }
            | Self::PortTaken { .. }
            | Self::AddressesExhausted { .. }
            | Self::Locked { .. } => ErrorKind::Conflict,
            Self::NoSuchContainer(_) => ErrorKind::NotFound,
            Self::Ambiguous { .. } => ErrorKind::Invalid,
            Self::TooNew { .. } => ErrorKind::Unsupported,
            Self::Lost { .. } | Self::Open { .. } | Self::Query { .. } | Self::Corrupt { .. } => {
                ErrorKind::Internal
            }
        }
    }

    fn hint(&self) -> Option<String> {
        use rusqlite::ErrorCode as Code;
        match self {
            Self::NameTaken { name, .. } => Some(format!(
                "remove it with `rocker rm -f {name}`, or choose another name"
            )),
            Self::PortTaken { holder, .. } => Some(format!(
                "stop it with `rocker stop {holder}`, or publish on another port"
            )),
            Self::Locked { .. } => Some("wait until that is done, or end it, and try again".into()),
            Self::TooNew { .. } => Some("use the newer rocker that wrote it".into()),
            Self::Open { .. } | Self::Query { .. } if self.is_damage() => Some(REPAIR.into()),
            Self::Open { source, .. } | Self::Query { source, .. } => {
                match source.sqlite_error_code() {
                    Some(Code::DatabaseBusy | Code::DatabaseLocked) => Some(
                        "another process holds it: see who with `fuser`, end that, and try again"
                            .into(),
                    ),
                    Some(Code::SystemIoFailure) => Some(
                        "see `dmesg` whether the disk fails; if it does, move the database away and run `rocker system check --repair`".into(),
                    ),
                    Some(Code::DiskFull) => {
                        Some("the disk is full: free some space and try again".into())
                    }
                    Some(Code::ReadOnly | Code::CannotOpen | Code::PermissionDenied) => {
                        Some("run as root, and check that the file system is not read-only".into())
                    }
                    _ => None,
                }
            }
            Self::AddressesExhausted { .. } => {
                Some("remove containers that are no longer needed".into())
            }
            Self::Corrupt { .. } | Self::Lost { .. } => Some(REPAIR.into()),
            Self::NoSuchContainer(_) | Self::Ambiguous { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::ffi;

    use super::*;

    #[test]
    fn damage_is_told_from_what_may_pass_and_each_has_a_hint() {
        let cases = [
            (ffi::SQLITE_CORRUPT, true, "system check --repair"),
            (ffi::SQLITE_NOTADB, true, "system check --repair"),
            (ffi::SQLITE_BUSY, false, "another process"),
            (ffi::SQLITE_LOCKED, false, "another process"),
            (ffi::SQLITE_FULL, false, "free some space"),
            (ffi::SQLITE_IOERR, false, "move the database away"),
            (ffi::SQLITE_READONLY, false, "read-only"),
            (ffi::SQLITE_CANTOPEN, false, "read-only"),
        ];
        for (code, is_damage, hint) in cases {
            let source = rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
            let error = DbError::query("read")(source);
            assert_eq!(error.is_damage(), is_damage, "{code}");
            let told = error.hint().unwrap_or_default();
            assert!(told.contains(hint), "{code}: {told}");
        }
        let misread = [
            rusqlite::Error::IntegralValueOutOfRange(0, -1),
            rusqlite::Error::QueryReturnedNoRows,
            rusqlite::Error::InvalidColumnType(0, "id".into(), rusqlite::types::Type::Blob),
            rusqlite::Error::FromSqlConversionFailure(
                0,
                rusqlite::types::Type::Text,
                "not a number".into(),
            ),
        ];
        for source in misread {
            let error = DbError::query("read")(source);
            assert!(error.is_damage(), "{error:?}");
            assert!(error.hint().unwrap_or_default().contains("--repair"));
        }
        let path = PathBuf::from("rocker.db");
        assert!(DbError::Lost { path: path.clone() }.is_damage());
        let newer = DbError::TooNew {
            path,
            found: 9,
            known: 2,
        };
        assert!(!newer.is_damage(), "a newer rocker can read it");
    }
}
