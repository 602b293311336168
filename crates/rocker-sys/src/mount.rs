//! mount_setattr(2), which rustix lacks.
#![expect(unsafe_code, reason = "mount_setattr(2) has no safe wrapper")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// What changes on a mount. Nothing is ever taken off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MountAttributes {
    set: u64,
    propagation: u64,
}

impl MountAttributes {
    /// Adds `ro`.
    #[must_use]
    pub const fn read_only(self) -> Self {
        self.with(libc::MOUNT_ATTR_RDONLY)
    }

    /// Adds `nosuid`.
    #[must_use]
    pub const fn no_suid(self) -> Self {
        self.with(libc::MOUNT_ATTR_NOSUID)
    }

    /// Adds `nodev`.
    #[must_use]
    pub const fn no_dev(self) -> Self {
        self.with(libc::MOUNT_ATTR_NODEV)
    }

    /// Adds `noexec`.
    #[must_use]
    pub const fn no_exec(self) -> Self {
        self.with(libc::MOUNT_ATTR_NOEXEC)
    }

    /// Changes the propagation to private, slave or shared.
    #[must_use]
    pub const fn propagation(self, propagation: MountPropagation) -> Self {
        Self {
            propagation: propagation as u64,
            ..self
        }
    }

    /// Whether nothing would change.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.set == 0 && self.propagation == 0
    }

    const fn with(self, flag: u64) -> Self {
        Self {
            set: self.set | flag,
            ..self
        }
    }
}

/// How mounts made later on one side reach the other. See mount_namespaces(7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum MountPropagation {
    /// Not at all.
    Private = libc::MS_PRIVATE,
    /// Only from the other side to this.
    Slave = libc::MS_SLAVE,
    /// Both ways.
    Shared = libc::MS_SHARED,
}

/// How far a change reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// One mount.
    Mount,
    /// With every mount below it, all or none.
    Tree,
}

/// Changes the mount that `mount` is open on, which must be its root.
///
/// # Errors
///
/// `ENOSYS` before Linux 5.12, `EINVAL` if `mount` is not the root of a mount, `EBUSY` if it
/// shall become read-only and a file is open for writing. See mount_setattr(2).
pub fn set_attributes(
    mount: BorrowedFd<'_>,
    attributes: MountAttributes,
    reach: Reach,
) -> io::Result<()> {
    let attr = libc::mount_attr {
        attr_set: attributes.set,
        attr_clr: 0,
        propagation: attributes.propagation,
        userns_fd: 0,
    };
    let recursive = match reach {
        Reach::Mount => 0,
        Reach::Tree => AT_RECURSIVE,
    };

    // SAFETY: `mount` is open for the whole call because it is borrowed. The path is a
    // NUL-terminated literal. `attr` lives on this stack frame, and the kernel reads
    // exactly the `size_of` bytes announced and keeps no pointer to them.
    let rc = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | recursive,
            &raw const attr,
            size_of::<libc::mount_attr>(),
        )
    };
    if rc == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// From `linux/fcntl.h`.
const AT_RECURSIVE: libc::c_int = 0x8000;
