//! What the kernel's refusals mean to a user.

use std::io::{Error, ErrorKind as Io};

use rocker_types::ErrorKind;

/// The kind of failure that an error is.
pub(super) fn io_kind(error: &Error) -> ErrorKind {
    // The standard library's list of kinds grows.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "whatever else failed is internal"
    )]
    match error.kind() {
        Io::NotFound => ErrorKind::NotFound,
        Io::PermissionDenied | Io::ReadOnlyFilesystem => ErrorKind::Denied,
        Io::StorageFull | Io::QuotaExceeded => ErrorKind::Unavailable,
        Io::Unsupported => ErrorKind::Unsupported,
        _ => ErrorKind::Internal,
    }
}

/// What to do about it, if that is known.
pub(super) fn io_hint(error: &Error) -> Option<String> {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "most failures have no cure to name"
    )]
    let hint = match error.kind() {
        Io::StorageFull => "free some space or inodes below the data directory, then try again",
        Io::QuotaExceeded => "raise the disk quota of the data directory, then try again",
        Io::ReadOnlyFilesystem => "the data directory is on a read-only file system",
        Io::PermissionDenied => "rocker needs root",
        _ => return None,
    };
    Some(hint.to_owned())
}
