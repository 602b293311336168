//! What a layer takes from the layers below it, done once they are all there.
//!
//! Layers are unpacked side by side, each knowing only itself. Two things need the others:
//! a directory that the layer only mentions in names has the owner and mode of the directory
//! below, or the merged view would change it; and a hard link may name a file below.

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rocker_types::DiffId;
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, SeekFrom, Uid, chmodat, chownat, fstat, ftruncate,
    futimens, linkat, mknodat, openat, readlinkat, seek, symlinkat, utimensat,
};
use rustix::io::{Errno, pread, pwrite};

use super::StoreError;
use super::attributes::{Attributes, open_found, times};
use super::merged::{Found, Lower, look_up, open_directory};
use super::record::{CopiedLink, Record, decode, encode};
use super::staged::StagedLayer;
use super::text::printable;
use super::unpack::split;

/// Takes from `lowers`, base first, what `layer` needs, and notes it.
///
/// # Errors
///
/// See [`Store::commit_unless`](super::Store::commit_unless).
pub(super) fn settle(
    layer: &StagedLayer,
    lowers: &[Lower],
    cancelled: &dyn Fn() -> bool,
) -> Result<Record, StoreError> {
    let root = layer.directory.fd();
    let inherited = layer.unpacked.implied.iter();
    for path in inherited.filter(|path| !path.is_empty()) {
        settle_implied(root, path, lowers).map_err(|error| error.in_layer(layer, path))?;
    }
    let (copied, copied_bytes) = copy_links(layer, lowers, cancelled)?;
    let implied: Vec<_> = layer
        .unpacked
        .implied
        .iter()
        .map(|path| encode(path))
        .collect();
    // copies change that; whoever wants to know will measure again
    let disk_bytes = layer.unpacked.disk_bytes.filter(|_| copied.is_empty());
    let mut record = Record {
        size_bytes: layer.unpacked.bytes + copied_bytes,
        disk_bytes,
        base: Vec::new(),
        implied,
        copied,
        blobs: layer.blob.iter().cloned().collect(),
    };
    if record.depends_on_base() {
        record.base = lowers.iter().map(|lower| lower.layer.clone()).collect();
    }
    Ok(record)
}

/// Copies the files that the layer links to, each once; what was copied, and how many bytes.
fn copy_links(
    layer: &StagedLayer,
    lowers: &[Lower],
    cancelled: &dyn Fn() -> bool,
) -> Result<(Vec<CopiedLink>, u64), StoreError> {
    let mut copies = HashMap::new();
    let mut copied = Vec::new();
    let mut size_bytes = 0;
    for link in &layer.unpacked.links {
        if cancelled() {
            return Err(StoreError::Interrupted);
        }
        let (path, target) = (encode(&link.path), encode(&link.target));
        let found = look_up(lowers, &link.target)?;
        let Some(found) = found.filter(|found| found.file_type() != FileType::Directory) else {
            return Err(StoreError::LinkTargetMissing {
                layer: layer.diff_id.clone(),
                path,
                target,
            });
        };
        let earlier = copies.get(link.target.as_slice()).copied();
        if earlier.is_none() {
            spend(layer, &found)?;
        }
        let place = CopyPlace {
            root: layer.directory.fd(),
            path: &link.path,
        };
        size_bytes += place.make(&found, earlier).map_err(|errno| {
            Failure::Kernel("copy from a layer below", errno).in_layer(layer, &link.path)
        })?;
        copies
            .entry(link.target.as_slice())
            .or_insert(link.path.as_slice());
        copied.push(CopiedLink {
            path,
            target,
            from: found.layer.clone(),
        });
    }
    Ok((copied, size_bytes))
}

/// A layer of a few bytes may link to files of any size.
fn spend(layer: &StagedLayer, found: &Found<'_>) -> Result<(), StoreError> {
    let bytes = found.stat.st_blocks.cast_unsigned().saturating_mul(512);
    let spent = layer.directory.spend(bytes, layer.keep_free_percent);
    spent.map_err(|source| StoreError::TooLarge {
        layer: layer.diff_id.clone(),
        source,
    })
}

/// Checks that a layer which is in the store already would come out the same on `lowers`.
///
/// Without this check, an image could give a file or a mode of its own to every other image
/// that shares a layer with it.
pub(super) fn check_base(
    layer: &DiffId,
    root: BorrowedFd<'_>,
    record: &Record,
    lowers: &[Lower],
) -> Result<(), StoreError> {
    if !record.depends_on_base()
        || record
            .base
            .iter()
            .eq(lowers.iter().map(|lower| &lower.layer))
    {
        return Ok(());
    }
    let other_base = |path: &str| StoreError::OtherBase {
        layer: layer.clone(),
        path: path.to_owned(),
    };
    for path in record.inherited() {
        let plain = decode(path).ok_or_else(|| other_base(path))?;
        if !is_same_implied(root, &plain, lowers)? {
            return Err(other_base(path));
        }
    }
    for CopiedLink { path, target, from } in &record.copied {
        let target = decode(target).ok_or_else(|| other_base(path))?;
        let found = look_up(lowers, &target)?;
        // The same layer has the same file; another layer's may differ.
        if !found
            .is_some_and(|found| found.layer == from && found.file_type() != FileType::Directory)
        {
            return Err(other_base(path));
        }
    }
    Ok(())
}

/// What failed, before the layer's name is put to it.
enum Failure {
    Kernel(&'static str, Errno),
    Store(StoreError),
}

impl Failure {
    fn in_layer(self, layer: &StagedLayer, path: &[u8]) -> StoreError {
        match self {
            Self::Store(error) => error,
            Self::Kernel(attempt, errno) => {
                let path = layer.directory.path().join(printable(path));
                StoreError::access(attempt, path)(errno.into())
            }
        }
    }
}

fn settle_implied(root: BorrowedFd<'_>, path: &[u8], lowers: &[Lower]) -> Result<(), Failure> {
    let kernel = |errno| Failure::Kernel("take attributes from a layer below for", errno);
    let found = look_up(lowers, path).map_err(Failure::Store)?;
    let Some(found) = found.filter(|found| found.file_type() == FileType::Directory) else {
        return Ok(());
    };
    let below = open_found(&found).map_err(kernel)?;
    let directory = open_directory(root, path).map_err(kernel)?;
    Attributes::read(&below, &found.stat)
        .and_then(|attributes| attributes.apply(&directory))
        .map_err(kernel)?;
    futimens(&directory, &times(&found.stat)).map_err(kernel)
}

fn is_same_implied(
    root: BorrowedFd<'_>,
    path: &[u8],
    lowers: &[Lower],
) -> Result<bool, StoreError> {
    let failed = |errno: Errno| StoreError::access("compare", printable(path))(errno.into());
    let found = look_up(lowers, path)?.filter(|found| found.file_type() == FileType::Directory);
    let wanted = match &found {
        Some(found) => open_found(found)
            .and_then(|below| Attributes::read(&below, &found.stat))
            .map_err(failed)?,
        None => Attributes::of_nothing(),
    };
    let directory = open_directory(root, path).map_err(failed)?;
    let actual = fstat(&directory)
        .and_then(|stat| Attributes::read(&directory, &stat))
        .map_err(failed)?;
    Ok(actual == wanted)
}

/// Where a copy goes in the layer.
struct CopyPlace<'a> {
    root: BorrowedFd<'a>,
    path: &'a [u8],
}

impl CopyPlace<'_> {
    /// Copies what was found, or links to the copy that another link made already. Returns
    /// the bytes it took.
    fn make(&self, found: &Found<'_>, earlier: Option<&[u8]>) -> Result<u64, Errno> {
        let (above, leaf) = split(self.path);
        let parent = match open_directory(self.root, above) {
            // Later entries of the layer removed the place again.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(0),
            result => result?,
        };
        let before = fstat(&parent)?;
        let made = match earlier {
            Some(earlier) => self.link(earlier, &parent, leaf).map(|()| 0),
            None => copy(found, &parent, leaf),
        };
        let bytes = match made {
            // A later entry of the layer took the place.
            Err(Errno::EXIST) => 0,
            result => result?,
        };
        futimens(&parent, &times(&before))?;
        Ok(bytes)
    }

    fn link(&self, earlier: &[u8], parent: &OwnedFd, leaf: &[u8]) -> Result<(), Errno> {
        let (above, earlier) = split(earlier);
        linkat(
            open_directory(self.root, above)?,
            earlier,
            parent,
            leaf,
            AtFlags::empty(),
        )
    }
}

fn copy(found: &Found<'_>, parent: &OwnedFd, leaf: &[u8]) -> Result<u64, Errno> {
    let stat = &found.stat;
    if found.file_type() == FileType::RegularFile {
        return copy_file(found, parent, leaf);
    }
    if found.file_type() == FileType::Symlink {
        let target = readlinkat(&found.parent, found.leaf.as_slice(), Vec::new())?;
        symlinkat(&target, parent, leaf)?;
    } else {
        mknodat(
            parent,
            leaf,
            found.file_type(),
            Mode::from_raw_mode(stat.st_mode),
            stat.st_rdev,
        )?;
    }
    let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    chownat(
        parent,
        leaf,
        Some(uid),
        Some(gid),
        AtFlags::SYMLINK_NOFOLLOW,
    )?;
    if found.file_type() != FileType::Symlink {
        chmodat(
            parent,
            leaf,
            Mode::from_raw_mode(stat.st_mode),
            AtFlags::empty(),
        )?;
    }
    utimensat(parent, leaf, &times(stat), AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(0)
}

fn copy_file(found: &Found<'_>, parent: &OwnedFd, leaf: &[u8]) -> Result<u64, Errno> {
    let source = open_found(found)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let target = openat(parent, leaf, flags, Mode::RUSR | Mode::WUSR)?;
    let bytes = copy_content(&source, &target)?;
    ftruncate(&target, found.stat.st_size.cast_unsigned())?;
    Attributes::read(&source, &found.stat)?.apply(&target)?;
    futimens(&target, &times(&found.stat))?;
    Ok(bytes)
}

/// Copies the parts of a file that are not holes.
fn copy_content(source: &OwnedFd, target: &OwnedFd) -> Result<u64, Errno> {
    let mut buffer = vec![0u8; 256 << 10];
    let (mut total, mut end) = (0, 0);
    loop {
        let start = match seek(source, SeekFrom::Data(end)) {
            Err(Errno::NXIO) => return Ok(total),
            result => result?,
        };
        end = seek(source, SeekFrom::Hole(start))?;
        let mut offset = start;
        while offset < end {
            let length = usize::try_from(end - offset)
                .unwrap_or(usize::MAX)
                .min(buffer.len());
            let read = pread(source.as_fd(), &mut buffer[..length], offset)?;
            if read == 0 {
                return Ok(total);
            }
            let mut written = 0;
            while written < read {
                written += pwrite(target, &buffer[written..read], offset + written as u64)?;
            }
            offset += read as u64;
            total += read as u64;
        }
    }
}
