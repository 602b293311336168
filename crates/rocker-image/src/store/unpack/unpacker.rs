//! One entry after the other.

use std::collections::BTreeSet;
use std::io::BufRead;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Uid, XattrFlags, chmodat, chownat, fchmod, fchown,
    fsetxattr, ftruncate, futimens, linkat, makedev, mknodat, openat, statat, symlinkat, unlinkat,
};
use rustix::io::{Errno, pwrite, write};

use super::directories::{Directories, Directory, DirectoryAttributes, set_times, timestamps};
use super::name::{EntryPath, join, split};
use super::whiteout::{
    WhiteoutName, is_whiteout, looks_like_whiteout, make_opaque, make_whiteout, parse_leaf,
};
use super::xattr;
use crate::store::archive::{ArchiveReader, Entry, EntryKind, Extent, Mtime};
use crate::store::{LimitExceeded, UnpackError, UnpackLimits, remove};

/// Largest device numbers that Linux has.
const MAJOR_MAX: u32 = 0xfff;
const MINOR_MAX: u32 = 0xf_ffff;

/// The time of what no entry gives one.
const EPOCH: Mtime = Mtime {
    seconds: 0,
    nanoseconds: 0,
};

/// A hard link whose target the layer does not have: some layer below must.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PendingLink {
    /// Plain path without links of the new name.
    pub(crate) path: Vec<u8>,
    /// Plain path of the target.
    pub(crate) target: Vec<u8>,
}

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
}

/// Writes the entries of one archive below one directory.
pub(crate) struct Unpacker<'a> {
    directories: Directories,
    limits: &'a UnpackLimits,
    umask: u32,
    entries: u64,
    bytes: u64,
    /// Sum of all file sizes, holes counted.
    sizes: u64,
    opaque: BTreeSet<Vec<u8>>,
    links: Vec<PendingLink>,
}

/// Where an entry goes.
struct Place<'a> {
    directory: Directory,
    leaf: &'a [u8],
}

impl Place<'_> {
    /// The name without links, for messages and notes.
    fn path(&self) -> Vec<u8> {
        join(&self.directory.path, self.leaf)
    }
}

impl<'a> Unpacker<'a> {
    /// `root` is an empty directory that nobody else knows.
    pub(crate) fn new(root: OwnedFd, limits: &'a UnpackLimits) -> Result<Self, UnpackError> {
        let umask = read_umask();
        let mut directories = Directories::new(root, limits, umask);
        directories.describe(
            Vec::new(),
            DirectoryAttributes {
                made_mode: u32::MAX,
                ..DirectoryAttributes::implied(EPOCH)
            },
        )?;
        let (opaque, links) = (BTreeSet::new(), Vec::new());
        Ok(Self {
            directories,
            limits,
            umask,
            entries: 0,
            bytes: 0,
            sizes: 0,
            opaque,
            links,
        })
    }

    /// Makes what `entry` describes; its data comes from `archive`.
    pub(crate) fn add<R: BufRead>(
        &mut self,
        mut entry: Entry,
        archive: &mut ArchiveReader<R>,
    ) -> Result<(), UnpackError> {
        self.entries += 1;
        if self.entries + self.directories.implied() > self.limits.entries {
            let object = "the number of entries".to_owned();
            return Err(LimitExceeded {
                limit: "entries",
                allowed: self.limits.entries,
                object,
            }
            .into());
        }
        let path = EntryPath::parse(&entry.path, self.limits)?;
        entry.xattrs = xattr::filter(
            path.as_bytes(),
            std::mem::take(&mut entry.xattrs),
            self.limits,
        )?;
        let Some((parent, leaf)) = path.split() else {
            return self.add_root(entry);
        };
        if parent.split(|b| *b == b'/').any(looks_like_whiteout) {
            return Err(refuse(
                path.as_bytes(),
                "a directory in its name looks like a whiteout",
            ));
        }
        let name = parse_leaf(leaf);
        if name == WhiteoutName::Malformed {
            return Err(refuse(path.as_bytes(), "it is a malformed whiteout"));
        }
        if name != WhiteoutName::Ordinary && entry.kind != (EntryKind::File { size: 0 }) {
            return Err(refuse(
                path.as_bytes(),
                "it is a whiteout, but no empty file",
            ));
        }
        let place = Place {
            directory: self.directories.open(parent, entry.mtime)?,
            leaf,
        };
        match name {
            WhiteoutName::Deleted(deleted) => self.delete(&place.directory, deleted),
            WhiteoutName::Opaque => self.hide(&place.directory),
            WhiteoutName::Ordinary | WhiteoutName::Malformed => self.add_at(&place, entry, archive),
        }
    }

    /// Gives directories their attributes; nothing may be added after that.
    pub(crate) fn finish(self) -> Result<Unpacked, UnpackError> {
        let opaque = self.opaque;
        let mut implied = self.directories.finish()?;
        implied.retain(|path| !is_below_any(path, &opaque));
        Ok(Unpacked {
            bytes: self.bytes,
            implied,
            links: self.links,
        })
    }

    fn add_root(&mut self, entry: Entry) -> Result<(), UnpackError> {
        if entry.kind != EntryKind::Directory {
            return Err(refuse(b"/", "it would replace the layer itself"));
        }
        self.directories.describe(
            Vec::new(),
            DirectoryAttributes {
                made_mode: u32::MAX,
                ..attributes(entry)
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
                self.bytes += write_whole(&file, place, archive)?;
                self.finish_file(&file, place, &entry)
            }
            EntryKind::SparseFile { size, extents } => {
                self.count_size(place, *size)?;
                let file = self.create_file(place, entry.mode)?;
                self.bytes += write_extents(&file, place, extents, archive)?;
                ftruncate(&file, *size)
                    .map_err(|error| write_error("set the size of", place, error))?;
                self.finish_file(&file, place, &entry)
            }
            EntryKind::Directory => self.add_directory(place, entry),
            EntryKind::Symlink { target } => {
                self.check_link_target(place, target)?;
                self.replacing(place, "create link", |place| {
                    symlinkat(target.as_slice(), &place.directory, place.leaf)
                })?;
                finish_node(place, &entry, None)
            }
            EntryKind::HardLink { target } => self.add_hard_link(place, target),
            EntryKind::CharDevice { major: 0, minor: 0 } => Err(refuse(
                &place.path(),
                "it is overlayfs' own mark for a deleted file",
            )),
            EntryKind::CharDevice { major, minor } => {
                self.add_node(place, &entry, FileType::CharacterDevice, (*major, *minor))
            }
            EntryKind::BlockDevice { major, minor } => {
                self.add_node(place, &entry, FileType::BlockDevice, (*major, *minor))
            }
            EntryKind::Fifo => self.add_node(place, &entry, FileType::Fifo, (0, 0)),
        }
    }

    fn count_size(&mut self, place: &Place<'_>, size: u64) -> Result<(), UnpackError> {
        self.sizes = self.sizes.saturating_add(size);
        if self.sizes > self.limits.unpacked_bytes {
            let object = format!(
                "the size of {:?} and all files before it",
                escape(&place.path())
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

    /// Owner, then mode, then attributes, then times: chown clears setuid and file
    /// capabilities, and everything but the last changes times.
    fn finish_file(
        &self,
        file: &OwnedFd,
        place: &Place<'_>,
        entry: &Entry,
    ) -> Result<(), UnpackError> {
        if let (uid, gid) = (entry.uid, entry.gid)
            && (uid != 0 || gid != 0)
        {
            fchown(file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
                .map_err(|error| write_error("change the owner of", place, error))?;
        }
        if entry.mode & 0o777 & !self.umask != entry.mode {
            fchmod(file, Mode::from_raw_mode(entry.mode))
                .map_err(|error| write_error("change the mode of", place, error))?;
        }
        for (name, value) in &entry.xattrs {
            fsetxattr(file, name.as_slice(), value, XattrFlags::empty())
                .map_err(|error| write_error("set an extended attribute of", place, error))?;
        }
        futimens(file, &timestamps(entry.mtime))
            .map_err(|error| write_error("set the times of", place, error))
    }

    /// A directory that is there already stays, with its content, and gets new attributes.
    fn add_directory(&mut self, place: &Place<'_>, entry: Entry) -> Result<(), UnpackError> {
        let attributes = attributes(entry);
        let path = place.path();
        let Some(existing) = self.inspect(place)? else {
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
            self.hide(&directory)?;
        }
        Ok(())
    }

    fn check_link_target(&self, place: &Place<'_>, target: &[u8]) -> Result<(), UnpackError> {
        if target.is_empty() || target.contains(&0) {
            return Err(refuse(&place.path(), "its target is empty or holds a NUL"));
        }
        if target.len() >= self.limits.path_bytes {
            let object = format!("the target of {:?}", escape(&place.path()));
            return Err(LimitExceeded {
                limit: "path_bytes",
                allowed: self.limits.path_bytes as u64,
                object,
            }
            .into());
        }
        Ok(())
    }

    /// The target is looked for in this layer, links in the middle of its name resolved as
    /// everywhere; a link as the last component is linked to itself, never followed.
    fn add_hard_link(&mut self, place: &Place<'_>, target: &[u8]) -> Result<(), UnpackError> {
        let target = EntryPath::parse(target, self.limits)?;
        let path = place.path();
        let Some((above, leaf)) = target.split() else {
            return Err(refuse(&path, "it is a hard link to a directory"));
        };
        let source = self
            .directories
            .find(above)?
            .map(|directory| Place { directory, leaf });
        let existing = match &source {
            Some(source) if source.path() == path => {
                return Err(refuse(&path, "it is a hard link to itself"));
            }
            Some(source) => self.inspect(source)?,
            None => None,
        };
        match (existing, source) {
            (Some(Existing::Directory), _) => {
                Err(refuse(&path, "it is a hard link to a directory"))
            }
            (Some(Existing::Whiteout), _) => Err(refuse(
                &path,
                "it is a hard link to a file that the layer deletes",
            )),
            (Some(Existing::Link | Existing::Other), Some(source)) => {
                self.replacing(place, "create hard link", |place| {
                    linkat(
                        &source.directory,
                        source.leaf,
                        &place.directory,
                        place.leaf,
                        AtFlags::empty(),
                    )
                })
            }
            _ => self.add_pending_link(place, target.as_bytes()),
        }
    }

    fn add_pending_link(&mut self, place: &Place<'_>, target: &[u8]) -> Result<(), UnpackError> {
        if let Some(existing) = self.inspect(place)? {
            self.clear(place, existing)?;
        }
        let link = PendingLink {
            path: place.path(),
            target: target.to_vec(),
        };
        self.directories
            .charge(size_of::<PendingLink>() + link.path.len() + link.target.len())?;
        self.links.push(link);
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
            _ => return Err(refuse(&place.path(), "no device has such a number")),
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
        match self.inspect(&place)? {
            None => make_whiteout(directory.as_fd(), leaf)
                .map_err(|error| write_error("create whiteout", &place, error)),
            Some(Existing::Directory) => {
                let directory = self.directories.open(&place.path(), EPOCH)?;
                self.hide(&directory)
            }
            Some(Existing::Link | Existing::Whiteout | Existing::Other) => Ok(()),
        }
    }

    /// The layer deletes the former content of `directory`.
    fn hide(&mut self, directory: &Directory) -> Result<(), UnpackError> {
        make_opaque(directory.as_fd())
            .map_err(UnpackError::write("mark opaque", &directory.path))?;
        if self.opaque.insert(directory.path.to_vec()) {
            self.directories
                .charge(directory.path.len() + size_of::<Vec<u8>>())?;
        }
        Ok(())
    }

    /// Makes something where another entry may have put something before: the last wins.
    fn replacing<T>(
        &mut self,
        place: &Place<'_>,
        attempt: &'static str,
        make: impl Fn(&Place<'_>) -> Result<T, Errno>,
    ) -> Result<T, UnpackError> {
        let mut made = make(place);
        if matches!(made, Err(Errno::EXIST))
            && let Some(existing) = self.inspect(place)?
        {
            self.clear(place, existing)?;
            made = make(place);
        }
        made.map_err(|error| write_error(attempt, place, error))
    }

    fn inspect(&self, place: &Place<'_>) -> Result<Option<Existing>, UnpackError> {
        let stat = match statat(&place.directory, place.leaf, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(write_error("inspect", place, error)),
        };
        Ok(Some(match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => Existing::Directory,
            FileType::Symlink => Existing::Link,
            _ if is_whiteout(&stat) => Existing::Whiteout,
            _ => Existing::Other,
        }))
    }

    fn clear(&mut self, place: &Place<'_>, existing: Existing) -> Result<(), UnpackError> {
        match existing {
            Existing::Directory => {
                self.directories.forget(&place.path());
                let source = remove::remove_tree(place.directory.as_fd(), place.leaf);
                return source.map_err(|source| UnpackError::Write {
                    attempt: "replace directory",
                    path: escape(&place.path()),
                    source,
                });
            }
            // Names may have been resolved through it.
            Existing::Link => self.directories.forget_open(),
            Existing::Whiteout | Existing::Other => {}
        }
        unlinkat(&place.directory, place.leaf, AtFlags::empty())
            .map_err(|error| write_error("replace", place, error))
    }
}

/// What a name of the layer is already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Existing {
    Directory,
    Link,
    Whiteout,
    Other,
}

fn attributes(entry: Entry) -> DirectoryAttributes {
    let Entry {
        mode,
        uid,
        gid,
        mtime,
        xattrs,
        ..
    } = entry;
    DirectoryAttributes {
        mode,
        made_mode: mode & 0o777,
        uid,
        gid,
        mtime,
        xattrs,
        implied: false,
    }
}

fn write_whole<R: BufRead>(
    file: &OwnedFd,
    place: &Place<'_>,
    archive: &mut ArchiveReader<R>,
) -> Result<u64, UnpackError> {
    let mut total = 0;
    loop {
        let chunk = archive.body_chunk()?;
        if chunk.is_empty() {
            return Ok(total);
        }
        let written = write(file, chunk).map_err(|error| write_error("write", place, error))?;
        archive.consume(written);
        total += written as u64;
    }
}

fn write_extents<R: BufRead>(
    file: &OwnedFd,
    place: &Place<'_>,
    extents: &[Extent],
    archive: &mut ArchiveReader<R>,
) -> Result<u64, UnpackError> {
    let mut total = 0;
    for Extent { offset, length } in extents.iter().copied() {
        let mut done = 0;
        while done < length {
            let chunk = archive.body_chunk()?;
            let rest = usize::try_from(length - done).unwrap_or(usize::MAX);
            let chunk = &chunk[..chunk.len().min(rest)];
            let written = pwrite(file, chunk, offset + done)
                .map_err(|error| write_error("write", place, error))?;
            archive.consume(written);
            done += written as u64;
        }
        total += done;
    }
    Ok(total)
}

/// Owner, mode and times of what cannot be opened. Everything is done by name and follows
/// no link: the name was made a moment ago, in a directory that only we know.
fn finish_node(place: &Place<'_>, entry: &Entry, mode: Option<u32>) -> Result<(), UnpackError> {
    let Place { directory, leaf } = place;
    if entry.uid != 0 || entry.gid != 0 {
        let (uid, gid) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
        chownat(
            directory,
            *leaf,
            Some(uid),
            Some(gid),
            AtFlags::SYMLINK_NOFOLLOW,
        )
        .map_err(|error| write_error("change the owner of", place, error))?;
    }
    if let Some(mode) = mode {
        chmodat(
            directory,
            *leaf,
            Mode::from_raw_mode(mode),
            AtFlags::empty(),
        )
        .map_err(|error| write_error("change the mode of", place, error))?;
    }
    set_times(directory.as_fd(), leaf, entry.mtime)
        .map_err(|error| write_error("set the times of", place, error))
}

/// The process' umask, without changing it. If it cannot be read, every file's mode is set
/// once more than necessary.
fn read_umask() -> u32 {
    let status = fs_err::read_to_string("/proc/self/status").unwrap_or_default();
    let umask = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    umask
        .and_then(|text| u32::from_str_radix(text.trim(), 8).ok())
        .unwrap_or(0o777)
}

fn is_below_any(path: &[u8], opaque: &BTreeSet<Vec<u8>>) -> bool {
    let mut path = path;
    while !opaque.is_empty() {
        if opaque.contains(path) {
            return true;
        }
        if path.is_empty() {
            break;
        }
        path = split(path).0;
    }
    false
}

fn escape(path: &[u8]) -> String {
    path.escape_ascii().to_string()
}

fn refuse(path: &[u8], reason: &'static str) -> UnpackError {
    UnpackError::Entry {
        path: escape(path),
        reason,
    }
}

fn write_error(attempt: &'static str, place: &Place<'_>, error: Errno) -> UnpackError {
    UnpackError::write(attempt, &place.path())(error)
}
