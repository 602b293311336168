//! Keeps rocker's own binary out of a container's hands (CVE-2019-5736).
//!
//! A container can always find the file that a process of its own runs from: an image's
//! program may be `#!/proc/self/exe`, so that execve(2) runs rocker's binary inside, and a
//! second process opens `/proc/PID/exe` and waits until it can be written. So the processes
//! that start containers are themselves executed from a descriptor that cannot be written
//! through: a detached, read-only clone of the mount that the binary lies on. It costs two
//! system calls, copies nothing, is invisible on the host, and no process in a container can
//! remount it, because it is in no mount namespace. Where the kernel lacks mount_setattr(2)
//! (before 5.12) a sealed copy in memory does.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;

use rocker_sys::execute::{StringVector, execute_fd};
use rocker_sys::mount::{MountAttributes, Reach, set_attributes};
use rustix::fs::{CWD, MemfdFlags, Mode, OFlags, SealFlags, StatVfsMountFlags};
use rustix::mount::{OpenTreeFlags, open_tree};

const OWN: &str = "/proc/self/exe";

/// Why the binary could not be protected.
#[derive(Debug, thiserror::Error)]
pub enum ExecutableError {
    /// This process was started from the file itself.
    #[error("this process was not started through a protected descriptor of its binary")]
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

fn failed(attempt: &'static str) -> impl Fn(io::Error) -> ExecutableError {
    move |source| ExecutableError::Protect { attempt, source }
}

/// A descriptor of the running binary that cannot be written through, to be given to execveat
/// (or, as `/proc/self/fd/N`, to whatever executes paths). Close-on-exec.
///
/// # Errors
///
/// [`ExecutableError::Protect`].
pub fn protected() -> Result<OwnedFd, ExecutableError> {
    if is_protected()? {
        return open_own();
    }
    match read_only_clone(OWN) {
        Ok(clone) => Ok(clone),
        Err(_) => sealed_copy().map_err(failed("copy")),
    }
}

/// The file at `path` on a mount of its own that is read-only and in no namespace.
fn read_only_clone(path: &str) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let clone = open_tree(CWD, path, flags)?;
    let read_only = MountAttributes::default().read_only();
    set_attributes(clone.as_fd(), read_only, Reach::Mount)?;
    Ok(clone)
}

/// Fails unless this process runs from a protected descriptor.
pub(crate) fn verify() -> Result<(), ExecutableError> {
    if is_protected()? {
        Ok(())
    } else {
        Err(ExecutableError::Writable)
    }
}

/// Executes this process anew, with the same arguments and environment, from a protected
/// descriptor, unless that is already so. Returns only then or on failure.
///
/// # Errors
///
/// [`ExecutableError::Protect`].
pub fn ensure_protected() -> Result<(), ExecutableError> {
    if is_protected()? {
        return Ok(());
    }
    let binary = protected()?;
    let args = std::env::args_os().map(OsStringExt::into_vec);
    let env = std::env::vars_os().map(|(name, value)| {
        let mut entry = name.into_vec();
        entry.push(b'=');
        entry.extend(value.into_vec());
        entry
    });
    // Neither can hold a NUL byte: the kernel gave them to us as C strings.
    let strings = |list: Vec<Vec<u8>>| {
        let list = list.into_iter().filter_map(|text| CString::new(text).ok());
        StringVector::new(list.collect())
    };
    let (args, env) = (strings(args.collect()), strings(env.collect()));
    Err(failed("execute")(execute_fd(binary.as_fd(), &args, &env)))
}

fn open_own() -> Result<OwnedFd, ExecutableError> {
    rustix::fs::open(OWN, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| failed("open")(errno.into()))
}

fn is_protected() -> Result<bool, ExecutableError> {
    let own = open_own()?;
    let mount = rustix::fs::fstatvfs(&own).map_err(|errno| failed("look at")(errno.into()))?;
    Ok(mount.f_flag.contains(StatVfsMountFlags::RDONLY) || is_sealed())
}

/// Seals can be asked of a descriptor that is open for reading.
fn is_sealed() -> bool {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let own = rustix::fs::open(OWN, flags, Mode::empty());
    own.and_then(|own| rustix::fs::fcntl_get_seals(&own))
        .is_ok_and(|seals| seals.contains(SealFlags::WRITE))
}

fn sealed_copy() -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let copy = rustix::fs::memfd_create("rocker", flags)?;
    let own = rustix::fs::open(OWN, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let size = usize::try_from(rustix::fs::fstat(&own)?.st_size).map_err(io::Error::other)?;
    let mut left = size;
    while left > 0 {
        match rustix::fs::sendfile(&copy, &own, None, left)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            sent => left -= sent,
        }
    }
    let seals = SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
    rustix::fs::fcntl_add_seals(&copy, seals)?;
    Ok(copy)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;
    use rustix::io::Errno;

    #[test]
    fn neither_protected_form_can_be_opened_for_writing() {
        // Not this test's own binary: while a file runs it is busy anyway.
        let file = tempfile::NamedTempFile::new().unwrap();
        let clone = read_only_clone(file.path().to_str().unwrap()).unwrap();
        let path = format!("/proc/self/fd/{}", clone.as_raw_fd());
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let opened = rustix::fs::open(path, flags, Mode::empty());
        assert_eq!(opened.err(), Some(Errno::ROFS));

        let copy = sealed_copy().unwrap();
        assert_eq!(rustix::io::write(&copy, b"x"), Err(Errno::PERM));
    }

    #[test]
    fn a_test_runs_from_its_file_and_is_told_so() {
        assert!(matches!(verify(), Err(ExecutableError::Writable)));
    }
}
