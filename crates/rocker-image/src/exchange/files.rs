//! The files of an archive or of a directory, by name.

use std::collections::HashMap;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, openat};
use rustix::io::{Errno, pread};

use super::MANIFEST;
use super::input::Input;
use super::load_error::LoadError;
use crate::policy::Entry;
use crate::store::{
    ArchiveError, ArchiveReader, EntryKind, EntryPath, LimitExceeded, UnpackLimits, open_directory,
    printable, split,
};

/// How many links may lead from one name to the next: `layer.tar` of old archives is one.
const LINKS_MAX: usize = 8;

/// Where the files of an image layout or a docker archive are.
pub(super) enum Files {
    Tar {
        input: Input,
        index: HashMap<Vec<u8>, Place>,
    },
    Directory(OwnedFd),
}

/// What an archive has under a name.
pub(super) enum Place {
    File {
        offset: u64,
        size: u64,
    },
    /// Leads to another name of the archive.
    Link(Vec<u8>),
}

/// One file, to be read from its beginning.
#[derive(Debug)]
pub(super) struct Member {
    file: OwnedFd,
    offset: u64,
    left: u64,
}

impl Member {
    /// Its length in bytes.
    pub(super) fn size(&self) -> u64 {
        self.left
    }
}

impl Read for Member {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX);
        let most = most.min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        let read = pread(&self.file, &mut buffer[..most], self.offset)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.offset += read as u64;
        self.left -= read as u64;
        Ok(read)
    }
}

impl Files {
    /// Lists the members of a tar; their data is passed over.
    pub(super) fn in_tar(input: Input, limits: &UnpackLimits) -> Result<Self, LoadError> {
        let mut file = &input.file;
        let read = |source| LoadError::Read { source };
        let length = file.seek(SeekFrom::End(0)).map_err(read)?;
        let length = length.saturating_sub(input.start);
        file.seek(SeekFrom::Start(input.start)).map_err(read)?;
        let mut archive = ArchiveReader::new(BufReader::new(file), limits);
        let mut index = HashMap::new();
        let mut memory = 0;
        while let Some(entry) = archive.next()? {
            let name =
                |raw: &[u8]| EntryPath::parse(raw, limits).map(|path| path.as_bytes().to_vec());
            // what cannot be named cannot be needed
            let Ok(path) = name(&entry.path) else {
                continue;
            };
            let place = match entry.kind {
                EntryKind::File { size } => {
                    let offset = archive.skip_content()?;
                    if offset.saturating_add(size) > length {
                        return Err(cut_off(length));
                    }
                    let offset = input.start + offset;
                    Place::File { offset, size }
                }
                EntryKind::Symlink { target } => Place::Link(beside(&path, &target)),
                EntryKind::HardLink { target } => Place::Link(beside(b"", &target)),
                EntryKind::Directory
                | EntryKind::SparseFile { .. }
                | EntryKind::CharDevice { .. }
                | EntryKind::BlockDevice { .. }
                | EntryKind::Fifo => continue,
            };
            let target = match &place {
                Place::Link(target) => target.len(),
                Place::File { .. } => 0,
            };
            memory += path.len() + target + size_of::<(Vec<u8>, Place)>();
            if memory > limits.index_bytes {
                return Err(too_many(limits));
            }
            let shown = printable(&path);
            if index.insert(path, place).is_some() {
                return Err(LoadError::Twice { name: shown });
            }
        }
        drop(archive);
        Ok(Self::Tar { input, index })
    }

    /// The files below a directory; no link in it is followed.
    pub(super) fn in_directory(path: &Path) -> Result<Self, LoadError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory =
            openat(CWD, path, flags, Mode::empty()).map_err(|errno| LoadError::Open {
                path: path.to_owned(),
                source: errno.into(),
            })?;
        Ok(Self::Directory(directory))
    }

    /// What a policy calls them.
    pub(super) fn entry(&self) -> Entry<'static> {
        match self {
            Self::Tar { index, .. } if index.contains_key(MANIFEST.as_bytes()) => {
                Entry::DockerArchive
            }
            Self::Tar { .. } => Entry::OciArchive,
            Self::Directory(_) => Entry::OciDirectory,
        }
    }

    /// Opens a file; `None` if there is none of this name.
    pub(super) fn open(&self, name: &str) -> Result<Option<Member>, LoadError> {
        // names stand in the archive's documents: none leads out of it
        let Ok(name) = EntryPath::parse(name.as_bytes(), &UnpackLimits::default()) else {
            return Ok(None);
        };
        let name = name.as_bytes();
        match self {
            Self::Tar { input, index } => {
                let Some((offset, size)) = find(index, name) else {
                    return Ok(None);
                };
                let file = input.file.file().as_fd().try_clone_to_owned();
                let file = file.map_err(|source| LoadError::Read { source })?;
                Ok(Some(Member {
                    file,
                    offset,
                    left: size,
                }))
            }
            Self::Directory(root) => match open_below(root, name) {
                Ok((file, size)) => Ok(Some(Member {
                    file,
                    offset: 0,
                    left: size,
                })),
                Err(Errno::NOENT) => Ok(None),
                Err(errno) => Err(LoadError::Open {
                    path: printable(name).into(),
                    source: errno.into(),
                }),
            },
        }
    }
}

fn open_below(root: &OwnedFd, name: &[u8]) -> Result<(OwnedFd, u64), Errno> {
    let (above, leaf) = split(name);
    let parent = open_directory(root.as_fd(), above)?;
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = openat(parent, leaf, flags, Mode::empty())?;
    let stat = fstat(&file)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Ok((file, stat.st_size.cast_unsigned())),
        FileType::Directory
        | FileType::Symlink
        | FileType::Fifo
        | FileType::Socket
        | FileType::CharacterDevice
        | FileType::BlockDevice
        | FileType::Unknown => Err(Errno::INVAL),
    }
}

/// Follows the archive's own links, as far as they stay in it.
fn find(index: &HashMap<Vec<u8>, Place>, name: &[u8]) -> Option<(u64, u64)> {
    let mut name = name;
    for _ in 0..LINKS_MAX {
        match index.get(name)? {
            Place::File { offset, size } => return Some((*offset, *size)),
            Place::Link(target) => name = target,
        }
    }
    None
}

/// Where a link leads that is called `path`: a name of the archive, as far as it is one.
fn beside(path: &[u8], target: &[u8]) -> Vec<u8> {
    let mut components: Vec<&[u8]> = match target.starts_with(b"/") || path.is_empty() {
        true => Vec::new(),
        false => split(path).0.split(|byte| *byte == b'/').collect(),
    };
    for component in target.split(|byte| *byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => drop(components.pop()),
            _ => components.push(component),
        }
    }
    components.retain(|component| !component.is_empty());
    components.join(&b'/')
}

fn cut_off(offset: u64) -> LoadError {
    LoadError::Archive {
        source: ArchiveError::Truncated {
            offset,
            inside: "a file's data",
        },
    }
}

fn too_many(limits: &UnpackLimits) -> LoadError {
    LoadError::Limit(LimitExceeded {
        limit: "index_bytes",
        allowed: limits.index_bytes as u64,
        object: "the memory for the names in the archive".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_to_names_of_the_archive() {
        let cases = [
            ("a/layer.tar", "../b/layer.tar", "b/layer.tar"),
            ("layer.tar", "b/layer.tar", "b/layer.tar"),
            ("a/l", "/b//./c", "b/c"),
            ("a/l", "../../../etc/passwd", "etc/passwd"),
            ("", "a/b", "a/b"),
        ];
        for (path, target, want) in cases {
            let found = beside(path.as_bytes(), target.as_bytes());
            assert_eq!(found.escape_ascii().to_string(), want, "{path} {target}");
        }
    }
}
