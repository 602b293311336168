//! The layer's directories: found, made when missing, given their times last.

use std::collections::{BTreeMap, HashMap};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, ResolveFlags, mkdirat, openat, openat2, readlinkat, statat,
    unlinkat,
};
use rustix::io::Errno;

use super::directory::{Directory, DirectoryAttributes};
use super::name::{join, split};
use super::opaque::{Opaque, below};
use super::place::refuse;
use super::whiteout::{is_whiteout, make_opaque};
use crate::store::archive::Mtime;
use crate::store::{LimitExceeded, UnpackError, UnpackLimits};

/// Open directories kept at a time. Archives walk depth first, so few are enough, and many
/// layers unpack at once in one process with 1024 descriptors.
const OPEN_MAX: usize = 64;

/// Links followed while one name is resolved; Linux's own limit.
const LINKS_MAX: usize = 40;

/// What to do about a directory that is not there.
#[derive(Clone, Copy)]
enum Missing {
    /// Make it, with this time.
    Make(Mtime),
    /// Report that it is missing.
    Leave,
}

/// What remembering a directory takes beside its name. Where names come in order the nodes of the
/// map are half full, and each name is an allocation of its own.
const DIRECTORY_BYTES: usize = 2 * size_of::<(Vec<u8>, DirectoryAttributes)>() + 32;

/// The same for an extended attribute: two allocations.
const XATTR_BYTES: usize = 2 * size_of::<Vec<u8>>() + 32;

/// The state of resolving one name.
struct Walk {
    missing: Missing,
    links: usize,
}

/// All directories of one layer.
pub(super) struct Directories {
    root: Directory,
    /// Names as archives spell them, links in the middle included.
    open: HashMap<Vec<u8>, Directory>,
    last: (Vec<u8>, Directory),
    /// By names without links.
    attributes: BTreeMap<Vec<u8>, DirectoryAttributes>,
    opaque: Opaque,
    index_bytes: usize,
    index_bytes_max: usize,
    implied: u64,
    umask: u32,
    has_openat2: bool,
}

impl Directories {
    pub(super) fn new(root: OwnedFd, limits: &UnpackLimits, umask: u32) -> Self {
        let root = Directory {
            path: Rc::from(&b""[..]),
            fd: Rc::new(root),
        };
        Self {
            last: (Vec::new(), root.clone()),
            root,
            open: HashMap::new(),
            attributes: BTreeMap::new(),
            opaque: Opaque::default(),
            index_bytes: 0,
            index_bytes_max: limits.index_bytes,
            implied: 0,
            umask,
            has_openat2: true,
        }
    }

    /// How many directories were made without an entry of their own.
    pub(super) fn implied(&self) -> u64 {
        self.implied
    }

    /// Opens the directory at a plain path, and makes what is missing of it; `mtime` is the
    /// time that new directories get.
    pub(super) fn open(&mut self, path: &[u8], mtime: Mtime) -> Result<Directory, UnpackError> {
        if self.last.0 != path {
            let mut walk = Walk {
                missing: Missing::Make(mtime),
                links: 0,
            };
            let directory = self
                .walk(path, &mut walk)?
                .ok_or_else(|| refuse(path, "it is not in the layer"))?;
            self.last = (path.to_vec(), directory);
        }
        Ok(self.last.1.clone())
    }

    /// Opens the directory at a plain path if the layer has it.
    pub(super) fn find(&mut self, path: &[u8]) -> Result<Option<Directory>, UnpackError> {
        self.walk(
            path,
            &mut Walk {
                missing: Missing::Leave,
                links: 0,
            },
        )
    }

    /// Goes from the root down `path`, starting at the deepest directory that is open.
    fn walk(&mut self, path: &[u8], walk: &mut Walk) -> Result<Option<Directory>, UnpackError> {
        let (mut current, mut done) = self.deepest_open(path);
        while done < path.len() {
            let start = if done == 0 { 0 } else { done + 1 };
            let end = path[start..]
                .iter()
                .position(|b| *b == b'/')
                .map_or(path.len(), |slash| start + slash);
            let Some(next) = self.step(&current, &path[start..end], walk)? else {
                return Ok(None);
            };
            current = next;
            done = end;
            self.remember(&path[..end], &current);
        }
        Ok(Some(current))
    }

    fn deepest_open(&self, path: &[u8]) -> (Directory, usize) {
        let mut end = path.len();
        while end > 0 {
            if let Some(directory) = self.open.get(&path[..end]) {
                return (directory.clone(), end);
            }
            end = split(&path[..end]).0.len();
        }
        (self.root.clone(), 0)
    }

    fn remember(&mut self, path: &[u8], directory: &Directory) {
        if self.open.len() >= OPEN_MAX {
            self.open.clear();
        }
        self.open.insert(path.to_vec(), directory.clone());
    }

    /// One component further down: into a directory, through a link, or into a new one.
    fn step(
        &mut self,
        parent: &Directory,
        leaf: &[u8],
        walk: &mut Walk,
    ) -> Result<Option<Directory>, UnpackError> {
        let path = join(&parent.path, leaf);
        match (self.open_one(parent.as_fd(), leaf), walk.missing) {
            (Ok(fd), _) => {
                return Ok(Some(Directory {
                    path: path.into(),
                    fd: Rc::new(fd),
                }));
            }
            (Err(Errno::NOENT), Missing::Leave) => return Ok(None),
            (Err(Errno::NOENT), Missing::Make(mtime)) => {
                return self.imply(parent, leaf, mtime).map(Some);
            }
            (Err(Errno::LOOP | Errno::NOTDIR), _) => {}
            (Err(error), _) => return Err(UnpackError::write("open directory", &path)(error)),
        }
        let stat = statat(parent, leaf, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(UnpackError::write("inspect", &path))?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink {
            return self.follow(parent, leaf, walk);
        }
        match walk.missing {
            Missing::Leave => Ok(None),
            Missing::Make(mtime) if is_whiteout(&stat) => {
                unlinkat(parent, leaf, AtFlags::empty())
                    .map_err(UnpackError::write("replace", &path))?;
                let directory = self.imply(parent, leaf, mtime)?;
                self.hide(&directory)?;
                Ok(Some(directory))
            }
            Missing::Make(_) => Err(refuse(&path, "it is a file, and another entry is below it")),
        }
    }

    /// A link in the middle of a name: resolved as in a chroot, so that the root is the
    /// layer's and `..` stops there.
    fn follow(
        &mut self,
        parent: &Directory,
        leaf: &[u8],
        walk: &mut Walk,
    ) -> Result<Option<Directory>, UnpackError> {
        let path = join(&parent.path, leaf);
        walk.links += 1;
        if walk.links > LINKS_MAX {
            return Err(refuse(
                &path,
                "its name leads through too many symbolic links",
            ));
        }
        let target =
            readlinkat(parent, leaf, Vec::new()).map_err(UnpackError::write("read link", &path))?;
        let target = target.as_bytes();
        let mut current = if target.starts_with(b"/") {
            self.root.clone()
        } else {
            parent.clone()
        };
        for component in target.split(|b| *b == b'/') {
            let next = match component {
                b"" | b"." => continue,
                // `current.path` has no links, so its own parent is the right one.
                b".." => self.walk(split(&current.path).0, walk)?,
                _ => self.step(&current, component, walk)?,
            };
            let Some(next) = next else { return Ok(None) };
            current = next;
        }
        Ok(Some(current))
    }

    /// Makes a directory that no entry has described yet.
    fn imply(
        &mut self,
        parent: &Directory,
        leaf: &[u8],
        mtime: Mtime,
    ) -> Result<Directory, UnpackError> {
        let path = join(&parent.path, leaf);
        self.implied += 1;
        self.declare(parent, leaf, DirectoryAttributes::implied(mtime))?;
        let fd = self
            .open_one(parent.as_fd(), leaf)
            .map_err(UnpackError::write("open directory", &path))?;
        Ok(Directory {
            path: path.into(),
            fd: Rc::new(fd),
        })
    }

    /// Makes a directory that is not there.
    pub(super) fn declare(
        &mut self,
        parent: &Directory,
        leaf: &[u8],
        attributes: DirectoryAttributes,
    ) -> Result<(), UnpackError> {
        let path = join(&parent.path, leaf);
        // setgid and friends come last: what is made inside would inherit them.
        let mode = Mode::from_raw_mode(attributes.mode & 0o777);
        mkdirat(parent, leaf, mode).map_err(UnpackError::write("create directory", &path))?;
        self.describe(path, attributes)
    }

    /// The layer deletes the former content of `directory`.
    pub(super) fn hide(&mut self, directory: &Directory) -> Result<(), UnpackError> {
        make_opaque(directory.as_fd())
            .map_err(UnpackError::write("mark opaque", &directory.path))?;
        if self.opaque.insert(&directory.path) {
            self.charge(directory.path.len() + size_of::<Vec<u8>>())?;
        }
        Ok(())
    }

    /// Notes what the directory at `path` gets in the end; a later note replaces an earlier.
    pub(super) fn describe(
        &mut self,
        path: Vec<u8>,
        attributes: DirectoryAttributes,
    ) -> Result<(), UnpackError> {
        let xattrs: usize = attributes
            .xattrs
            .iter()
            .map(|(name, value)| name.len() + value.len() + XATTR_BYTES)
            .sum();
        self.charge(path.len() + DIRECTORY_BYTES + xattrs)?;
        self.attributes.insert(path, attributes);
        Ok(())
    }

    /// Counts memory that is held until the end of the layer.
    pub(super) fn charge(&mut self, bytes: usize) -> Result<(), UnpackError> {
        self.index_bytes += bytes;
        if self.index_bytes > self.index_bytes_max {
            let allowed = self.index_bytes_max as u64;
            let object = "the memory for names that are needed until the end".to_owned();
            return Err(LimitExceeded {
                limit: "index_bytes",
                allowed,
                object,
            }
            .into());
        }
        Ok(())
    }

    /// What the directory at `path` was made with; a mode that none has if unknown.
    pub(super) fn made_mode(&self, path: &[u8]) -> u32 {
        self.attributes
            .get(path)
            .map_or(u32::MAX, |attributes| attributes.made_mode)
    }

    /// Forgets a directory that was removed, with everything below it.
    pub(super) fn forget(&mut self, path: &[u8]) {
        self.forget_open();
        self.opaque.forget(path);
        self.attributes.remove(path);
        let below = self.attributes.range(below(path));
        let below: Vec<_> = below.map(|(path, _)| path.clone()).collect();
        for path in below {
            self.attributes.remove(&path);
        }
    }

    /// Forgets which names lead where, after one of them was replaced.
    pub(super) fn forget_open(&mut self) {
        self.open.clear();
        self.last = (Vec::new(), self.root.clone());
    }

    /// Gives every directory its owner, mode, attributes and times, and returns the names
    /// of those that only other entries implied and that a layer below may know, and the bytes
    /// that all take on disk.
    pub(super) fn finish(mut self) -> Result<(Vec<Vec<u8>>, u64), UnpackError> {
        self.forget_open();
        let attributes = std::mem::take(&mut self.attributes);
        let (mut implied, mut disk_bytes) = (Vec::new(), 0);
        // Children sort behind their parents, so from the back nothing done here touches
        // a directory that has its times already.
        for (path, attributes) in attributes.into_iter().rev() {
            let parent = self.open(parent_of(&path), attributes.mtime)?;
            disk_bytes += attributes.apply(&parent, &path, self.umask)?;
            if attributes.implied && !self.opaque.covers(&path) {
                implied.push(path);
            }
        }
        implied.reverse();
        Ok((implied, disk_bytes))
    }

    /// Opens one component as a directory, never through a link or into another mount.
    fn open_one(&mut self, parent: BorrowedFd<'_>, leaf: &[u8]) -> Result<OwnedFd, Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        if self.has_openat2 {
            let resolve = ResolveFlags::BENEATH
                | ResolveFlags::NO_SYMLINKS
                | ResolveFlags::NO_MAGICLINKS
                | ResolveFlags::NO_XDEV;
            match openat2(parent, leaf, flags, Mode::empty(), resolve) {
                // Before Linux 5.6, or behind an old seccomp profile.
                Err(Errno::NOSYS | Errno::PERM) => self.has_openat2 = false,
                result => return result,
            }
        }
        // A single plain component cannot leave its directory either way.
        openat(parent, leaf, flags, Mode::empty())
    }
}

/// Where a directory is; the root is in itself.
fn parent_of(path: &[u8]) -> &[u8] {
    if path.is_empty() { path } else { split(path).0 }
}
