//! The first three descriptors, and all others.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rocker_sys::process::close_on_exec_from;
use rustix::fs::{FileType, Gid, Uid};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};

use crate::process::{At, InitFailure, InitStep};
use crate::rootfs::Terminal;
use crate::spec::StdioFds;

/// What becomes the program's streams.
#[derive(Debug)]
pub(super) enum Streams {
    /// Pipes or `/dev/null`, from the host.
    Pipes(StdioFds),
    /// The container's side of its own terminal.
    Terminal(OwnedFd),
}

impl StdioFds {
    /// Moves them out of the way of 0, 1 and 2, onto which they will be copied.
    pub(crate) fn above_the_first_three(self) -> io::Result<Self> {
        let lift = |fd: OwnedFd| -> io::Result<OwnedFd> {
            if fd.as_raw_fd() > 2 {
                Ok(fd)
            } else {
                rustix::io::fcntl_dupfd_cloexec(&fd, 3).map_err(Into::into)
            }
        };
        Ok(Self {
            stdin: lift(self.stdin)?,
            stdout: lift(self.stdout)?,
            stderr: lift(self.stderr)?,
        })
    }

    /// All three.
    pub(crate) fn borrow(&self) -> [BorrowedFd<'_>; 3] {
        [self.stdin.as_fd(), self.stdout.as_fd(), self.stderr.as_fd()]
    }
}

impl Streams {
    /// The terminal if there is one.
    pub(super) fn choose(terminal: Option<Terminal>, pipes: StdioFds) -> (Self, Option<OwnedFd>) {
        match terminal {
            Some(Terminal { master, slave }) => (Self::Terminal(slave), Some(master)),
            None => (Self::Pipes(pipes), None),
        }
    }

    /// What must stay open until they are installed.
    pub(super) fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        match self {
            Self::Pipes(pipes) => pipes.borrow().to_vec(),
            Self::Terminal(slave) => vec![slave.as_fd()],
        }
    }

    /// Gives pipes and the terminal to the user, so that `/dev/stdout` can be opened anew.
    /// Devices are left alone: they are the host's own nodes.
    pub(super) fn give_to(&self, uid: u32) -> Result<(), InitFailure> {
        if uid == 0 {
            return Ok(());
        }
        match self {
            Self::Pipes(pipes) => pipes
                .borrow()
                .into_iter()
                .try_for_each(|fd| give_to(fd, uid)),
            Self::Terminal(slave) => chown(slave.as_fd(), uid),
        }
    }

    /// Makes these the first three descriptors.
    pub(super) fn become_the_first_three(&self) -> Result<(), InitFailure> {
        match self {
            Self::Pipes(pipes) => copy(&pipes.stdin, &pipes.stdout, &pipes.stderr),
            Self::Terminal(slave) => copy(slave, slave, slave),
        }
    }

    /// Starts a session, at the terminal if there is one, and marks all descriptors but the first
    /// three close-on-exec, whoever opened them (CVE-2024-21626).
    pub(super) fn lead_session(&self) -> Result<(), InitFailure> {
        // Fails only for a process group leader, which leads a session already.
        let _ = rustix::process::setsid();
        if let Self::Terminal(slave) = self {
            rustix::process::ioctl_tiocsctty(slave)
                .at(InitStep::Terminal, "controlling terminal")?;
        }
        close_on_exec_from(3).at(InitStep::Stdio, "close_range")
    }
}

fn copy(stdin: &OwnedFd, stdout: &OwnedFd, stderr: &OwnedFd) -> Result<(), InitFailure> {
    dup2_stdin(stdin).at(InitStep::Stdio, "stdin")?;
    dup2_stdout(stdout).at(InitStep::Stdio, "stdout")?;
    dup2_stderr(stderr).at(InitStep::Stdio, "stderr")
}

fn give_to(fd: BorrowedFd<'_>, uid: u32) -> Result<(), InitFailure> {
    let mode = rustix::fs::fstat(fd).at(InitStep::Stdio, "fstat")?.st_mode;
    if FileType::from_raw_mode(mode) == FileType::Fifo {
        chown(fd, uid)?;
    }
    Ok(())
}

fn chown(fd: BorrowedFd<'_>, uid: u32) -> Result<(), InitFailure> {
    rustix::fs::fchown(fd, Some(Uid::from_raw(uid)), None::<Gid>).at(InitStep::Stdio, "fchown")
}
