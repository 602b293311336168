//! What is needed to watch over a running container.

use std::fmt;
use std::os::fd::{BorrowedFd, OwnedFd};

use rocker_types::Signal;

use super::event_loop::EventLoop;
use super::{Ended, SuperviseError};
use crate::control::ControlListener;
use crate::logs::LogWriter;

/// Everything that the monitor of one running container works with.
pub struct Supervision<'a> {
    /// The container's init; it is not reaped here.
    pub pidfd: BorrowedFd<'a>,
    /// Sends a signal to the container's init, for a client.
    pub signal: &'a mut dyn FnMut(Signal),
    /// The container's standard streams, our ends.
    pub streams: Streams,
    /// When the container's input ends.
    pub input_end: InputEnd,
    /// Where output is kept, if anywhere.
    pub log: Option<&'a mut LogWriter>,
    /// Where clients connect, if they may.
    pub listener: Option<&'a ControlListener>,
    /// The client in the foreground: the monitor's end of [`crate::control::pair`].
    pub first_client: Option<OwnedFd>,
    /// Something else that lives as long as the container does.
    pub companion: Option<Companion<'a>>,
}

/// Our ends of a container's standard streams. They are made non-blocking.
#[derive(Debug)]
pub enum Streams {
    /// Pipes, which a container without a terminal gets.
    Pipes {
        /// Where to write the container's input; `None` if it has none.
        stdin: Option<OwnedFd>,
        /// Where to read its output.
        stdout: OwnedFd,
        /// Where to read its errors.
        stderr: OwnedFd,
    },
    /// The master of the container's terminal.
    Terminal(OwnedFd),
}

/// When a container's standard input ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputEnd {
    /// When the first client that sends input has sent all of it or hangs up (docker's `StdinOnce`).
    WithFirstClient,
    /// When the container ends: clients come and go.
    WithContainer,
}

/// Work beside the container's streams, driven by readiness: the port forwarder.
pub struct Companion<'a> {
    /// Readable when there is work, for instance an epoll instance.
    pub fd: OwnedFd,
    /// Does it, without blocking.
    pub drive: Box<dyn FnMut() + 'a>,
}

impl Supervision<'_> {
    /// Watches until the container's init is dead and what it wrote is read, logged, and sent or kept
    /// for the clients. Processes outside of the container that still hold its pipes are not waited for.
    ///
    /// # Errors
    ///
    /// [`SuperviseError`]; the container goes on, unwatched.
    pub fn supervise(self) -> Result<Ended, SuperviseError> {
        EventLoop::new(self)?.run()
    }
}

impl fmt::Debug for Supervision<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Supervision")
            .field("pidfd", &self.pidfd)
            .field("streams", &self.streams)
            .field("input_end", &self.input_end)
            .field("first_client", &self.first_client)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Companion<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Companion")
            .field("fd", &self.fd)
            .finish_non_exhaustive()
    }
}
