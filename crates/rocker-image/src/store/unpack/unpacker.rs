//! One entry after the other.

use std::collections::HashMap;
use std::io::BufRead;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use rustix::fs::{FileType, Mode, OFlags, ftruncate, makedev, mknodat, openat, symlinkat};

use super::content::{finish_file, finish_node, read_umask, write_extents, write_whole};
use super::directories::Directories;
use super::directory::{Directory, DirectoryAttributes};
use super::disk_use::DiskUse;
use super::hard_link::PendingLink;
use super::name::EntryPath;
use super::place::{Existing, Place, refuse};
use super::whiteout::{WhiteoutName, looks_like_whiteout, make_whiteout, parse_leaf};
use super::xattr;
use crate::store::archive::{ArchiveReader, Entry, EntryKind, Mtime};
use crate::store::recipe::Attic;
use crate::store::text::printable;
use crate::store::{LimitExceeded, UnpackError, UnpackLimits};

/// Largest device numbers that Linux has.
const MAJOR_MAX: u32 = 0xfff;
const MINOR_MAX: u32 = 0xf_ffff;

/// The time of what no entry gives one.
const EPOCH: Mtime = Mtime {
    seconds: 0,
    nanoseconds: 0,
};

/// What a layer turned out to be.
#[derive(Debug, Default)]
pub(crate) struct Unpacked {
    /// Bytes of file content, holes not counted.
    pub(crate) bytes: u64,
    /// Directories without an entry of their own, parents first; a layer below may know
    /// their owner and mode. Those whose former content the layer hides are left out.
    pub(crate) implied: Vec<Vec<u8>>,
    /// Hard links into layers below.
    pub(crate) links: Vec<PendingLink>,
    /// What it takes on disk, if nothing was replaced.
    pub(crate) disk_bytes: Option<u64>,
}

/// Writes the entries of one archive below one directory.
pub(crate) struct Unpacker<'a> {
    pub(super) directories: Directories,
    pub(super) limits: &'a UnpackLimits,
    pub(super) attic: Attic,
    umask: u32,
    entries: u64,
    bytes: u64,
    /// Sum of all file sizes, holes counted.
    sizes: u64,
    pub(super) links: Vec<PendingLink>,
    /// The targets of `links` by their names.
    pub(super) pending: HashMap<Vec<u8>, Rc<[u8]>>,
    /// Of everything but directories.
    pub(super) disk_use: DiskUse,
}

impl<'a> Unpacker<'a> {
    /// `root` is an empty directory that nobody else knows; content that the archive itself
    /// replaces goes to `attic`.
    pub(crate) fn new(
        root: OwnedFd,
        attic: Attic,
        limits: &'a UnpackLimits,
    ) -> Result<Self, UnpackError> {
        let umask = read_umask();
        let mut directories = Directories::new(root, limits, umask);
        directories.describe(
            Vec::new(),
            DirectoryAttributes {
                made_mode: u32::MAX,
                ..DirectoryAttributes::implied(EPOCH)
            },
        )?;
        Ok(Self {
            directories,
            limits,
            attic,
            umask,
            entries: 0,
            bytes: 0,
            sizes: 0,
            links: Vec::new(),
            pending: HashMap::new(),
            disk_use: DiskUse::new(),
        })
    }

    /// Makes what `entry` describes; its data comes from `archive`.
    pub(crate) fn add<R: BufRead>(
        &mut self,
        mut entry: Entry,
        archive: &mut ArchiveReader<R>,
    ) -> Result<(), UnpackError> {
        let path = EntryPath::parse(&entry.path, self.limits)?;
        entry.xattrs = xattr::filter(
            path.as_bytes(),
            std::mem::take(&mut entry.xattrs),
            self.limits,
        )?;
        let Some((parent, leaf)) = path.split() else {
            return self.add_root(entry);
        };
        let name = check_name(&path, parent, leaf, &entry.kind)?;
        let place = Place {
            directory: self.directories.open(parent, entry.mtime)?,
            leaf,
        };
        self.count_entry()?;
        match name {
            WhiteoutName::Deleted(deleted) => self.delete(&place.directory, deleted),
            WhiteoutName::Opaque => self.directories.hide(&place.directory),
            WhiteoutName::Ordinary | WhiteoutName::Malformed => self.add_at(&place, entry, archive),
        }
    }

    /// Gives directories their attributes; nothing may be added after that.
    pub(crate) fn finish(self) -> Result<(Unpacked, Attic), UnpackError> {
        let (implied, directory_bytes) = self.directories.finish()?;
        let unpacked = Unpacked {
            bytes: self.bytes,
            implied,
            links: self.links,
            disk_bytes: self.disk_use.finish(directory_bytes),
        };
        Ok((unpacked, self.attic))
    }

    fn add_root(&mut self, entry: Entry) -> Result<(), UnpackError> {
        if entry.kind != EntryKind::Directory {
            return Err(refuse(b"/", "it would replace the layer itself"));
        }
        self.directories.describe(
            Vec::new(),
            DirectoryAttributes {
                made_mode: u32::MAX,
                ..DirectoryAttributes::of(entry)
            },
        )
    }

    fn add_at<R: BufRead>(
        &mut self,
        place: &Place<'_>,
        entry: Entry,
        archive: &mut ArchiveReader<R>,
    ) -> Result<(), UnpackError> {
        match &entry.kind {
            EntryKind::File { size } => {
                self.count_size(place, *size)?;
                let file = self.create_file(place, entry.mode)?;
                if *size > 0 {
                    self.begin_content(place, archive)?;
                }
                self.bytes += write_whole(&file, place, archive)?;
                self.finish_file(file, place, &entry)
            }
            EntryKind::SparseFile { size, extents } => {
                self.count_size(place, *size)?;
                let file = self.create_file(place, entry.mode)?;
                if !extents.is_empty() {
                    self.begin_content(place, archive)?;
                }
                self.bytes += write_extents(&file, place, extents, archive)?;
                ftruncate(&file, *size).map_err(|error| place.error("set the size of", error))?;
                self.finish_file(file, place, &entry)
            }
            EntryKind::Directory => self.add_directory(place, entry),
            EntryKind::Symlink { target } => {
                self.check_link_target(place, target)?;
                self.replacing(place, "create link", |place| {
                    symlinkat(target.as_slice(), &place.directory, place.leaf)
                })?;
                finish_node(place, &entry, None)?;
                self.disk_use.add_named(place)
            }
            EntryKind::HardLink { target } => self.add_hard_link(place, target),
            EntryKind::CharDevice { major: 0, minor: 0 } => {
                place.refuse("it is overlayfs' own mark for a deleted file")
            }
            EntryKind::CharDevice { major, minor } => {
                self.add_node(place, &entry, FileType::CharacterDevice, (*major, *minor))
            }
            EntryKind::BlockDevice { major, minor } => {
                self.add_node(place, &entry, FileType::BlockDevice, (*major, *minor))
            }
            EntryKind::Fifo => self.add_node(place, &entry, FileType::Fifo, (0, 0)),
        }
    }

    /// What is stored from now on is in the file at `place`.
    fn begin_content<R: BufRead>(
        &mut self,
        place: &Place<'_>,
        archive: &mut ArchiveReader<R>,
    ) -> Result<(), UnpackError> {
        self.attic.count_file();
        Ok(archive.begin_file(&place.path())?)
    }

    fn count_entry(&mut self) -> Result<(), UnpackError> {
        self.entries += 1;
        let allowed = self.limits.entries;
        if self.entries + self.directories.implied() > allowed {
            let object = "the number of entries".to_owned();
            let limit = "entries";
            return Err(LimitExceeded {
                limit,
                allowed,
                object,
            }
            .into());
        }
        Ok(())
    }

    fn count_size(&mut self, place: &Place<'_>, size: u64) -> Result<(), UnpackError> {
        self.sizes = self.sizes.saturating_add(size);
        if self.sizes > self.limits.unpacked_bytes {
            let object = format!(
                "the size of {:?} and all files before it",
                printable(&place.path())
            );
            return Err(LimitExceeded {
                limit: "unpacked_bytes",
                allowed: self.limits.unpacked_bytes,
                object,
            }
            .into());
        }
        Ok(())
    }

    fn create_file(&mut self, place: &Place<'_>, mode: u32) -> Result<OwnedFd, UnpackError> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(mode & 0o777);
        self.replacing(place, "create file", |place| {
            openat(&place.directory, place.leaf, flags, mode)
        })
    }

    fn finish_file(
        &mut self,
        file: OwnedFd,
        place: &Place<'_>,
        entry: &Entry,
    ) -> Result<(), UnpackError> {
        finish_file(&file, place, entry, self.umask)?;
        self.disk_use.add_file(file, place)
    }

    /// A directory that is there already stays, with its content, and gets new attributes.
    fn add_directory(&mut self, place: &Place<'_>, entry: Entry) -> Result<(), UnpackError> {
        let attributes = DirectoryAttributes::of(entry);
        let path = place.path();
        let Some(existing) = place.inspect()? else {
            return self
                .directories
                .declare(&place.directory, place.leaf, attributes);
        };
        if existing == Existing::Directory {
            let made_mode = self.directories.made_mode(&path);
            return self.directories.describe(
                path,
                DirectoryAttributes {
                    made_mode,
                    ..attributes
                },
            );
        }
        self.clear(place, existing)?;
        self.directories
            .declare(&place.directory, place.leaf, attributes)?;
        if existing == Existing::Whiteout {
            let directory = self.directories.open(&path, EPOCH)?;
            self.directories.hide(&directory)?;
        }
        Ok(())
    }

    fn check_link_target(&self, place: &Place<'_>, target: &[u8]) -> Result<(), UnpackError> {
        if target.is_empty() || target.contains(&0) {
            return place.refuse("its target is empty or holds a NUL");
        }
        if target.len() >= self.limits.path_bytes {
            let object = format!("the target of {:?}", printable(&place.path()));
            return Err(LimitExceeded {
                limit: "path_bytes",
                allowed: self.limits.path_bytes as u64,
                object,
            }
            .into());
        }
        Ok(())
    }

    fn add_node(
        &mut self,
        place: &Place<'_>,
        entry: &Entry,
        kind: FileType,
        (major, minor): (u64, u64),
    ) -> Result<(), UnpackError> {
        let device = match (u32::try_from(major), u32::try_from(minor)) {
            (Ok(major), Ok(minor)) if major <= MAJOR_MAX && minor <= MINOR_MAX => {
                makedev(major, minor)
            }
            _ => return place.refuse("no device has such a number"),
        };
        let mode = Mode::from_raw_mode(entry.mode & 0o777);
        self.replacing(place, "create node", |place| {
            mknodat(&place.directory, place.leaf, kind, mode, device)
        })?;
        finish_node(place, entry, Some(entry.mode))
    }

    /// The layer deletes `leaf` of the layers below. What it has itself under that name
    /// stays, since whiteouts speak of layers below only.
    fn delete(&mut self, directory: &Directory, leaf: &[u8]) -> Result<(), UnpackError> {
        let place = Place {
            directory: directory.clone(),
            leaf,
        };
        match place.inspect()? {
            None => make_whiteout(directory.as_fd(), leaf)
                .map_err(|error| place.error("create whiteout", error)),
            Some(Existing::Directory) => {
                let directory = self.directories.open(&place.path(), EPOCH)?;
                self.directories.hide(&directory)
            }
            Some(Existing::Link | Existing::Whiteout | Existing::Content | Existing::Other) => {
                Ok(())
            }
        }
    }
}

/// What the name says about layers below; only an empty file may say anything.
fn check_name<'a>(
    path: &EntryPath,
    parent: &[u8],
    leaf: &'a [u8],
    kind: &EntryKind,
) -> Result<WhiteoutName<'a>, UnpackError> {
    let refuse = |reason| Err(refuse(path.as_bytes(), reason));
    if parent.split(|b| *b == b'/').any(looks_like_whiteout) {
        return refuse("a directory in its name looks like a whiteout");
    }
    match parse_leaf(leaf) {
        WhiteoutName::Malformed => refuse("it is a malformed whiteout"),
        WhiteoutName::Deleted(_) | WhiteoutName::Opaque
            if *kind != (EntryKind::File { size: 0 }) =>
        {
            refuse("it is a whiteout, but no empty file")
        }
        name @ (WhiteoutName::Ordinary | WhiteoutName::Deleted(_) | WhiteoutName::Opaque) => {
            Ok(name)
        }
    }
}
