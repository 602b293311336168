//! Filling an empty volume with what the image has at the volume's place.
//!
//! The image is hostile: its view is assembled by the kernel as a detached overlay mount,
//! paths are resolved inside it by openat2 (`RESOLVE_IN_ROOT`), and every file is opened
//! relative to its parent without following links (CVE-2022-23648 and its family).

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rocker_types::{DiffId, Layout};
use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat, Timestamps, XattrFlags,
};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};

/// Directories below each other that are copied; each holds two descriptors.
const MAX_DEPTH: u32 = 200;

/// Copies what `layers` (base first) show at `target` into the directory `data`, owner, mode
/// and times included, if `data` is empty and the image has a directory there.
///
/// # Errors
///
/// What the kernel says; `data` may be half filled then.
pub(crate) fn fill(
    layout: &Layout,
    layers: &[DiffId],
    target: &str,
    data: &Path,
) -> io::Result<()> {
    let to = open_directory(rustix::fs::CWD, data)?;
    if layers.is_empty() || !is_empty(&to)? {
        return Ok(());
    }
    let dirs: Vec<PathBuf> = layers
        .iter()
        .rev()
        .map(|layer| layout.layer(layer))
        .collect();
    let root = image_root(&dirs)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let from = match rustix::fs::openat2(
        &root,
        target.trim_start_matches('/'),
        flags,
        Mode::empty(),
        resolve,
    ) {
        Ok(from) => from,
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
        Err(e) => return Err(e.into()),
    };
    copy_directory(from.as_fd(), to.as_fd(), MAX_DEPTH)
}

/// The image's root: its only layer, or a detached read-only overlay of all of them.
fn image_root(dirs: &[PathBuf]) -> io::Result<OwnedFd> {
    if let [only] = dirs {
        return open_directory(rustix::fs::CWD, only);
    }
    let context = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    for dir in dirs {
        rustix::mount::fsconfig_set_string(context.as_fd(), "lowerdir+", dir)?;
    }
    rustix::mount::fsconfig_create(context.as_fd())?;
    Ok(rustix::mount::fsmount(
        context.as_fd(),
        FsMountFlags::FSMOUNT_CLOEXEC,
        MountAttrFlags::MOUNT_ATTR_RDONLY,
    )?)
}

fn open_directory(parent: impl AsFd, name: impl rustix::path::Arg) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(parent, name, flags, Mode::empty())?)
}

fn is_empty(dir: &OwnedFd) -> io::Result<bool> {
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        if entry.file_name() != c"." && entry.file_name() != c".." {
            return Ok(false);
        }
    }
    Ok(true)
}

fn copy_directory(from: BorrowedFd<'_>, to: BorrowedFd<'_>, depth: u32) -> io::Result<()> {
    if depth == 0 {
        return Err(io::Error::other("directories are nested too deeply"));
    }
    for entry in Dir::read_from(from)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        copy_entry(from, to, name, depth)?;
    }
    copy_attributes(&rustix::fs::fstat(from)?, from, to)
}

fn copy_entry(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    name: &std::ffi::CStr,
    depth: u32,
) -> io::Result<()> {
    let stat = rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let private = Mode::RUSR | Mode::WUSR;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => {
            let source = open_directory(from, name)?;
            rustix::fs::mkdirat(to, name, Mode::RWXU)?;
            let target = open_directory(to, name)?;
            copy_directory(source.as_fd(), target.as_fd(), depth - 1)
        }
        FileType::RegularFile => {
            let read = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
            let write =
                OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let source = rustix::fs::openat(from, name, read, Mode::empty())?;
            let target = rustix::fs::openat(to, name, write, private)?;
            let (mut source, mut target) =
                (std::fs::File::from(source), std::fs::File::from(target));
            io::copy(&mut source, &mut target)?;
            copy_attributes(&stat, source.as_fd(), target.as_fd())
        }
        FileType::Symlink => {
            let link = rustix::fs::readlinkat(from, name, Vec::new())?;
            rustix::fs::symlinkat(&link, to, name)?;
            copy_owner_and_times(&stat, to, name)
        }
        kind @ (FileType::Fifo | FileType::CharacterDevice | FileType::BlockDevice) => {
            rustix::fs::mknodat(
                to,
                name,
                kind,
                Mode::from_raw_mode(stat.st_mode & 0o7777),
                stat.st_rdev,
            )?;
            copy_owner_and_times(&stat, to, name)
        }
        // a socket without its server is nothing
        FileType::Socket | FileType::Unknown => Ok(()),
    }
}

fn copy_owner_and_times(
    stat: &Stat,
    parent: BorrowedFd<'_>,
    name: &std::ffi::CStr,
) -> io::Result<()> {
    let (uid, gid) = owner(stat);
    rustix::fs::chownat(parent, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(rustix::fs::utimensat(
        parent,
        name,
        &times(stat),
        AtFlags::SYMLINK_NOFOLLOW,
    )?)
}

/// Owner, extended attributes, mode and times, in this order: chown clears setuid bits and
/// file capabilities, and everything changes the times.
fn copy_attributes(stat: &Stat, from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<()> {
    let (uid, gid) = owner(stat);
    rustix::fs::fchown(to, uid, gid)?;
    copy_xattrs(from, to)?;
    rustix::fs::fchmod(to, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
    Ok(rustix::fs::futimens(to, &times(stat))?)
}

fn owner(stat: &Stat) -> (Option<rustix::fs::Uid>, Option<rustix::fs::Gid>) {
    (
        Some(rustix::fs::Uid::from_raw(stat.st_uid)),
        Some(rustix::fs::Gid::from_raw(stat.st_gid)),
    )
}

fn times(stat: &Stat) -> Timestamps {
    let time = |seconds: i64, nanos: u64| rustix::fs::Timespec {
        tv_sec: seconds,
        tv_nsec: i64::try_from(nanos).unwrap_or(0),
    };
    Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
    }
}

/// File capabilities and the users' own attributes; the rest belongs to overlayfs or to the
/// host's security modules.
fn copy_xattrs(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<()> {
    let mut names = vec![0_u8; 64 << 10];
    let len = match rustix::fs::flistxattr(from, &mut names[..]) {
        Ok(len) => len,
        Err(Errno::OPNOTSUPP) => return Ok(()),
        Err(e) => return Err(e.into()),
    };
    for name in names[..len]
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
    {
        if name != b"security.capability" && !name.starts_with(b"user.") {
            continue;
        }
        let mut value = vec![0_u8; 64 << 10];
        let len = rustix::fs::fgetxattr(from, name, &mut value[..])?;
        rustix::fs::fsetxattr(to, name, &value[..len], XattrFlags::empty())?;
    }
    Ok(())
}
