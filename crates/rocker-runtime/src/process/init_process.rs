//! A child of this process that must not outlive a failure.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rocker_sys::clone::Child;
use rocker_types::Signal;
use rustix::io::Errno;
use rustix::process::{WaitId, WaitIdOptions, WaitIdStatus, waitid};

use super::running::ExitStatus;

/// A child that is killed and collected when this is dropped.
#[derive(Debug)]
pub(super) struct InitProcess {
    pid: i32,
    /// `None` once it is collected or handed on.
    pidfd: Option<OwnedFd>,
}

impl InitProcess {
    pub(super) fn new(child: Child) -> Self {
        Self {
            pid: child.pid,
            pidfd: Some(child.pidfd),
        }
    }

    pub(super) fn pid(&self) -> i32 {
        self.pid
    }

    /// Hands it on: from now on somebody else collects it.
    pub(super) fn release(mut self) -> Option<OwnedFd> {
        self.pidfd.take()
    }

    /// Waits for its end.
    pub(super) fn collect(&mut self) -> io::Result<ExitStatus> {
        let Some(pidfd) = self.pidfd.take() else {
            return Err(Errno::CHILD.into());
        };
        collect(pidfd.as_fd())
    }
}

impl Drop for InitProcess {
    fn drop(&mut self) {
        if let Some(pidfd) = &self.pidfd {
            // Both can only fail because it is gone already.
            let _ = rocker_sys::process::send_signal(pidfd.as_fd(), Signal::KILL.number());
            let _ = collect(pidfd.as_fd());
        }
    }
}

/// Waits for the end of the child behind `pidfd` and collects it.
pub(super) fn collect(pidfd: BorrowedFd<'_>) -> io::Result<ExitStatus> {
    loop {
        match waitid(WaitId::PidFd(pidfd), WaitIdOptions::EXITED) {
            Ok(Some(status)) => return Ok(exit_status(&status)),
            Ok(None) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

fn exit_status(status: &WaitIdStatus) -> ExitStatus {
    let signal = status.terminating_signal();
    let signal = signal.and_then(|number| Signal::from_number(number).ok());
    match (signal, status.exit_status()) {
        (Some(signal), _) => ExitStatus::Signal(signal),
        (None, Some(code)) => ExitStatus::Code(u8::try_from(code & 0xff).unwrap_or(u8::MAX)),
        (None, None) => ExitStatus::Code(u8::MAX),
    }
}
