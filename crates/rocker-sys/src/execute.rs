//! execve(2) with argument vectors that were built beforehand.
#![expect(unsafe_code, reason = "execve(2) takes arrays of pointers")]

use std::ffi::{CStr, CString, c_char};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

/// The strings of an argument vector or an environment, and the array of pointers to them.
#[derive(Debug)]
pub struct StringVector {
    // The pointers point into the strings' heap buffers, which do not move with this struct.
    pointers: Vec<*const c_char>,
    strings: Vec<CString>,
}

impl StringVector {
    /// Takes the strings over.
    #[must_use]
    pub fn new(strings: Vec<CString>) -> Self {
        let ends = std::iter::once(ptr::null());
        let pointers = strings.iter().map(|s| s.as_ptr()).chain(ends).collect();
        Self { pointers, strings }
    }

    /// The strings.
    #[must_use]
    pub fn strings(&self) -> &[CString] {
        &self.strings
    }
}

/// Becomes the program at `path`. Returns only if that failed.
#[must_use]
pub fn execute(path: &CStr, argv: &StringVector, env: &StringVector) -> io::Error {
    // SAFETY: the path and both vectors are NUL-terminated and borrowed for the call; each
    // pointer of a vector points into a CString that the same vector owns.
    unsafe { libc::execve(path.as_ptr(), argv.pointers.as_ptr(), env.pointers.as_ptr()) };
    io::Error::last_os_error()
}

/// Becomes the program that `file` is open on. Returns only if that failed.
#[must_use]
pub fn execute_fd(file: BorrowedFd<'_>, argv: &StringVector, env: &StringVector) -> io::Error {
    // SAFETY: as in `execute`; the empty path with AT_EMPTY_PATH makes the kernel use the
    // descriptor, which is borrowed for the call.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            file.as_raw_fd(),
            c"".as_ptr(),
            argv.pointers.as_ptr(),
            env.pointers.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    io::Error::last_os_error()
}
