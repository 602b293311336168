//! Leaving and joining namespaces.
//!
//! Only calls that cannot pull the ground from under other threads: each function needs, and
//! checks, that there are none.
#![expect(
    unsafe_code,
    reason = "unshare(2) and a pidfd ioctl have no safe wrapper"
)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use crate::process::ensure_single_threaded;

/// Makes the calling process's present cgroup the root of what it sees of cgroups.
///
/// # Errors
///
/// `EPERM` without `CAP_SYS_ADMIN`; `EINVAL` with more than one thread. See unshare(2).
pub fn unshare_cgroup() -> io::Result<()> {
    unshare(libc::CLONE_NEWCGROUP)
}

/// Gives the calling process a mount namespace of its own, a copy of the present one.
///
/// # Errors
///
/// As for [`unshare_cgroup`].
pub fn unshare_mount() -> io::Result<()> {
    unshare(libc::CLONE_NEWNS)
}

/// Gives the calling process an empty network namespace of its own.
///
/// # Errors
///
/// As for [`unshare_cgroup`].
pub fn unshare_network() -> io::Result<()> {
    unshare(libc::CLONE_NEWNET)
}

fn unshare(flags: libc::c_int) -> io::Result<()> {
    ensure_single_threaded()?;
    // SAFETY: the flags are namespaces only, never CLONE_FILES, so no descriptor table is
    // split under a Rust value that owns a descriptor; there is no other thread (checked).
    let rc = unsafe { libc::unshare(flags) };
    if rc == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// From `linux/pidfd.h`: `_IO(0xFF, 4)`.
const PIDFD_GET_NET_NAMESPACE: libc::c_ulong = 0xFF04;

/// The network namespace of the process behind `pidfd`, close-on-exec.
///
/// # Errors
///
/// `ENOTTY` or `EINVAL` before Linux 6.11, where `/proc/PID/ns/net` must do; `ESRCH` if the process is dead.
pub fn network_of(pidfd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    // SAFETY: the request takes no pointer; the descriptor is borrowed for the call.
    let fd = unsafe { libc::ioctl(pidfd.as_raw_fd(), PIDFD_GET_NET_NAMESPACE as _, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: on success the ioctl returns a new descriptor that nobody else knows of.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
