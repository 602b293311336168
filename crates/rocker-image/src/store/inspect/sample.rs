//! A look at what the archive's headers name.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rocker_types::DiffId;
use rustix::fs::{AtFlags, FileType, Stat, statat};

use crate::store::archive::{ArchiveReader, Entry, EntryKind};
use crate::store::merged::open_directory;
use crate::store::record::Record;
use crate::store::unpack::{EntryPath, is_whiteout, join, split};
use crate::store::{Store, UnpackLimits};

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
    },
}

impl Store {
    /// Whether everything that the archive names is there, as it was. `false` proves nothing.
    pub(super) fn looks_whole(
        &self,
        layer: &DiffId,
        record: &Record,
        limits: &UnpackLimits,
    ) -> bool {
        // what was taken from layers below is in no header
        !record.depends_on_base()
            && self
                .expected(layer, limits)
                .zip(self.open_layer(layer).ok())
                .is_some_and(|(expected, root)| are_there(root.as_fd(), &expected))
    }

    /// By path; `None` for an archive in which it takes an unpacker to know.
    fn expected(
        &self,
        layer: &DiffId,
        limits: &UnpackLimits,
    ) -> Option<BTreeMap<Vec<u8>, Expected>> {
        let mut expected = BTreeMap::from([(Vec::new(), Expected::of_no_root())]);
        let mut archive = ArchiveReader::new(self.skeleton(layer).ok()?, limits);
        while let Some(entry) = archive.next().ok()? {
            let path = EntryPath::parse(&entry.path, limits).ok()?;
            let Some((above, leaf)) = path.split() else {
                expected.insert(Vec::new(), Expected::of(&entry));
                continue;
            };
            match leaf.strip_prefix(b".wh.") {
                Some(b".wh..opq") => {}
                Some(deleted) => {
                    // a name that the layer has itself stays
                    let deleted = join(above, deleted);
                    expected.entry(deleted).or_insert(Expected::Deleted);
                }
                None => {
                    expected.insert(path.as_bytes().to_vec(), Expected::of(&entry));
                }
            }
        }
        Some(expected)
    }
}

impl Expected {
    /// The root directory of an archive that has no entry for it.
    fn of_no_root() -> Self {
        Self::Entry {
            kind: FileType::Directory,
            size: None,
            mode: 0o755,
            owner: (0, 0),
            seconds: 0,
        }
    }

    fn of(entry: &Entry) -> Self {
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
        }
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

/// Whether all of `expected` is below `root`. Neighbours stand together, so that few directories
/// are opened.
fn are_there(root: BorrowedFd<'_>, expected: &BTreeMap<Vec<u8>, Expected>) -> bool {
    let mut parent: Option<(&[u8], OwnedFd)> = None;
    expected.iter().all(|(path, expected)| {
        let (above, leaf) = split(path);
        let known = parent.take().filter(|(open, _)| *open == above);
        let opened = known.or_else(|| Some((above, open_directory(root, above).ok()?)));
        let leaf = if leaf.is_empty() { &b"."[..] } else { leaf };
        let stat = opened
            .as_ref()
            .and_then(|(_, directory)| statat(directory, leaf, AtFlags::SYMLINK_NOFOLLOW).ok());
        parent = opened;
        stat.is_some_and(|stat| expected.fits(&stat))
    })
}
