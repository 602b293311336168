//! Signal masks and dispositions of a process that is about to become another program.
#![expect(unsafe_code, reason = "raw system calls")]

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::ptr;

/// Highest signal number on Linux.
const LAST_SIGNAL: i32 = 64;

/// Room for the kernel's `struct sigaction`, whose layout differs between architectures.
#[repr(C, align(8))]
struct KernelSigaction([u64; 8]);

/// The kernel's own signal set: signal `n` is bit `n - 1`. A C library keeps two or three of them
/// for itself and leaves them out of its full set.
type SignalSet = u64;
static NONE: SignalSet = 0;
static ALL: SignalSet = SignalSet::MAX;

fn set_mask(set: SignalSet) -> io::Result<()> {
    // SAFETY: the kernel reads the eight bytes of `set`; the old mask is not asked for.
    let rc = unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            &raw const set,
            ptr::null_mut::<SignalSet>(),
            size_of_val(&set),
        )
    };
    if rc == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Makes the program that `command` starts begin as [`reset_all`] says: a child has the signals
/// blocked that its parent takes in another way.
pub fn reset_in_child(command: &mut Command) {
    // SAFETY: what runs between fork and exec makes system calls alone and allocates nothing,
    // not even for its error.
    unsafe { command.pre_exec(reset_all) };
}

/// Gives every signal its default action and blocks none: what a new program expects, and
/// what execve(2) does not do for signals that are ignored or blocked.
///
/// # Errors
///
/// See sigprocmask(2).
pub fn reset_all() -> io::Result<()> {
    let default = KernelSigaction([0; 8]);
    for signal in 1..=LAST_SIGNAL {
        // Not through the C library, which keeps two signals for itself and would leave them
        // ignored if they were inherited so. KILL and STOP cannot be changed (EINVAL) and are
        // at their default anyway.
        // SAFETY: the kernel reads one `struct sigaction` of its own layout, at most 64 bytes
        // on every architecture, and keeps no pointer; all zeroes mean SIG_DFL with no flags,
        // no restorer and an empty mask of 8 bytes, and name no handler function.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                &raw const default,
                ptr::null_mut::<KernelSigaction>(),
                8,
            )
        };
    }
    set_mask(NONE)
}

/// Blocks every signal, so that [`wait_any`] gets them.
///
/// # Errors
///
/// See sigprocmask(2).
pub fn block_all() -> io::Result<()> {
    set_mask(ALL)
}

/// Waits for one of the blocked signals and takes it.
///
/// # Errors
///
/// `EINTR` if the process was stopped and continued.
pub fn wait_any() -> io::Result<i32> {
    // SAFETY: the kernel reads the eight bytes of `ALL`; neither details of the signal nor a
    // time limit are asked for.
    let signal = unsafe {
        libc::syscall(
            libc::SYS_rt_sigtimedwait,
            &raw const ALL,
            ptr::null_mut::<libc::siginfo_t>(),
            ptr::null::<libc::timespec>(),
            size_of_val(&ALL),
        )
    };
    if signal < 0 {
        return Err(io::Error::last_os_error());
    }
    i32::try_from(signal).map_err(io::Error::other)
}

/// Sends signal `number` to process `pid`, or to a whole group if it is negative. Real-time
/// signals too.
///
/// # Errors
///
/// See kill(2).
pub fn kill(pid: i32, number: i32) -> io::Result<()> {
    // SAFETY: kill(2) reads no memory.
    let rc = unsafe { libc::kill(pid, number) };
    if rc == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use rustix::fs::{Mode, OFlags};

    use super::*;

    #[test]
    fn block_all_leaves_out_nothing_that_can_be_blocked() {
        // In a thread of its own, which takes its mask with it.
        let blocked = std::thread::spawn(|| {
            block_all().unwrap();
            let path = "/proc/thread-self/status";
            let file = rustix::fs::open(path, OFlags::RDONLY, Mode::empty()).unwrap();
            let mut text = [0; 4096];
            let len = rustix::io::read(&file, &mut text).unwrap();
            let status = std::str::from_utf8(&text[..len]).unwrap();
            let line = status.lines().find_map(|l| l.strip_prefix("SigBlk:\t"));
            u64::from_str_radix(line.unwrap(), 16).unwrap()
        });
        let kill_and_stop = 1 << (libc::SIGKILL - 1) | 1 << (libc::SIGSTOP - 1);
        assert_eq!(blocked.join().unwrap(), !kill_and_stop);
    }
}
