//! Deleting trees, which only rocker-sys may do.

use std::ffi::CString;
use std::io;
use std::os::fd::BorrowedFd;

/// Removes `leaf` of `directory` with everything below it, never following a link and never
/// crossing a mount. Succeeds if it is not there.
pub(super) fn remove_tree(directory: BorrowedFd<'_>, leaf: &[u8]) -> io::Result<()> {
    rocker_sys::tree::remove_tree(directory, &CString::new(leaf)?)
}
