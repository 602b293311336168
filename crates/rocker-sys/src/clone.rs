//! New processes: into new namespaces and cgroups, or beside the caller.
//!
//! Both functions copy the whole address space, like fork(2). The child may do everything a
//! process may, including allocate, because the parent is proven to have one thread: no lock
//! can be held by a thread that does not exist on the other side.
#![expect(unsafe_code, reason = "clone3(2) and clone(2) have no safe wrapper")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use crate::process::{ensure_single_threaded, exit_now};

/// Which kinds of namespaces a new process gets for its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Namespaces(u64);

impl Namespaces {
    /// None.
    pub const NONE: Self = Self(0);
    /// Mounts.
    pub const MOUNT: Self = Self(libc::CLONE_NEWNS as u64);
    /// Hostname.
    pub const UTS: Self = Self(libc::CLONE_NEWUTS as u64);
    /// System V IPC and POSIX message queues.
    pub const IPC: Self = Self(libc::CLONE_NEWIPC as u64);
    /// Process numbers.
    pub const PID: Self = Self(libc::CLONE_NEWPID as u64);
    /// Network.
    pub const NETWORK: Self = Self(libc::CLONE_NEWNET as u64);

    /// Both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// A process that was just made.
#[derive(Debug)]
pub struct Child {
    /// Its number in the caller's pid namespace.
    pub pid: i32,
    /// Close-on-exec.
    pub pidfd: OwnedFd,
}

/// Proof of being in a process that was just made and never returns to its parent's code.
#[derive(Debug)]
pub struct InChild(());

impl InChild {
    /// Closes every descriptor but those in `keep` and the first three, whoever owns them:
    /// nothing that the parent had open is to be found in a process that others may look into
    /// (CVE-2016-9962).
    ///
    /// Values of the parent's that own a closed descriptor must not be used or dropped any
    /// more. This process ends by execve(2) or `_exit(2)`, which run no destructors; what the
    /// child still needs, and thus may drop, is in `keep`.
    ///
    /// # Errors
    ///
    /// `ENOSYS` before Linux 5.9. See close_range(2).
    pub fn close_all_but(&self, keep: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut kept: Vec<libc::c_int> = keep.iter().map(AsRawFd::as_raw_fd).collect();
        kept.sort_unstable();
        let mut first = 3;
        for fd in kept.into_iter().filter(|fd| *fd >= 3) {
            if fd > first {
                close_range(first, fd - 1)?;
            }
            first = fd + 1;
        }
        close_range(first, libc::c_int::MAX)
    }
}

impl InChild {
    /// Runs `child` in a new process whose parent is this one's parent (`CLONE_PARENT`): that
    /// is told of the end and collects it. By clone(2), as [`clone_plain`].
    ///
    /// # Errors
    ///
    /// `EINVAL` if this process is pid 1; else see clone(2).
    pub fn clone_sibling(&self, child: impl FnOnce(&Self) -> u8) -> io::Result<Child> {
        // A child of a process with one thread has one thread, and no code above starts one.
        clone_with(libc::CLONE_PARENT, child)
    }
}

fn close_range(first: libc::c_int, last: libc::c_int) -> io::Result<()> {
    // SAFETY: closing takes descriptors away from values that own them; `InChild` proves that
    // no such value is used or dropped after this, because the parent's code never runs again
    // in this process.
    let rc = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    if rc == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Ends the process when it is dropped: a panic in a child must never unwind into the code of
/// its parent.
struct NeverReturn;

impl Drop for NeverReturn {
    fn drop(&mut self) {
        exit_now(125);
    }
}

/// Runs `child` in a new process with new `namespaces`, in the v2 cgroup of `cgroup` if given;
/// what it returns is the exit status. The child's death is told by SIGCHLD.
///
/// # Errors
///
/// `EINVAL` if the caller has more than one thread; else see clone3(2).
pub fn clone_process(
    namespaces: Namespaces,
    cgroup: Option<BorrowedFd<'_>>,
    child: impl FnOnce(&InChild) -> u8,
) -> io::Result<Child> {
    ensure_single_threaded()?;
    let mut pidfd: libc::c_int = -1;
    let mut flags = namespaces.0 | flag(libc::CLONE_PIDFD);
    if cgroup.is_some() {
        flags |= CLONE_INTO_CGROUP;
    }
    let args = libc::clone_args {
        flags,
        pidfd: (&raw mut pidfd).expose_provenance() as u64,
        child_tid: 0,
        parent_tid: 0,
        exit_signal: flag(libc::SIGCHLD),
        stack: 0,
        stack_size: 0,
        tls: 0,
        set_tid: 0,
        set_tid_size: 0,
        cgroup: cgroup.map_or(0, |fd| flag(fd.as_raw_fd())),
    };

    // SAFETY: without CLONE_VM the child gets a copy of the address space, and a stack of 0
    // lets it go on on the copy of this one, as fork(2) does; the caller has one thread
    // (checked above), so the copy holds no lock of another. `args` and the `pidfd` that it
    // points at live on this frame until the call returns; the kernel keeps neither.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of_val(&args)) };
    continue_as(pid, || pidfd, child)
}

/// Runs `child` in a new process without anything new, like fork(2).
///
/// This is clone(2) and not clone3(2): it works under seccomp filters that cannot look into
/// clone3's arguments and therefore deny it.
///
/// # Errors
///
/// `EINVAL` if the caller has more than one thread; else see clone(2).
pub fn clone_plain(child: impl FnOnce(&InChild) -> u8) -> io::Result<Child> {
    ensure_single_threaded()?;
    clone_with(0, child)
}

/// clone(2) with a pidfd. The caller has one thread.
fn clone_with(flags: libc::c_int, child: impl FnOnce(&InChild) -> u8) -> io::Result<Child> {
    let mut pidfd: libc::c_int = -1;
    let flags = flags | libc::CLONE_PIDFD | libc::SIGCHLD;

    // SAFETY: as in `clone_process`; the arguments are flags, stack, parent_tid (where
    // CLONE_PIDFD makes the kernel store the descriptor), child_tid and tls, of which the
    // flags use the first and the third only, so their order on other machines is no matter.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0, &raw mut pidfd, 0, 0) };
    continue_as(pid, || pidfd, child)
}

/// From clone(2): the child becomes a member of `clone_args.cgroup`.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

#[expect(
    clippy::cast_sign_loss,
    reason = "flags, signals and open descriptors are positive"
)]
fn flag(value: libc::c_int) -> u64 {
    value as u64
}

/// What both sides do after the call: the child never returns from here.
fn continue_as(
    result: libc::c_long,
    pidfd: impl FnOnce() -> libc::c_int,
    child: impl FnOnce(&InChild) -> u8,
) -> io::Result<Child> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    if result == 0 {
        let guard = NeverReturn;
        let status = child(&InChild(()));
        std::mem::forget(guard);
        exit_now(status.into());
    }
    let pid = i32::try_from(result).map_err(io::Error::other)?;
    // SAFETY: with CLONE_PIDFD the kernel stored a new descriptor, close-on-exec, that nobody
    // else knows of.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd()) };
    Ok(Child { pid, pidfd })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_with_threads_is_refused() {
        // The test runner itself is the second thread.
        let error = clone_process(Namespaces::NONE, None, |_| 0).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
    }
}
