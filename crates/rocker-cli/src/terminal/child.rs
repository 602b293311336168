//! A program of `rocker exec`: our own child, talked to through pipes or its terminal.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rocker_engine::control::WindowSize;
use rocker_engine::{ExecSession, ExecStreams};
use rocker_types::Signal;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use rustix::termios::Winsize;

use super::PumpError;
use super::program::{Heard, Program, readable};

const PIECE: usize = 64 * 1024;

/// What a dead program left in a pipe is at most a pipe's capacity, which is rarely more than
/// this; a grandchild that goes on writing must not keep us here.
const MOST_AFTER_END: usize = 1 << 20;

/// How long the emptied cgroup of the session may take to go.
const CGROUP_PATIENCE: Duration = Duration::from_millis(100);

/// The program and our ends of its streams. None of them blocks.
#[derive(Debug)]
pub(crate) struct Child {
    /// `None` once it was reaped.
    session: Option<rocker_engine::Running>,
    stdin: Option<OwnedFd>,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
    terminal: Option<OwnedFd>,
}

impl Child {
    /// Takes over the program that the engine started.
    pub(crate) fn new(session: ExecSession) -> io::Result<Self> {
        let mut child = Self {
            session: Some(session.running),
            stdin: None,
            stdout: None,
            stderr: None,
            terminal: None,
        };
        match session.streams {
            ExecStreams::None => {}
            ExecStreams::Terminal(master) => child.terminal = Some(master),
            ExecStreams::Pipes {
                stdin,
                stdout,
                stderr,
            } => {
                (child.stdin, child.stdout) = (stdin, Some(stdout));
                child.stderr = Some(stderr);
            }
        }
        let ours = [&child.stdin, &child.stdout, &child.stderr, &child.terminal];
        for fd in ours.into_iter().flatten() {
            fcntl_setfl(fd, fcntl_getfl(fd)? | OFlags::NONBLOCK)?;
        }
        Ok(child)
    }

    fn has_ended(&self) -> Result<bool, PumpError> {
        let Some(running) = &self.session else {
            return Ok(true);
        };
        let mut polled = [readable(running.pidfd())];
        match rustix::event::poll(&mut polled, Some(&Timespec::default())) {
            Ok(ready) => Ok(ready > 0),
            Err(Errno::INTR) => Ok(false),
            Err(errno) => Err(PumpError::Poll(errno.into())),
        }
    }

    /// Collects the exit code, and the session's cgroup with it.
    fn reap(&mut self) -> Result<Heard<'static>, PumpError> {
        let Some(running) = self.session.take() else {
            return Ok(Heard::Lost);
        };
        let (status, cgroup) = running.reap().map_err(|source| PumpError::Child {
            attempt: "collect the end of the program",
            source: source.into(),
        })?;
        // What the program left running in it is removed with the container.
        let _populated = cgroup.remove_within(CGROUP_PATIENCE);
        Ok(Heard::Exited(status.shell_code()))
    }
}

/// Reads what there is, at most `most` bytes; closes our end at the end of file.
fn drain(
    slot: &mut Option<OwnedFd>,
    most: usize,
    tell: &mut dyn FnMut(&[u8]) -> Result<(), PumpError>,
) -> Result<(), PumpError> {
    let mut piece = vec![0; PIECE];
    let mut total = 0;
    while let Some(fd) = slot
        && total < most
    {
        match rustix::io::read(fd, &mut piece) {
            // A terminal whose other side is closed says EIO.
            Ok(0) | Err(Errno::IO) => *slot = None,
            Ok(length) => {
                total += length;
                tell(&piece[..length])?;
            }
            Err(Errno::AGAIN) => break,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(PumpError::Listen(errno.into())),
        }
    }
    Ok(())
}

impl Program for Child {
    fn polled(&self, unsent: bool) -> Vec<PollFd<'_>> {
        let outputs = [&self.stdout, &self.stderr, &self.terminal];
        let mut polled: Vec<PollFd<'_>> = outputs
            .into_iter()
            .flatten()
            .map(|fd| readable(fd.as_fd()))
            .collect();
        if let Some(running) = &self.session {
            polled.push(readable(running.pidfd()));
        }
        if unsent && let Some(input) = self.stdin.as_ref().or(self.terminal.as_ref()) {
            polled.push(PollFd::new(input, PollFlags::OUT));
        }
        polled
    }

    fn hear(
        &mut self,
        tell: &mut dyn FnMut(Heard<'_>) -> Result<(), PumpError>,
    ) -> Result<(), PumpError> {
        // Asked before reading: what was written before the end is read after this.
        let ended = self.has_ended()?;
        let most = if ended { MOST_AFTER_END } else { PIECE };
        drain(&mut self.stdout, most, &mut |b| tell(Heard::Stdout(b)))?;
        drain(&mut self.terminal, most, &mut |b| tell(Heard::Stdout(b)))?;
        drain(&mut self.stderr, most, &mut |b| tell(Heard::Stderr(b)))?;
        if ended {
            let last = self.reap()?;
            tell(last)?;
        }
        Ok(())
    }

    fn takes_input(&self) -> bool {
        self.stdin.is_some() || self.terminal.is_some()
    }

    fn send(&mut self, bytes: &[u8]) -> Result<usize, PumpError> {
        let Some(input) = self.stdin.as_ref().or(self.terminal.as_ref()) else {
            return Ok(bytes.len());
        };
        match rustix::io::write(input, bytes) {
            Ok(length) => Ok(length),
            Err(Errno::AGAIN | Errno::INTR) => Ok(0),
            // It reads no more; the rest is thrown away, as in a shell's pipe.
            Err(Errno::PIPE | Errno::IO) => {
                self.stdin = None;
                Ok(bytes.len())
            }
            Err(errno) => Err(PumpError::Child {
                attempt: "pass on standard input",
                source: io::Error::from(errno).into(),
            }),
        }
    }

    fn end_input(&mut self) -> Result<(), PumpError> {
        self.stdin = None;
        Ok(())
    }

    fn resize(&self, size: WindowSize) -> Result<(), PumpError> {
        let Some(terminal) = &self.terminal else {
            return Ok(());
        };
        let size = Winsize {
            ws_row: size.rows,
            ws_col: size.columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        rustix::termios::tcsetwinsize(terminal, size).map_err(|errno| PumpError::Child {
            attempt: "resize the terminal of the program",
            source: io::Error::from(errno).into(),
        })
    }

    fn signal(&self, signal: Signal) -> Result<(), PumpError> {
        if let Some(running) = &self.session {
            // Dead already: its end is about to be heard.
            let _dead = running.signal(signal);
        }
        Ok(())
    }
}
