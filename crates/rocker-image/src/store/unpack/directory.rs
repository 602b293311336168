//! One directory of a layer: how it is reached, and what it gets in the end.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use rustix::fs::{
    AtFlags, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags, chmodat, chownat, fsetxattr,
    openat, statat, utimensat,
};
use rustix::io::Errno;

use super::name::split;
use crate::store::UnpackError;
use crate::store::archive::{Entry, Mtime, Xattr};
use crate::store::usage::blocks;

/// A directory of the layer, by a name without links and by descriptor.
#[derive(Clone)]
pub(crate) struct Directory {
    pub(super) path: Rc<[u8]>,
    pub(super) fd: Rc<OwnedFd>,
}

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// What a directory gets when its content is complete.
#[derive(Clone, Debug)]
pub(super) struct DirectoryAttributes {
    pub(super) mode: u32,
    /// What mkdir was asked for, before the umask.
    pub(super) made_mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mtime: Mtime,
    pub(super) xattrs: Vec<Xattr>,
    /// No entry described it; a layer below may.
    pub(super) implied: bool,
}

impl DirectoryAttributes {
    pub(super) fn implied(mtime: Mtime) -> Self {
        Self {
            mode: 0o755,
            made_mode: 0o755,
            uid: 0,
            gid: 0,
            mtime,
            xattrs: Vec::new(),
            implied: true,
        }
    }

    /// What an entry says of its directory.
    pub(super) fn of(entry: Entry) -> Self {
        let Entry {
            mode,
            uid,
            gid,
            mtime,
            xattrs,
            ..
        } = entry;
        Self {
            mode,
            made_mode: mode & 0o777,
            uid,
            gid,
            mtime,
            xattrs,
            implied: false,
        }
    }

    /// Gives them to the directory at `path`, which is in `parent`; returns the bytes that it takes
    /// on disk.
    pub(super) fn apply(
        &self,
        parent: &Directory,
        path: &[u8],
        umask: u32,
    ) -> Result<u64, UnpackError> {
        let leaf = if path.is_empty() { b"." } else { split(path).1 };
        let Self { mode, uid, gid, .. } = *self;
        if uid != 0 || gid != 0 {
            let flags = AtFlags::SYMLINK_NOFOLLOW;
            let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
            chownat(parent, leaf, Some(uid), Some(gid), flags)
                .map_err(UnpackError::write("change the owner of", path))?;
        }
        if self.made_mode & !umask != mode {
            // The name was made by us as a directory, so no link is followed here.
            chmodat(parent, leaf, Mode::from_raw_mode(mode), AtFlags::empty())
                .map_err(UnpackError::write("change the mode of", path))?;
        }
        if !self.xattrs.is_empty() {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let fd = openat(parent, leaf, flags, Mode::empty())
                .map_err(UnpackError::write("open directory", path))?;
            for (name, value) in &self.xattrs {
                fsetxattr(&fd, name.as_slice(), value, XattrFlags::empty())
                    .map_err(UnpackError::write("set an extended attribute of", path))?;
            }
        }
        set_times(parent.as_fd(), leaf, self.mtime)
            .map_err(UnpackError::write("set the times of", path))?;
        let stat = statat(parent, leaf, AtFlags::SYMLINK_NOFOLLOW);
        Ok(blocks(&stat.map_err(UnpackError::write("inspect", path))?))
    }
}

/// Sets both times of `leaf` itself.
pub(super) fn set_times(directory: BorrowedFd<'_>, leaf: &[u8], mtime: Mtime) -> Result<(), Errno> {
    utimensat(
        directory,
        leaf,
        &timestamps(mtime),
        AtFlags::SYMLINK_NOFOLLOW,
    )
}

/// Access and modification time alike, so that two unpackings are equal.
pub(super) fn timestamps(mtime: Mtime) -> Timestamps {
    let time = Timespec {
        tv_sec: mtime.seconds,
        tv_nsec: i64::from(mtime.nanoseconds),
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}
