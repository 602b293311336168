//! Where an entry goes, and what is there already.

use rustix::fs::{AtFlags, FileType, statat};
use rustix::io::Errno;

use super::directory::Directory;
use super::name::join;
use super::whiteout::is_whiteout;
use crate::store::UnpackError;
use crate::store::text::printable;

/// Where an entry goes.
pub(crate) struct Place<'a> {
    pub(crate) directory: Directory,
    pub(crate) leaf: &'a [u8],
}

/// What a name of the layer is already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Existing {
    Directory,
    Link,
    Whiteout,
    /// A regular file that is not empty.
    Content,
    Other,
}

impl Place<'_> {
    /// The name without links, for messages and notes.
    pub(crate) fn path(&self) -> Vec<u8> {
        join(&self.directory.path, self.leaf)
    }

    /// What the kernel refused to do here.
    pub(crate) fn error(&self, attempt: &'static str, error: Errno) -> UnpackError {
        UnpackError::write(attempt, &self.path())(error)
    }

    /// What no layer may do here.
    pub(super) fn refuse<T>(&self, reason: &'static str) -> Result<T, UnpackError> {
        Err(refuse(&self.path(), reason))
    }

    /// What is there already.
    pub(super) fn inspect(&self) -> Result<Option<Existing>, UnpackError> {
        let stat = match statat(&self.directory, self.leaf, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(self.error("inspect", error)),
        };
        let kind = FileType::from_raw_mode(stat.st_mode);
        Ok(Some(if kind == FileType::Directory {
            Existing::Directory
        } else if kind == FileType::Symlink {
            Existing::Link
        } else if is_whiteout(&stat) {
            Existing::Whiteout
        } else if kind == FileType::RegularFile && stat.st_size > 0 {
            Existing::Content
        } else {
            Existing::Other
        }))
    }
}

/// What no layer may do at `path`.
pub(super) fn refuse(path: &[u8], reason: &'static str) -> UnpackError {
    UnpackError::Entry {
        path: printable(path),
        reason,
    }
}
