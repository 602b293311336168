//! Keeps rocker's own binary out of a container's hands (CVE-2019-5736).

use std::io;
use std::os::fd::OwnedFd;

/// Why the binary could not be protected.
#[derive(Debug, thiserror::Error)]
pub enum ExecutableError {
    /// This process was started from the file itself.
    #[error("this process runs from a writable file: it was not started through a protected copy")]
    Writable,
    /// The kernel said no.
    #[error("cannot {attempt} rocker's own binary")]
    Protect {
        /// What was tried.
        attempt: &'static str,
        /// Why.
        source: io::Error,
    },
}

/// A descriptor of the running binary that cannot be written through, to be given to execveat.
///
/// # Errors
///
/// [`ExecutableError::Protect`].
pub fn protected() -> Result<OwnedFd, ExecutableError> {
    todo!()
}

/// Executes this process anew, with the same arguments and environment, from a protected
/// descriptor, unless that is already so. Returns only then or on failure.
///
/// # Errors
///
/// [`ExecutableError::Protect`].
pub fn ensure_protected() -> Result<(), ExecutableError> {
    todo!()
}
