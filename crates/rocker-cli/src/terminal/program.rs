//! What the pump talks to: a container through its monitor, or a program of `exec` directly.

use std::os::fd::BorrowedFd;

use rocker_engine::control::{Event, Session, WindowSize};
use rocker_types::Signal;
use rustix::event::{PollFd, PollFlags};

use super::PumpError;

/// What became of a program's side of the conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard<'a> {
    Stdout(&'a [u8]),
    Stderr(&'a [u8]),
    /// It takes no more input.
    StdinClosed,
    /// It ended with this code, and everything it wrote was heard.
    Exited(i32),
    /// Nobody answers any more.
    Lost,
}

/// A running program with its streams.
pub(crate) trait Program {
    /// What to wait for; `unsent` if there is input that it did not take.
    fn polled(&self, unsent: bool) -> Vec<PollFd<'_>>;

    /// What happened, until there is nothing more now.
    fn hear(
        &mut self,
        tell: &mut dyn FnMut(Heard<'_>) -> Result<(), PumpError>,
    ) -> Result<(), PumpError>;

    /// Whether input would be taken at all now; standard input is not read before.
    fn takes_input(&self) -> bool;

    /// Gives it the first bytes of `bytes` and returns how many it took.
    fn send(&mut self, bytes: &[u8]) -> Result<usize, PumpError>;

    /// No more input will come.
    fn end_input(&mut self) -> Result<(), PumpError>;

    /// The user's terminal has this size now.
    fn resize(&self, size: WindowSize) -> Result<(), PumpError>;

    fn signal(&self, signal: Signal) -> Result<(), PumpError>;
}

/// Waits for reading.
pub(super) fn readable(fd: BorrowedFd<'_>) -> PollFd<'_> {
    PollFd::from_borrowed_fd(fd, PollFlags::IN)
}

impl Program for Session {
    fn polled(&self, _: bool) -> Vec<PollFd<'_>> {
        vec![PollFd::new(self, PollFlags::IN)]
    }

    fn hear(
        &mut self,
        tell: &mut dyn FnMut(Heard<'_>) -> Result<(), PumpError>,
    ) -> Result<(), PumpError> {
        while let Some(event) = self.next()? {
            let heard = match event {
                Event::Stdout(bytes) => Heard::Stdout(bytes),
                Event::Stderr(bytes) => Heard::Stderr(bytes),
                Event::StdinReady => continue,
                Event::StdinClosed => Heard::StdinClosed,
                Event::Exited(code) => Heard::Exited(code),
                Event::Closed => Heard::Lost,
            };
            let is_last = matches!(heard, Heard::Exited(_) | Heard::Lost);
            tell(heard)?;
            if is_last {
                break;
            }
        }
        Ok(())
    }

    fn takes_input(&self) -> bool {
        self.stdin_room() > 0
    }

    fn send(&mut self, bytes: &[u8]) -> Result<usize, PumpError> {
        Ok(self.send_stdin(bytes)?)
    }

    fn end_input(&mut self) -> Result<(), PumpError> {
        Ok(self.close_stdin()?)
    }

    fn resize(&self, size: WindowSize) -> Result<(), PumpError> {
        Ok(Session::resize(self, size)?)
    }

    fn signal(&self, signal: Signal) -> Result<(), PumpError> {
        Ok(Session::signal(self, signal)?)
    }
}
