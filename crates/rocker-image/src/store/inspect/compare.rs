//! Two trees, name by name.

use std::collections::BTreeSet;
use std::ffi::{CStr, CString};
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, Stat, fgetxattr, flistxattr, fstat, openat, readlinkat,
    statat,
};
use rustix::io::{Errno, pread};

use super::LayerFault;
use crate::store::archive::Xattr;
use crate::store::merged::open_directory;
use crate::store::record::decode;
use crate::store::text::printable;
use crate::store::unpack::{is_kept_xattr, join, split};

/// So many findings are enough to know what happened.
const FAULTS_MAX: usize = 8;

const OTHER_TIME: &str = "has another time of modification";

/// What is read of a file at once.
const BUFFER_BYTES: usize = 64 << 10;

/// A layer as it should be, the one on disk, and where they differ.
pub(super) struct Comparison<'a> {
    expected: BorrowedFd<'a>,
    actual: BorrowedFd<'a>,
    left_out: BTreeSet<Vec<u8>>,
    faults: Vec<LayerFault>,
}

impl<'a> Comparison<'a> {
    pub(super) fn new(expected: BorrowedFd<'a>, actual: BorrowedFd<'a>) -> Self {
        Self {
            expected,
            actual,
            left_out: BTreeSet::new(),
            faults: Vec::new(),
        }
    }

    /// Names about which nothing is known, but what lies below them.
    pub(super) fn leave_out(&mut self, paths: impl Iterator<Item = Vec<u8>>) {
        self.left_out.extend(paths);
    }

    /// What was found; that a directory has another time is told last, since what came or went in
    /// it is the reason.
    pub(super) fn into_faults(mut self) -> Vec<LayerFault> {
        let is_time = |fault: &LayerFault| matches!(fault, LayerFault::Changed { what, .. } if *what == OTHER_TIME);
        let order = |fault: &LayerFault| (is_time(fault), fault.to_string());
        self.faults.sort_by_cached_key(order);
        self.faults
    }

    /// Compares all names, with everything that is known of them but the content of files.
    pub(super) fn run(&mut self) -> Result<(), Errno> {
        let roots = (fstat(self.expected)?, fstat(self.actual)?);
        if let Some(what) = attributes_differ(&roots.0, &roots.1) {
            self.note(b"/", what);
        }
        let mut directories = vec![Vec::new()];
        while let Some(directory) = directories.pop() {
            if self.faults.len() >= FAULTS_MAX {
                break;
            }
            self.compare_directory(&directory, &mut directories)?;
        }
        Ok(())
    }

    fn compare_directory(
        &mut self,
        path: &[u8],
        directories: &mut Vec<Vec<u8>>,
    ) -> Result<(), Errno> {
        let expected = open_directory(self.expected, path)?;
        let actual = open_directory(self.actual, path)?;
        if xattrs(&expected)? != xattrs(&actual)? && !self.left_out.contains(path) {
            self.note(path, "has other extended attributes");
        }
        // one name at a time: a directory may have millions
        for name in names(&expected)? {
            let name = name?;
            let path = join(path, name.to_bytes());
            let Some(should_be) = look(&expected, &name)? else {
                continue;
            };
            let Some(is) = look(&actual, &name)? else {
                if !self.left_out.contains(&path) {
                    self.note(&path, "is missing");
                }
                continue;
            };
            let pair = [(&expected, &should_be), (&actual, &is)];
            let what = match self.left_out.contains(&path) {
                true => None,
                false => difference(name.to_bytes(), pair)?,
            };
            let is_directory = |stat: &Stat| kind(stat) == FileType::Directory;
            if let Some(what) = what {
                self.note(&path, what);
            }
            if is_directory(&should_be) && is_directory(&is) {
                directories.push(path);
            }
        }
        for name in names(&actual)? {
            let name = name?;
            let path = join(path, name.to_bytes());
            if look(&expected, &name)?.is_none() && !self.left_out.contains(&path) {
                self.note(&path, "does not belong to it");
            }
        }
        Ok(())
    }

    /// Compares the content of these files, percent-encoded, in both trees: copies from layers
    /// below, which the layer's own digest does not cover.
    pub(super) fn contents<'p>(
        &mut self,
        paths: impl Iterator<Item = &'p str>,
    ) -> Result<(), Errno> {
        for path in paths.filter_map(decode) {
            let files = (open(self.expected, &path)?, open(self.actual, &path)?);
            // links and nodes have no content, and what is missing was found missing
            let (Some(expected), Some(actual)) = files else {
                continue;
            };
            if !same_content(&expected, &actual)? {
                self.note(&path, "has other content");
            }
        }
        Ok(())
    }

    fn note(&mut self, path: &[u8], what: &'static str) {
        if self.faults.len() < FAULTS_MAX {
            let path = printable(path);
            self.faults.push(LayerFault::Changed { path, what });
        }
    }
}

fn names(
    directory: &OwnedFd,
) -> Result<impl Iterator<Item = Result<CString, Errno>> + use<>, Errno> {
    let entries = Dir::read_from(directory)?;
    let names = entries.map(|entry| Ok(entry?.file_name().to_owned()));
    Ok(names.filter(|name| !matches!(name, Ok(name) if name == c"." || name == c"..")))
}

/// What has this name in `directory`, if anything has.
fn look(directory: &OwnedFd, name: &CStr) -> Result<Option<Stat>, Errno> {
    match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

fn attributes_differ(expected: &Stat, actual: &Stat) -> Option<&'static str> {
    if kind(expected) != kind(actual) {
        Some("is of another kind")
    } else if expected.st_mode != actual.st_mode {
        Some("has another mode")
    } else if (expected.st_uid, expected.st_gid) != (actual.st_uid, actual.st_gid) {
        Some("has another owner")
    } else {
        None
    }
}

/// In which way a name differs, which is seen in both directories.
fn difference(name: &[u8], pair: [(&OwnedFd, &Stat); 2]) -> Result<Option<&'static str>, Errno> {
    let [(expected_at, expected), (actual_at, actual)] = pair;
    if let Some(what) = attributes_differ(expected, actual) {
        return Ok(Some(what));
    }
    let times = |stat: &Stat| (stat.st_mtime, stat.st_mtime_nsec);
    if kind(expected) != FileType::Directory {
        if expected.st_size != actual.st_size {
            return Ok(Some("has another size"));
        }
        if expected.st_nlink != actual.st_nlink {
            return Ok(Some("has another number of names"));
        }
        if expected.st_rdev != actual.st_rdev {
            return Ok(Some("is another device"));
        }
    }
    if times(expected) != times(actual) && !crate::store::unpack::is_whiteout(expected) {
        return Ok(Some(OTHER_TIME));
    }
    if kind(expected) == FileType::Symlink {
        let target = |directory| readlinkat(directory, name, Vec::new());
        let is_other = target(expected_at)? != target(actual_at)?;
        return Ok(is_other.then_some("leads elsewhere"));
    }
    if kind(expected) == FileType::RegularFile {
        let read = |directory: &OwnedFd| {
            openat(directory, name, READ, Mode::empty()).and_then(|file| xattrs(&file))
        };
        let is_other = read(expected_at)? != read(actual_at)?;
        return Ok(is_other.then_some("has other extended attributes"));
    }
    Ok(None)
}

const READ: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::CLOEXEC);

/// A regular file; `None` for anything else.
fn open(root: BorrowedFd<'_>, path: &[u8]) -> Result<Option<OwnedFd>, Errno> {
    let (above, leaf) = split(path);
    let opened =
        open_directory(root, above).and_then(|parent| openat(parent, leaf, READ, Mode::empty()));
    match opened {
        Ok(file) => Ok((kind(&fstat(&file)?) == FileType::RegularFile).then_some(file)),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NXIO) => Ok(None),
        Err(errno) => Err(errno),
    }
}

fn same_content(expected: &OwnedFd, actual: &OwnedFd) -> Result<bool, Errno> {
    let (mut ours, mut theirs) = (vec![0u8; BUFFER_BYTES], vec![0u8; BUFFER_BYTES]);
    let mut offset = 0;
    loop {
        let length = pread(expected, ours.as_mut_slice(), offset)?;
        let mut read = 0;
        while read < length {
            match pread(actual, &mut theirs[read..length], offset + read as u64)? {
                0 => return Ok(false),
                more => read += more,
            }
        }
        if ours[..length] != theirs[..length] {
            return Ok(false);
        }
        if length == 0 {
            return Ok(true);
        }
        offset += length as u64;
    }
}

/// What overlayfs or a container would heed of a file's extended attributes; others, such as
/// labels of the machine, come and go.
pub(super) fn xattrs(file: &OwnedFd) -> Result<Vec<Xattr>, Errno> {
    // XATTR_LIST_MAX and XATTR_SIZE_MAX: nothing is larger
    let mut list = vec![0u8; 64 << 10];
    let length = match flistxattr(file, &mut list) {
        Ok(length) => length,
        Err(Errno::OPNOTSUPP) => 0,
        Err(errno) => return Err(errno),
    };
    let is_heeded = |name: &&[u8]| is_kept_xattr(name) || name.starts_with(b"trusted.overlay.");
    let mut found = Vec::new();
    for name in list[..length].split(|byte| *byte == 0).filter(is_heeded) {
        let mut value = vec![0u8; 64 << 10];
        let length = fgetxattr(file, name, value.as_mut_slice())?;
        value.truncate(length);
        found.push((name.to_vec(), value));
    }
    found.sort();
    Ok(found)
}
