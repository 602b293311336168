//! What an archive says of one file.

use super::sparse::Extent;

/// One member of an archive. Names are as the archive has them: hostile.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) path: Vec<u8>,
    pub(crate) kind: EntryKind,
    /// Permission bits with setuid, setgid and sticky.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mtime: Mtime,
    /// In the archive's order, nothing filtered.
    pub(crate) xattrs: Vec<Xattr>,
}

impl Entry {
    /// What nobody owns but root, of no particular time.
    pub(crate) fn plain(path: &[u8], kind: EntryKind) -> Self {
        Self {
            path: path.to_vec(),
            mode: if kind == EntryKind::Directory {
                0o755
            } else {
                0o644
            },
            kind,
            uid: 0,
            gid: 0,
            mtime: Mtime {
                seconds: 0,
                nanoseconds: 0,
            },
            xattrs: Vec::new(),
        }
    }
}

/// The name and the value of an extended attribute.
pub(crate) type Xattr = (Vec<u8>, Vec<u8>);

/// What an entry makes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum EntryKind {
    /// `size` bytes follow; read them with `ArchiveReader::body_chunk`.
    File {
        size: u64,
    },
    /// Only the extents follow; everything between them is a hole.
    SparseFile {
        size: u64,
        extents: Vec<Extent>,
    },
    Directory,
    Symlink {
        target: Vec<u8>,
    },
    HardLink {
        target: Vec<u8>,
    },
    CharDevice {
        major: u64,
        minor: u64,
    },
    BlockDevice {
        major: u64,
        minor: u64,
    },
    Fifo,
}

/// A time of last modification: seconds since the epoch and nanoseconds after that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mtime {
    pub(crate) seconds: i64,
    pub(crate) nanoseconds: u32,
}
