//! A container's file system as one tar.

use std::collections::HashMap;
use std::io::{self, Write};
use std::os::fd::{AsFd as _, OwnedFd};

use rocker_types::{Diagnose, ErrorKind};
use rustix::fs::{
    FileType, Mode, OFlags, SeekFrom, Stat, fstat, major, minor, openat, readlinkat, seek,
};
use rustix::io::{Errno, pread};

use super::ContainerView;
use super::walk::{Node, Walk};
use crate::store::StoreError;
use crate::store::archive::{ArchiveWriter, Entry, EntryKind, Extent, Mtime};
use crate::store::attributes::read_xattrs;
use crate::store::kernel::io_kind;
use crate::store::merged::open_directory;
use crate::store::unpack::split;

/// What is read of a file at once.
const BUFFER_BYTES: usize = 256 << 10;

/// More runs are written as one: a map has its price too.
const EXTENTS_MAX: usize = 10_000;

/// Why a file system could not be exported. What was written until then is no archive.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// Something could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The archive could not be written.
    #[error("cannot write the archive")]
    Output {
        /// What the receiver said.
        source: io::Error,
    },
}

impl Diagnose for ExportError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Store(error) => error.kind(),
            Self::Output { source } => io_kind(source),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Store(error) => error.hint(),
            Self::Output { .. } => None,
        }
    }
}

impl ContainerView {
    /// Writes everything that is seen, but for sockets, which no archive has. Hard links stay
    /// hard links and holes stay holes.
    ///
    /// A file that becomes shorter while it is read has zeros at its end, as in tar.
    ///
    /// # Errors
    ///
    /// [`ExportError`].
    pub fn export(&self, output: &mut dyn Write) -> Result<(), ExportError> {
        let roots = self.all();
        let mut export = Export::new(&roots, output);
        let mut walk = Walk::new(&roots).map_err(self.failed(b""))?;
        while let Some((path, node)) = walk
            .next()
            .map_err(|(path, errno)| self.failed(&path)(errno))?
        {
            self.add_to(&mut export, &path, &node)?;
        }
        export.finish()
    }

    /// Adds what is at `path`; what a running container has taken away meanwhile is left out.
    pub(super) fn add_to<W: Write>(
        &self,
        export: &mut Export<'_, W>,
        path: &[u8],
        node: &Node,
    ) -> Result<(), ExportError> {
        match export.add(path, node) {
            Ok(()) | Err(Failure::Kernel(Errno::NOENT)) => Ok(()),
            Err(Failure::Kernel(errno)) => Err(self.failed(path)(errno).into()),
            Err(Failure::Output(source)) => Err(ExportError::Output { source }),
        }
    }
}

enum Failure {
    Kernel(Errno),
    Output(io::Error),
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Self {
        Self::Kernel(errno)
    }
}

/// A tar that is being written.
pub(super) struct Export<'a, W> {
    roots: &'a [&'a OwnedFd],
    archive: ArchiveWriter<W>,
    /// Files with several names, by root, device and inode: the first name of each.
    links: HashMap<(usize, u64, u64), Vec<u8>>,
    buffer: Vec<u8>,
}

impl<'a, W: Write> Export<'a, W> {
    pub(super) fn new(roots: &'a [&'a OwnedFd], output: W) -> Self {
        Self {
            roots,
            archive: ArchiveWriter::new(output),
            links: HashMap::new(),
            buffer: vec![0; BUFFER_BYTES],
        }
    }

    pub(super) fn put(&mut self, entry: &Entry) -> Result<(), ExportError> {
        let put = self.archive.entry(entry);
        put.map_err(|source| ExportError::Output { source })
    }

    pub(super) fn finish(self) -> Result<(), ExportError> {
        let finished = self.archive.finish();
        finished
            .map(drop)
            .map_err(|source| ExportError::Output { source })
    }

    fn add(&mut self, path: &[u8], node: &Node) -> Result<(), Failure> {
        let (above, leaf) = split(path);
        let parent = open_directory(self.roots[node.root].as_fd(), above)?;
        let stat = &node.stat;
        if node.file_type() != FileType::Directory && stat.st_nlink > 1 {
            let first = self.links.get(&(node.root, stat.st_dev, stat.st_ino));
            if let Some(target) = first.cloned() {
                return self.entry(&entry(path, EntryKind::HardLink { target }, stat));
            }
        }
        let kind = match node.file_type() {
            FileType::RegularFile => return self.file(path, node, &parent),
            FileType::Directory => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let directory = openat(&parent, leaf, flags, Mode::empty())?;
                let mut entry = entry(&[path, b"/"].concat(), EntryKind::Directory, stat);
                entry.xattrs = read_xattrs(&directory)?;
                return self.entry(&entry);
            }
            FileType::Symlink => EntryKind::Symlink {
                target: readlinkat(&parent, leaf, Vec::new())?.into_bytes(),
            },
            FileType::Fifo => EntryKind::Fifo,
            FileType::CharacterDevice => EntryKind::CharDevice {
                major: major(stat.st_rdev).into(),
                minor: minor(stat.st_rdev).into(),
            },
            FileType::BlockDevice => EntryKind::BlockDevice {
                major: major(stat.st_rdev).into(),
                minor: minor(stat.st_rdev).into(),
            },
            FileType::Socket | FileType::Unknown => return Ok(()),
        };
        self.remember(path, node);
        self.entry(&entry(path, kind, stat))
    }

    fn file(&mut self, path: &[u8], node: &Node, parent: &OwnedFd) -> Result<(), Failure> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = openat(parent, split(path).1, flags, Mode::empty())?;
        let stat = fstat(&file)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            // it was replaced a moment ago
            return Ok(());
        }
        self.remember(path, node);
        let size = stat.st_size.cast_unsigned();
        let whole = Extent {
            offset: 0,
            length: size,
        };
        let extents = extents(&file, &stat)?;
        let kind = match &extents {
            None => EntryKind::File { size },
            Some(extents) => EntryKind::SparseFile {
                size,
                extents: extents.clone(),
            },
        };
        let mut entry = entry(path, kind, &stat);
        entry.xattrs = read_xattrs(&file)?;
        self.entry(&entry)?;
        for extent in extents.unwrap_or_else(|| vec![whole]) {
            self.copy(&file, extent)?;
        }
        Ok(())
    }

    fn copy(&mut self, file: &OwnedFd, extent: Extent) -> Result<(), Failure> {
        let Extent { mut offset, length } = extent;
        let end = offset + length;
        while offset < end {
            let most = usize::try_from(end - offset).unwrap_or(usize::MAX);
            let piece = &mut self.buffer[..most.min(BUFFER_BYTES)];
            let length = match pread(file, &mut *piece, offset)? {
                0 => {
                    piece.fill(0);
                    piece.len()
                }
                length => length,
            };
            let written = self.archive.data().write_all(&piece[..length]);
            written.map_err(Failure::Output)?;
            offset += length as u64;
        }
        Ok(())
    }

    fn remember(&mut self, path: &[u8], node: &Node) {
        let stat = &node.stat;
        if stat.st_nlink > 1 {
            let key = (node.root, stat.st_dev, stat.st_ino);
            self.links.insert(key, path.to_vec());
        }
    }

    fn entry(&mut self, entry: &Entry) -> Result<(), Failure> {
        self.archive.entry(entry).map_err(Failure::Output)
    }
}

/// What the archive says of a file; attributes are for the caller to add.
pub(super) fn entry(path: &[u8], kind: EntryKind, stat: &Stat) -> Entry {
    Entry {
        path: path.to_vec(),
        kind,
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        mtime: Mtime {
            seconds: stat.st_mtime,
            nanoseconds: u32::try_from(stat.st_mtime_nsec).unwrap_or(0),
        },
        xattrs: Vec::new(),
    }
}

/// The parts of a file that are not holes; `None` if it has no hole, or too many.
fn extents(file: &OwnedFd, stat: &Stat) -> Result<Option<Vec<Extent>>, Errno> {
    let size = stat.st_size.cast_unsigned();
    if stat.st_blocks.cast_unsigned().saturating_mul(512) >= size {
        return Ok(None);
    }
    let mut extents = Vec::new();
    let mut end = 0;
    loop {
        let offset = match seek(file, SeekFrom::Data(end)) {
            Err(Errno::NXIO) => break,
            result => result?.min(size),
        };
        end = seek(file, SeekFrom::Hole(offset))?.min(size);
        if offset >= end {
            break;
        }
        extents.push(Extent {
            offset,
            length: end - offset,
        });
        if extents.len() > EXTENTS_MAX {
            return Ok(None);
        }
    }
    let is_whole = extents.first().is_some_and(|first| first.length == size);
    Ok((!is_whole).then_some(extents))
}
