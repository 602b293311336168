//! A look at what the archive's headers name.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rocker_types::DiffId;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, openat, readlinkat, statat};

use super::compare::xattrs;
use crate::store::archive::{ArchiveReader, Entry, EntryKind, Xattr};
use crate::store::merged::open_directory;
use crate::store::record::Record;
use crate::store::unpack::{EntryPath, OPAQUE_XATTR, is_kept_xattr, is_whiteout, join, split};
use crate::store::{Store, UnpackLimits};

/// What to look at.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// What stat(2) tells.
    Stat,
    /// Extended attributes and the targets of links as well.
    Everything,
}

/// What a name of a layer should be.
enum Expected {
    Deleted,
    /// A second name, which says nothing of the file itself.
    Name,
    Entry {
        kind: FileType,
        size: Option<u64>,
        mode: u32,
        owner: (u32, u32),
        seconds: i64,
        /// Unless only stat(2) is asked.
        rest: Option<Box<Rest>>,
    },
}

/// What stat(2) does not tell.
#[derive(Default, PartialEq, Eq)]
struct Rest {
    /// Of a symbolic link.
    target: Vec<u8>,
    /// Sorted.
    xattrs: Vec<Xattr>,
}

impl Store {
    /// Whether everything that the archive names is there, as it was, but for the content of
    /// files. `false` proves nothing.
    pub(super) fn looks_whole(
        &self,
        layer: &DiffId,
        record: &Record,
        limits: &UnpackLimits,
        look: Look,
    ) -> bool {
        // what was taken from layers below is in no header
        !record.depends_on_base()
            && self
                .expected(layer, limits, look)
                .zip(self.open_layer(layer).ok())
                .is_some_and(|(expected, root)| are_there(root.as_fd(), &expected))
    }

    /// By path; `None` for an archive in which it takes an unpacker to know, or with more names than
    /// there is memory for.
    fn expected(
        &self,
        layer: &DiffId,
        limits: &UnpackLimits,
        look: Look,
    ) -> Option<BTreeMap<Vec<u8>, Expected>> {
        let mut memory = limits.index_bytes;
        let mut expected = BTreeMap::from([(Vec::new(), Expected::of_no_root(look))]);
        let mut opaque = Vec::new();
        let mut archive = ArchiveReader::new(self.skeleton(layer).ok()?, limits);
        while let Some(entry) = archive.next().ok()? {
            memory = memory.checked_sub(memory_of(&entry, look))?;
            let path = EntryPath::parse(&entry.path, limits).ok()?;
            let Some((above, leaf)) = path.split() else {
                expected.insert(Vec::new(), Expected::of(entry, look));
                continue;
            };
            match leaf.strip_prefix(b".wh.") {
                Some(b".wh..opq") => opaque.push(above.to_vec()),
                Some(deleted) => {
                    // a name that the layer has itself stays
                    let deleted = join(above, deleted);
                    expected.entry(deleted).or_insert(Expected::Deleted);
                }
                None => {
                    let path = path.as_bytes().to_vec();
                    expected.insert(path, Expected::of(entry, look));
                }
            }
        }
        if look == Look::Everything {
            for directory in opaque {
                expected.get_mut(&directory)?.make_opaque()?;
            }
        }
        Some(expected)
    }
}

/// Where a link leads; nowhere if it is none.
fn link_target(kind: &EntryKind) -> &[u8] {
    match kind {
        EntryKind::Symlink { target } => target,
        EntryKind::File { .. }
        | EntryKind::SparseFile { .. }
        | EntryKind::Directory
        | EntryKind::HardLink { .. }
        | EntryKind::CharDevice { .. }
        | EntryKind::BlockDevice { .. }
        | EntryKind::Fifo => &[],
    }
}

/// How many bytes it takes to remember an entry.
fn memory_of(entry: &Entry, look: Look) -> usize {
    let rest = || {
        let xattrs = entry.xattrs.iter();
        let xattrs = xattrs.map(|(name, value)| size_of::<Xattr>() + name.len() + value.len());
        size_of::<Rest>() + link_target(&entry.kind).len() + xattrs.sum::<usize>()
    };
    let rest = match look {
        Look::Stat => 0,
        Look::Everything => rest(),
    };
    size_of::<(Vec<u8>, Expected)>() + entry.path.len() + rest
}

impl Expected {
    /// The root directory of an archive that has no entry for it.
    fn of_no_root(look: Look) -> Self {
        Self::Entry {
            kind: FileType::Directory,
            size: None,
            mode: 0o755,
            owner: (0, 0),
            seconds: 0,
            rest: (look == Look::Everything).then(Box::default),
        }
    }

    fn of(entry: Entry, look: Look) -> Self {
        let (kind, size) = match &entry.kind {
            EntryKind::File { size } | EntryKind::SparseFile { size, .. } => {
                (FileType::RegularFile, Some(*size))
            }
            EntryKind::Directory => (FileType::Directory, None),
            EntryKind::Symlink { target } => (FileType::Symlink, Some(target.len() as u64)),
            EntryKind::HardLink { .. } => return Self::Name,
            EntryKind::CharDevice { .. } => (FileType::CharacterDevice, None),
            EntryKind::BlockDevice { .. } => (FileType::BlockDevice, None),
            EntryKind::Fifo => (FileType::Fifo, None),
        };
        Self::Entry {
            kind,
            size,
            mode: entry.mode & 0o7777,
            owner: (entry.uid, entry.gid),
            seconds: entry.mtime.seconds,
            rest: (look == Look::Everything).then(|| Box::new(Rest::of(entry))),
        }
    }

    /// `None` for what is no directory.
    fn make_opaque(&mut self) -> Option<()> {
        let Self::Entry {
            kind: FileType::Directory,
            rest: Some(rest),
            ..
        } = self
        else {
            return None;
        };
        let mark = (OPAQUE_XATTR.as_bytes().to_vec(), b"y".to_vec());
        if !rest.xattrs.contains(&mark) {
            rest.xattrs.push(mark);
            rest.xattrs.sort();
        }
        Some(())
    }

    fn is_at(&self, directory: &OwnedFd, leaf: &[u8]) -> bool {
        let stat = statat(directory, leaf, AtFlags::SYMLINK_NOFOLLOW);
        let has_rest = || match self {
            Self::Entry {
                kind,
                rest: Some(rest),
                ..
            } => Rest::read(*kind, directory, leaf).is_some_and(|found| found == **rest),
            Self::Entry { rest: None, .. } | Self::Deleted | Self::Name => true,
        };
        stat.is_ok_and(|stat| self.fits(&stat)) && has_rest()
    }

    fn fits(&self, stat: &Stat) -> bool {
        match self {
            Self::Deleted => is_whiteout(stat),
            Self::Name => FileType::from_raw_mode(stat.st_mode) != FileType::Directory,
            Self::Entry {
                kind,
                size,
                mode,
                owner,
                seconds,
                rest: _,
            } => {
                FileType::from_raw_mode(stat.st_mode) == *kind
                    && size.is_none_or(|size| stat.st_size.cast_unsigned() == size)
                    && (*kind == FileType::Symlink || stat.st_mode & 0o7777 == *mode)
                    && (stat.st_uid, stat.st_gid) == *owner
                    && stat.st_mtime == *seconds
            }
        }
    }
}

impl Rest {
    fn of(entry: Entry) -> Self {
        let target = link_target(&entry.kind).to_vec();
        let mut xattrs = entry.xattrs;
        xattrs.retain(|(name, _)| is_kept_xattr(name));
        xattrs.sort();
        Self { target, xattrs }
    }

    /// Reads it of what is called `leaf`; `None` if that cannot be read.
    fn read(kind: FileType, directory: &OwnedFd, leaf: &[u8]) -> Option<Self> {
        let mut found = Self::default();
        if kind == FileType::Symlink {
            found.target = readlinkat(directory, leaf, Vec::new()).ok()?.into_bytes();
        }
        if matches!(kind, FileType::RegularFile | FileType::Directory) {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let file = openat(directory, leaf, flags, Mode::empty()).ok()?;
            found.xattrs = xattrs(&file).ok()?;
        }
        Some(found)
    }
}

/// Whether all of `expected` is below `root`. Neighbours stand together, so that few directories
/// are opened.
fn are_there(root: BorrowedFd<'_>, expected: &BTreeMap<Vec<u8>, Expected>) -> bool {
    let mut parent: Option<(&[u8], OwnedFd)> = None;
    expected.iter().all(|(path, expected)| {
        let (above, leaf) = split(path);
        let known = parent.take().filter(|(open, _)| *open == above);
        let opened = known.or_else(|| Some((above, open_directory(root, above).ok()?)));
        let leaf = if leaf.is_empty() { &b"."[..] } else { leaf };
        let is_there = opened
            .as_ref()
            .is_some_and(|(_, directory)| expected.is_at(directory, leaf));
        parent = opened;
        is_there
    })
}
