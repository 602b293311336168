//! Owner, mode and extended attributes of files that are in the store already.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{
    Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, XattrFlags, fchmod, fchown, fgetxattr,
    flistxattr, fsetxattr, openat,
};
use rustix::io::Errno;

use super::archive::Xattr;
use super::merged::Found;
use super::unpack::is_kept_xattr;

/// What a directory says about itself, times left out.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Attributes {
    mode: u32,
    uid: u32,
    gid: u32,
    xattrs: Vec<Xattr>,
}

impl Attributes {
    /// What a directory gets that no layer describes.
    pub(super) fn of_nothing() -> Self {
        Self {
            mode: 0o755,
            uid: 0,
            gid: 0,
            xattrs: Vec::new(),
        }
    }

    /// Reads them from an open file.
    pub(super) fn read(file: &OwnedFd, stat: &Stat) -> Result<Self, Errno> {
        Ok(Self {
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            xattrs: read_xattrs(file)?,
        })
    }

    /// Sets them; owner first, since chown clears setuid and file capabilities.
    pub(super) fn apply(&self, file: &OwnedFd) -> Result<(), Errno> {
        fchown(
            file,
            Some(Uid::from_raw(self.uid)),
            Some(Gid::from_raw(self.gid)),
        )?;
        fchmod(file, Mode::from_raw_mode(self.mode))?;
        self.xattrs.iter().try_for_each(|(name, value)| {
            fsetxattr(file, name.as_slice(), value, XattrFlags::empty())
        })
    }
}

/// Opens what was found, which must be a directory or a regular file.
pub(super) fn open_found(found: &Found<'_>) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    openat(
        found.parent.as_fd(),
        found.leaf.as_slice(),
        flags,
        Mode::empty(),
    )
}

/// Access and modification time of a file.
pub(super) fn times(stat: &Stat) -> Timestamps {
    let nanoseconds = |value| i64::try_from(value).unwrap_or(0);
    Timestamps {
        last_access: Timespec {
            tv_sec: stat.st_atime,
            tv_nsec: nanoseconds(stat.st_atime_nsec),
        },
        last_modification: Timespec {
            tv_sec: stat.st_mtime,
            tv_nsec: nanoseconds(stat.st_mtime_nsec),
        },
    }
}

/// The extended attributes of an open file that a layer may have.
pub(super) fn read_xattrs(file: &OwnedFd) -> Result<Vec<Xattr>, Errno> {
    // XATTR_LIST_MAX and XATTR_SIZE_MAX: nothing is larger.
    let mut list = vec![0u8; 64 << 10];
    let length = match flistxattr(file, &mut list) {
        Ok(length) => length,
        Err(Errno::OPNOTSUPP) => 0,
        Err(errno) => return Err(errno),
    };
    let mut xattrs = Vec::new();
    let mut value = Vec::new();
    for name in list[..length]
        .split(|b| *b == 0)
        .filter(|name| is_kept_xattr(name))
    {
        value.resize(64 << 10, 0);
        let length = fgetxattr(file, name, value.as_mut_slice())?;
        xattrs.push((name.to_vec(), value[..length].to_vec()));
    }
    xattrs.sort();
    Ok(xattrs)
}
