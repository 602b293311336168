//! Descriptors that a process was started with.
#![expect(
    unsafe_code,
    reason = "a number becomes a descriptor only by somebody's word"
)]

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

/// Takes over the descriptor `number`, which whoever executed this program left open for it,
/// and makes it close-on-exec.
///
/// Call it once per number, at the start of the program, before anything else opens a
/// descriptor that could get the same number.
///
/// # Errors
///
/// `EBADF` when nothing is open there, `EINVAL` for the standard streams.
pub fn take(number: RawFd) -> io::Result<OwnedFd> {
    if number <= 2 {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    // SAFETY: F_SETFD takes an integer and touches no memory; it fails with EBADF when the
    // descriptor is not open.
    let rc = unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
    if rc == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is open (fcntl just succeeded) and, by this function's contract,
    // was inherited and is owned by nobody else in this process.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}
