//! Why bytes are not an archive that everybody reads the same way.

use std::io;

use crate::store::LimitExceeded;

/// Why a tar archive was refused. Offsets count uncompressed bytes from its beginning.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The bytes stopped coming.
    #[error("cannot read the archive at byte {offset}")]
    Read {
        /// Where the reader was.
        offset: u64,
        /// What the source said.
        source: io::Error,
    },
    /// The archive ends inside an entry.
    #[error("archive is cut off at byte {offset}, inside {inside}")]
    Truncated {
        /// Where it ends.
        offset: u64,
        /// What was being read.
        inside: &'static str,
    },
    /// A header's checksum is wrong, so the bytes are no tar header at all.
    #[error("no tar header at byte {offset}: wrong checksum")]
    Checksum {
        /// Where the header should be.
        offset: u64,
    },
    /// A numeric field holds no number, or one that does not fit.
    #[error("header at byte {offset} has an unusable {field}")]
    Number {
        /// Where the header is.
        offset: u64,
        /// Which field.
        field: &'static str,
    },
    /// A pax record is malformed.
    #[error("pax header before byte {offset} is malformed: {reason}")]
    Pax {
        /// Where the pax header ends.
        offset: u64,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A sparse file's map is malformed.
    #[error("sparse map of {path:?} is malformed: {reason}")]
    Sparse {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The entry could be read in more than one way.
    #[error("entry {path:?} is ambiguous: {reason}")]
    Ambiguous {
        /// The entry.
        path: String,
        /// Where readers disagree.
        reason: &'static str,
    },
    /// The entry's type is none that a layer may have.
    #[error("entry {path:?} has unsupported type {typeflag:?}")]
    UnsupportedType {
        /// The entry.
        path: String,
        /// The type letter.
        typeflag: char,
    },
    /// A header that describes the next entry is the last thing in the archive.
    #[error("archive ends after a header that describes a further entry")]
    DanglingExtension,
    /// A block of zeros, which ends an archive, is followed by more.
    #[error("archive goes on at byte {offset} after an end marker")]
    AfterEnd {
        /// Where it goes on.
        offset: u64,
    },
    /// Not even an end.
    #[error("the archive has no bytes at all")]
    Empty,
    /// It has ended, and what follows does not end.
    #[error("more than {limit} bytes follow the end of the archive at byte {offset}")]
    Trailing {
        /// Where the archive ends.
        offset: u64,
        /// How many bytes may follow.
        limit: u64,
    },
    /// How the archive is made could not be written down.
    #[error("cannot write down how the archive is made")]
    Recipe {
        /// What the kernel said.
        source: io::Error,
    },
    /// Too much of something.
    #[error(transparent)]
    Limit(#[from] LimitExceeded),
}
