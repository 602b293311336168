//! What a process is and how it ends.
#![expect(
    unsafe_code,
    reason = "_exit(2), unshare(2), close_range(2), keyctl(2) and pidfd_send_signal(2) with real-time signals have no safe wrapper"
)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::fs::{Mode, OFlags};

/// Ends the calling process at once: no destructor, no flush, no exit handler. For children
/// that share their parent's buffers.
pub fn exit_now(status: i32) -> ! {
    // SAFETY: _exit(2) has no preconditions and does not return.
    unsafe { libc::_exit(status) }
}

/// Fails unless the calling process has exactly one thread.
///
/// # Errors
///
/// `EINVAL` if there are more.
pub fn ensure_single_threaded() -> io::Result<()> {
    // SAFETY: CLONE_THREAD asks unshare(2) for nothing but this check: "if the process is
    // single threaded, this flag has no effect; else EINVAL".
    let rc = unsafe { libc::unshare(libc::CLONE_THREAD) };
    if rc == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    // Under a container's seccomp filter unshare(2) itself may be denied.
    let denied = matches!(error.raw_os_error(), Some(libc::EPERM | libc::ENOSYS));
    if denied && thread_count().is_ok_and(|count| count == 1) {
        return Ok(());
    }
    Err(error)
}

/// Field 20 of `/proc/self/stat`.
fn thread_count() -> io::Result<u64> {
    let mut text = [0_u8; 1024];
    let path = "/proc/self/stat";
    let file = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let len = rustix::io::read(&file, &mut text)?;
    field_after_name(&text[..len], 17).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
}

/// The number in a field of `/proc/PID/stat`, counted from 0 at the one after the name. The
/// name is in parentheses and may itself hold spaces and parentheses.
fn field_after_name(text: &[u8], index: usize) -> Option<u64> {
    let end = text.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(text.get(end + 1..)?).ok()?;
    rest.split_ascii_whitespace().nth(index)?.parse().ok()
}

/// Takes over a descriptor that the program before execve(2) left open for this one, and marks
/// it close-on-exec. To be called first of all, before anything else can have opened it.
///
/// # Errors
///
/// `EBADF` if it is not open or one of the first three.
pub fn inherited_fd(number: i32) -> io::Result<OwnedFd> {
    // SAFETY: fcntl(2) with F_SETFD takes no pointer and fails for a number that is not open.
    let rc = unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
    if number < 3 || rc < 0 {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    // SAFETY: it is open, and what was opened before this program began is owned by no value
    // of this program yet.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Sends signal `number` to the process behind `pidfd`. Real-time signals too, which rustix
/// cannot name.
///
/// # Errors
///
/// `ESRCH` if it is dead, `EINVAL` for a number that is no signal. See pidfd_send_signal(2).
pub fn send_signal(pidfd: BorrowedFd<'_>, number: i32) -> io::Result<()> {
    let no_info: *const libc::siginfo_t = std::ptr::null();
    // SAFETY: the descriptor is borrowed for the call; a null siginfo makes the kernel fill
    // one in as kill(2) would.
    let rc = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            number,
            no_info,
            0,
        )
    };
    if rc == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// From `linux/close_range.h`.
const CLOSE_RANGE_CLOEXEC: libc::c_uint = 1 << 2;

/// Marks every descriptor from `first` on as close-on-exec, whoever opened it.
///
/// # Errors
///
/// `ENOSYS` before Linux 5.9, `EINVAL` before 5.11. See close_range(2).
pub fn close_on_exec_from(first: u32) -> io::Result<()> {
    // SAFETY: no descriptor is closed; a flag changes that has no effect before execve(2).
    let rc = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            first,
            libc::c_uint::MAX,
            CLOSE_RANGE_CLOEXEC,
        )
    };
    if rc == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// From `linux/keyctl.h`.
const KEYCTL_JOIN_SESSION_KEYRING: libc::c_int = 1;

/// Leaves the inherited session keyring for a new, empty one without a name. `Ok(false)` on a
/// kernel that was built without keyrings, where there is nothing to leave.
///
/// # Errors
///
/// `EDQUOT` or `ENOMEM`. See keyctl(2).
pub fn join_new_session_keyring() -> io::Result<bool> {
    let anonymous: *const libc::c_char = std::ptr::null();
    // SAFETY: a null name asks for an anonymous keyring; the kernel reads no memory.
    let serial = unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, anonymous) };
    if serial >= 0 {
        return Ok(true);
    }
    let error = io::Error::last_os_error();
    if error.raw_os_error() == Some(libc::ENOSYS) {
        Ok(false)
    } else {
        Err(error)
    }
}

/// What `/proc/PID/stat` says that makes a pid an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessStat {
    /// Field 3: `R`, `S`, `Z` and so on.
    pub state: u8,
    /// Field 22: when it started, in clock ticks since boot.
    pub start_time_ticks: u64,
}

impl ProcessStat {
    /// Whether the process still runs: a zombie does not, nobody can join it any more.
    #[must_use]
    pub fn is_alive(self) -> bool {
        !matches!(self.state, b'Z' | b'X' | b'x')
    }

    /// Reads the text of `/proc/PID/stat`.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let end = text.iter().rposition(|byte| *byte == b')')?;
        Some(Self {
            state: *text.get(end + 2)?,
            start_time_ticks: field_after_name(text, 19)?,
        })
    }

    /// Reads `/proc/PID/stat`.
    ///
    /// # Errors
    ///
    /// `ENOENT` or `ESRCH` if there is no such process.
    pub fn read(pid: i32) -> io::Result<Self> {
        let path = format!("/proc/{pid}/stat");
        let file = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        let mut text = [0_u8; 1024];
        let len = rustix::io::read(&file, &mut text)?;
        Self::parse(&text[..len]).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
    }
}

/// When process `pid` started, in clock ticks since boot.
///
/// # Errors
///
/// `ENOENT` or `ESRCH` if there is no such process.
pub fn start_time_ticks(pid: i32) -> io::Result<u64> {
    ProcessStat::read(pid).map(|stat| stat.start_time_ticks)
}

/// Whether the process that had this number when it started at `start_time_ticks` still runs.
#[must_use]
pub fn is_alive(pid: i32, start_time_ticks: u64) -> bool {
    ProcessStat::read(pid)
        .is_ok_and(|stat| stat.is_alive() && stat.start_time_ticks == start_time_ticks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_is_parsed_after_the_last_parenthesis() {
        let tail = "0 0 0 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 777 0 0\n";
        for name in ["sh", "a b", "x) R 1 (y", ")"] {
            let text = format!("12 ({name}) S {tail}");
            let stat = ProcessStat::parse(text.as_bytes()).unwrap();
            assert_eq!((stat.state, stat.start_time_ticks), (b'S', 777), "{name}");
        }
        assert_eq!(ProcessStat::parse(b"12 (sh"), None);
        assert_eq!(ProcessStat::parse(b"12 (sh) S 1 2 3"), None);
    }

    #[test]
    fn this_process_is_alive_and_nobody_else_is_it() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let start = start_time_ticks(pid).unwrap();
        assert!(is_alive(pid, start));
        assert!(!is_alive(pid, start + 1));
    }
}
