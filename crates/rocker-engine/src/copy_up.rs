//! Filling an empty volume with what the image has at the volume's place.
//!
//! The image is hostile: its view is assembled by the kernel as a detached overlay mount,
//! paths are resolved inside it by openat2 (`RESOLVE_IN_ROOT`), and every file is opened
//! relative to its parent without following links (CVE-2022-23648 and its family).

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rocker_sys::tree::remove_tree;
use rocker_types::{DiffId, Layout};
use rustix::fs::{
    AtFlags, Dir, FileType, FlockOperation, Mode, OFlags, RenameFlags, ResolveFlags, Stat,
    Timestamps, XattrFlags,
};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};

/// Directories below each other that are copied; each holds two descriptors.
const MAX_DEPTH: u32 = 200;

/// A copy under way; one that is met was left by somebody who died.
const FILLING: &CStr = c".filling";
/// A whole copy, whose entries have yet to be moved to the content.
const FILLED: &CStr = c".filled";

/// Copies what `layers` (base first) show at `target` into the volume whose directory is
/// `volume`, owner, mode and times included, if it is empty and the image has a directory there.
///
/// Others who want to fill it wait until it is whole. The copy is made beside the content: what
/// fails or dies half-way leaves the volume empty, and so does not keep the next one from it. The
/// content's directory itself stays the same, because a container may have it mounted.
///
/// # Errors
///
/// What the kernel says.
pub(crate) fn fill(
    layout: &Layout,
    layers: &[DiffId],
    target: &str,
    volume: &Path,
) -> io::Result<()> {
    let volume = open_directory(rustix::fs::CWD, volume)?;
    rustix::io::retry_on_intr(|| rustix::fs::flock(&volume, FlockOperation::LockExclusive))?;
    let to = open_directory(&volume, crate::VOLUME_DATA)?;
    remove_tree(volume.as_fd(), FILLING)?;
    if rustix::fs::statat(&volume, FILLED, AtFlags::SYMLINK_NOFOLLOW).is_err() {
        if layers.is_empty() || !is_empty(&to)? {
            return Ok(());
        }
        let Some(from) = image_directory(layout, layers, target)? else {
            return Ok(());
        };
        if rustix::fs::fstat(&volume)?.st_dev != rustix::fs::fstat(&to)?.st_dev {
            // somebody has mounted something there: nothing can be moved into it
            return copy_directory(from.as_fd(), to.as_fd(), MAX_DEPTH);
        }
        if let Err(error) = copy_beside(from.as_fd(), volume.as_fd()) {
            remove_tree(volume.as_fd(), FILLING)?;
            return Err(error);
        }
    }
    move_entries(open_directory(&volume, FILLED)?.as_fd(), to.as_fd())?;
    remove_tree(volume.as_fd(), FILLED)
}

/// Deletes what a killed [`fill`] left, unless somebody is filling right now.
pub(crate) fn sweep(volume: &Path) -> io::Result<()> {
    let volume = open_directory(rustix::fs::CWD, volume)?;
    match rustix::fs::flock(&volume, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => remove_tree(volume.as_fd(), FILLING),
        Err(Errno::WOULDBLOCK) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

/// What the image has at `target`, if that is a directory.
fn image_directory(
    layout: &Layout,
    layers: &[DiffId],
    target: &str,
) -> io::Result<Option<OwnedFd>> {
    let dirs: Vec<PathBuf> = layers
        .iter()
        .rev()
        .map(|layer| layout.layer(layer))
        .collect();
    let root = image_root(&dirs)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    match rustix::fs::openat2(
        &root,
        target.trim_start_matches('/'),
        flags,
        Mode::empty(),
        resolve,
    ) {
        Ok(from) => Ok(Some(from)),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

fn copy_beside(from: BorrowedFd<'_>, volume: BorrowedFd<'_>) -> io::Result<()> {
    rustix::fs::mkdirat(volume, FILLING, Mode::RWXU)?;
    let copy = open_directory(volume, FILLING)?;
    copy_directory(from, copy.as_fd(), MAX_DEPTH)?;
    Ok(rustix::fs::renameat(volume, FILLING, volume, FILLED)?)
}

/// Moves what is in `from` to `to`, and the directory's own attributes. What a container has put
/// there meanwhile stays.
fn move_entries(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<()> {
    let stat = rustix::fs::fstat(from)?;
    let names: Vec<_> = Dir::read_from(from)?
        .map(|entry| entry.map(|entry| entry.file_name().to_owned()))
        .collect::<Result<_, _>>()?;
    for name in names
        .iter()
        .filter(|name| !matches!(name.to_bytes(), b"." | b".."))
    {
        match rustix::fs::renameat_with(from, name, to, name, RenameFlags::NOREPLACE) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(e) => return Err(e.into()),
        }
    }
    copy_attributes(&stat, from, to)
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;
    use std::sync::Barrier;

    use super::*;

    const FILES: u64 = 50;

    /// An installation with one layer that has files in `/data`, and an empty volume.
    fn volume() -> (tempfile::TempDir, Layout, DiffId, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path().join("root"), dir.path().join("run"));
        let id: DiffId = format!("sha256:{}", "5".repeat(64)).parse().unwrap();
        let data = layout.layer(&id).join("data");
        fs_err::create_dir_all(&data).unwrap();
        for n in 0..FILES {
            fs_err::write(data.join(n.to_string()), "from the image").unwrap();
        }
        let volume = dir.path().join("volume");
        fs_err::create_dir_all(volume.join(crate::VOLUME_DATA)).unwrap();
        (dir, layout, id, volume)
    }

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs_err::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn of_many_who_fill_a_volume_each_finds_it_whole() {
        let (_dir, layout, layer, volume) = volume();
        let data = volume.join(crate::VOLUME_DATA);
        let before = fs_err::metadata(&data).unwrap().ino();
        let barrier = Barrier::new(8);

        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    barrier.wait();
                    fill(&layout, std::slice::from_ref(&layer), "/data", &volume).unwrap();
                    assert_eq!(names(&data).len() as u64, FILES);
                });
            }
        });

        assert_eq!(names(&volume), [crate::VOLUME_DATA]);
        let after = fs_err::metadata(&data).unwrap().ino();
        assert_eq!(before, after, "a mount of it would show nothing");
    }

    #[test]
    fn a_copy_that_was_cut_short_is_made_anew() {
        let (_dir, layout, layer, volume) = volume();
        fs_err::create_dir(volume.join(".filling")).unwrap();
        fs_err::write(volume.join(".filling/0"), "hal").unwrap();

        fill(&layout, &[layer], "/data", &volume).unwrap();

        let first = volume.join(crate::VOLUME_DATA).join("0");
        assert_eq!(fs_err::read_to_string(first).unwrap(), "from the image");
        assert_eq!(names(&volume), [crate::VOLUME_DATA]);
    }

    #[test]
    fn a_move_that_was_cut_short_is_finished_and_replaces_nothing() {
        let (_dir, layout, layer, volume) = volume();
        let data = volume.join(crate::VOLUME_DATA);
        fs_err::create_dir(volume.join(".filled")).unwrap();
        for name in ["0", "1"] {
            fs_err::write(volume.join(".filled").join(name), "from the image").unwrap();
        }
        fs_err::write(data.join("0"), "newer").unwrap();

        fill(&layout, &[layer], "/data", &volume).unwrap();

        assert_eq!(fs_err::read_to_string(data.join("0")).unwrap(), "newer");
        assert_eq!(names(&data), ["0", "1"]);
        assert_eq!(names(&volume), [crate::VOLUME_DATA]);
    }

    #[test]
    fn a_sweep_takes_what_a_killed_copy_left() {
        let (_dir, _, _, volume) = volume();
        fs_err::create_dir(volume.join(".filling")).unwrap();

        sweep(&volume).unwrap();

        assert_eq!(names(&volume), [crate::VOLUME_DATA]);
    }
}
