//! Signal masks and dispositions of a process that is about to become another program.
#![expect(unsafe_code, reason = "signal sets are C structures")]

use std::io;
use std::mem::MaybeUninit;
use std::ptr;

/// Highest signal number on Linux.
const LAST_SIGNAL: i32 = 64;

/// Room for the kernel's `struct sigaction`, whose layout differs between architectures.
#[repr(C, align(8))]
struct KernelSigaction([u64; 8]);

/// A full or empty set.
fn signal_set(full: bool) -> libc::sigset_t {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    if full {
        // SAFETY: sigfillset initialises the whole set it is given.
        unsafe { libc::sigfillset(set.as_mut_ptr()) };
    } else {
        // SAFETY: sigemptyset initialises the whole set it is given.
        unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    }
    // SAFETY: initialised by one of the calls above; they cannot fail.
    unsafe { set.assume_init() }
}

fn set_mask(set: &libc::sigset_t) -> io::Result<()> {
    // SAFETY: the set is borrowed for the call; the old mask is not asked for.
    let rc = unsafe { libc::sigprocmask(libc::SIG_SETMASK, set, ptr::null_mut()) };
    if rc == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
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
    set_mask(&signal_set(false))
}

/// Blocks every signal, so that [`wait_any`] gets them.
///
/// # Errors
///
/// See sigprocmask(2).
pub fn block_all() -> io::Result<()> {
    set_mask(&signal_set(true))
}

/// Waits for one of the blocked signals and takes it.
///
/// # Errors
///
/// `EINTR` if the process was stopped and continued.
pub fn wait_any() -> io::Result<i32> {
    let set = signal_set(true);
    // SAFETY: the set is borrowed for the call; details of the signal are not asked for.
    let signal = unsafe { libc::sigwaitinfo(&raw const set, ptr::null_mut()) };
    if signal < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(signal)
    }
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
