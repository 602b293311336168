//! Starts a container's monitor: rocker itself, executed anew from a descriptor that nothing
//! can write through.

use std::ffi::OsString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::process::{Command, Stdio};

use rocker_db::OwnerLock;
use rocker_types::{ContainerId, Layout};
use rustix::io::FdFlags;

use crate::EngineError;
use crate::control::{self, Session};

/// The hidden word that makes rocker a monitor.
pub const MONITOR_WORD: &str = "__monitor";

/// Whether the caller wants the container's streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attach {
    No,
    Yes { stdin: bool },
}

/// A monitor on its way.
pub(crate) struct Spawned {
    /// Says how the start ended; see [`crate::report`].
    pub(crate) report: OwnedFd,
    /// The conversation, if it was asked for.
    pub(crate) session: Option<Session>,
}

/// Spawns the monitor of `id`, which owns the container's lock from now on.
pub(crate) fn monitor(
    layout: &Layout,
    id: &ContainerId,
    lock: OwnerLock,
    attach: Attach,
) -> Result<Spawned, EngineError> {
    let failed = |source: std::io::Error| EngineError::Spawn { source };
    let binary = rocker_runtime::executable::protected()
        .map_err(|source| EngineError::Protect { source })?;
    let (report, monitors_report) = std::io::pipe()
        .map(|(r, w)| (OwnedFd::from(r), OwnedFd::from(w)))
        .map_err(failed)?;
    let pair = match attach {
        Attach::No => None,
        Attach::Yes { stdin } => Some((control::pair().map_err(failed)?, stdin)),
    };

    let lock = lock
        .hand_over()
        .ok_or_else(|| failed(std::io::ErrorKind::NotFound.into()))?;
    let mut inherited = vec![lock.as_fd(), monitors_report.as_fd()];
    if let Some(((_, theirs), _)) = &pair {
        inherited.push(theirs.as_fd());
    }
    let mut arguments: Vec<OsString> = vec![
        MONITOR_WORD.into(),
        layout.root().into(),
        layout.runroot().into(),
        id.as_str().into(),
    ];
    arguments.extend(
        inherited
            .iter()
            .map(|fd| OsString::from(fd.as_raw_fd().to_string())),
    );
    execute(&binary, arguments, &inherited).map_err(failed)?;

    let session = match pair {
        Some(((ours, _theirs), stdin)) => {
            Some(Session::from_fd(ours, super::attach::wants(stdin))?)
        }
        None => None,
    };
    Ok(Spawned { report, session })
}

/// The child outlives this process on purpose: nobody waits for it.
fn execute(
    binary: &OwnedFd,
    arguments: Vec<OsString>,
    inherited: &[BorrowedFd<'_>],
) -> std::io::Result<()> {
    for fd in inherited {
        rustix::io::fcntl_setfd(fd, FdFlags::empty())?;
    }
    let mut command = Command::new(format!("/proc/self/fd/{}", binary.as_raw_fd()));
    command.args(arguments).env_clear();
    for name in ["ROCKER_CRASH_AT", "ROCKER_LOG"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    let spawned = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    for fd in inherited {
        rustix::io::fcntl_setfd(fd, FdFlags::CLOEXEC)?;
    }
    spawned.map(drop)
}
