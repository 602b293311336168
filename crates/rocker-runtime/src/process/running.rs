//! A program that runs in a container, held by its pidfd.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rocker_types::{Diagnose, ErrorKind, Signal};

use super::init_process::collect;
use crate::cgroup::Cgroup;

/// The user's program runs. Dropping this neither kills nor reaps it.
#[derive(Debug)]
pub struct Running {
    pub(super) pid: i32,
    pub(super) start_time_ticks: u64,
    pub(super) pidfd: OwnedFd,
    pub(super) terminal: Option<OwnedFd>,
    pub(super) cgroup: Cgroup,
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    /// exit(2) with this code.
    Code(u8),
    /// Killed by this signal.
    Signal(Signal),
}

/// A signal was not delivered.
#[derive(Debug, thiserror::Error)]
#[error("cannot send {signal} to process {pid}")]
pub struct SignalError {
    /// Which signal.
    pub signal: Signal,
    /// To whom.
    pub pid: i32,
    /// Why.
    pub source: io::Error,
}

/// The end of a program could not be collected.
#[derive(Debug, thiserror::Error)]
#[error("cannot reap process {pid}")]
pub struct ReapError {
    /// Whose end.
    pub pid: i32,
    /// Why.
    pub source: io::Error,
}

impl ExitStatus {
    /// What a shell would report: the code, or 128 + signal.
    #[must_use]
    pub fn shell_code(self) -> i32 {
        match self {
            Self::Code(code) => i32::from(code),
            Self::Signal(signal) => 128 + signal.number(),
        }
    }
}

impl Running {
    /// The host's number for it.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Field 22 of `/proc/PID/stat`, in clock ticks since boot: with the pid an identity.
    #[must_use]
    pub fn start_time_ticks(&self) -> u64 {
        self.start_time_ticks
    }

    /// Becomes readable when the program ends.
    #[must_use]
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// The master side of the terminal that was asked for, once.
    pub fn take_terminal(&mut self) -> Option<OwnedFd> {
        self.terminal.take()
    }

    /// The cgroup it runs in: the container's, or the exec session's.
    #[must_use]
    pub fn cgroup(&self) -> &Cgroup {
        &self.cgroup
    }

    /// Sends a signal to the program itself, not to its children.
    ///
    /// # Errors
    ///
    /// [`SignalError`]; `ESRCH` once it is dead.
    pub fn signal(&self, signal: Signal) -> Result<(), SignalError> {
        rocker_sys::process::send_signal(self.pidfd.as_fd(), signal.number()).map_err(|source| {
            SignalError {
                signal,
                pid: self.pid,
                source,
            }
        })
    }

    /// Waits for the end and collects it. When the pidfd is readable this does not block.
    ///
    /// # Errors
    ///
    /// [`ReapError`] if somebody else already did.
    pub fn reap(self) -> Result<(ExitStatus, Cgroup), ReapError> {
        match collect(self.pidfd.as_fd()) {
            Ok(status) => Ok((status, self.cgroup)),
            Err(source) => Err(ReapError {
                pid: self.pid,
                source,
            }),
        }
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => write!(f, "killed by {signal}"),
        }
    }
}

impl Diagnose for SignalError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Conflict
    }
}

impl Diagnose for ReapError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Internal
    }
}
