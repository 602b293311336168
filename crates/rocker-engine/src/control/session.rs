//! The client's side: a conversation with one container's monitor.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rocker_types::Signal;
use rustix::event::{PollFd, PollFlags, Timespec};

use super::link::Sent;
use super::message::{self, Report, Request, Wants};
use super::{Link, Received, SessionError, WindowSize, listener};

/// A conversation with a container's monitor. Nothing in it blocks, except as said.
///
/// The pump around it: poll [`as_fd`](AsFd::as_fd) for reading always, and the user's input for
/// reading while [`stdin_room`](Self::stdin_room) is not 0; on the one call [`next`](Self::next)
/// until it gives `None`, on the other [`send_stdin`](Self::send_stdin).
/// Dropping the session is what detaching means.
#[derive(Debug)]
pub struct Session {
    link: Link,
    /// Takes one packet; events borrow from it.
    packet: Vec<u8>,
    /// How many bytes of input may be sent now.
    room: usize,
    input: Input,
}

/// What became of the standard input that this client sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Input {
    Open,
    Ended,
}

/// What the monitor reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// The container wrote this to its standard output (or its terminal).
    Stdout(&'a [u8]),
    /// The container wrote this to its standard error.
    Stderr(&'a [u8]),
    /// [`Session::stdin_room`] has grown.
    StdinReady,
    /// The container reads no more input; further input would be thrown away.
    StdinClosed,
    /// The container ended with this code, and there was no more output.
    Exited(i32),
    /// The monitor hung up without an exit code: it was killed, or this client had not read
    /// for too long.
    Closed,
}

impl Session {
    /// How long a signal or a size may wait for a busy monitor.
    pub const PATIENCE: Duration = Duration::from_secs(5);

    /// Starts a conversation over one end of [`super::pair`].
    ///
    /// # Errors
    ///
    /// [`SessionError::Send`], [`SessionError::Stalled`].
    pub fn from_fd(socket: OwnedFd, wants: Wants) -> Result<Self, SessionError> {
        let session = Self {
            link: Link::from(socket),
            packet: Vec::new(),
            room: 0,
            input: Input::Open,
        };
        session.send(&Request::Hello {
            version: message::VERSION,
            wants,
        })?;
        Ok(session)
    }

    /// Connects to the control socket at `path`.
    ///
    /// # Errors
    ///
    /// [`SessionError::Connect`] if nobody listens there, or has not for [`PATIENCE`](Self::PATIENCE).
    pub fn connect(path: &Path, wants: Wants) -> Result<Self, SessionError> {
        let end = Instant::now() + Self::PATIENCE;
        loop {
            match listener::connect(path) {
                Ok(socket) => return Self::from_fd(socket, wants),
                // Many come at once. A place in the queue cannot be polled for.
                Err(e) if e.kind() == io::ErrorKind::WouldBlock && Instant::now() < end => {
                    std::thread::sleep(Duration::from_millis(1));
                }
                Err(source) => {
                    let path = path.to_owned();
                    return Err(SessionError::Connect { path, source });
                }
            }
        }
    }

    /// Wakes a monitor that listens at `path` between two runs: it looks at the database then.
    /// Whether somebody listens does not matter.
    pub(crate) fn knock(path: &Path) {
        let _ = listener::connect(path);
    }

    /// The next event, or `None` if there is none yet: poll the session for reading.
    ///
    /// # Errors
    ///
    /// [`SessionError::Receive`], and [`SessionError::Version`] from a monitor of the future.
    #[expect(
        clippy::should_implement_trait,
        reason = "an event borrows the session's buffer, which Iterator cannot say"
    )]
    pub fn next(&mut self) -> Result<Option<Event<'_>>, SessionError> {
        loop {
            match self.link.receive(&mut self.packet) {
                Ok(Received::Packet) if Report::decode(&self.packet).is_some() => break,
                // A kind of report that this version does not know.
                Ok(Received::Packet) => (),
                Ok(Received::Nothing) => return Ok(None),
                Ok(Received::Closed) => return Ok(Some(Event::Closed)),
                Err(source) => return Err(SessionError::Receive { source }),
            }
        }
        let Some(report) = Report::decode(&self.packet) else {
            return Ok(None);
        };
        Ok(Some(match report {
            Report::Stdout(bytes) => Event::Stdout(bytes),
            Report::Stderr(bytes) => Event::Stderr(bytes),
            Report::Exited(code) => Event::Exited(code),
            Report::StdinTaken(bytes) => {
                self.room = self.room.saturating_add(bytes as usize);
                Event::StdinReady
            }
            Report::Welcome { version, window } => {
                if version > message::VERSION {
                    let (theirs, ours) = (version, message::VERSION);
                    return Err(SessionError::Version { theirs, ours });
                }
                self.room = window as usize;
                Event::StdinReady
            }
            Report::StdinClosed => {
                self.input = Input::Ended;
                Event::StdinClosed
            }
        }))
    }

    /// How many bytes [`send_stdin`](Self::send_stdin) would take now, if not more than this are
    /// offered. 0 until the monitor answered, and while the container does not read.
    #[must_use]
    pub fn stdin_room(&self) -> usize {
        match self.input {
            Input::Open => self.room,
            Input::Ended => 0,
        }
    }

    /// Sends the first bytes of `bytes` to the container's standard input and returns how many
    /// that were; 0 means not now: wait for [`Event::StdinReady`].
    ///
    /// # Errors
    ///
    /// [`SessionError::Send`], [`SessionError::Stalled`].
    pub fn send_stdin(&mut self, bytes: &[u8]) -> Result<usize, SessionError> {
        let len = bytes.len().min(self.stdin_room()).min(message::MAX_CONTENT);
        if len > 0 {
            self.send(&Request::Stdin(&bytes[..len]))?;
            self.room -= len;
        }
        Ok(len)
    }

    /// Says that no more input will come from this client.
    ///
    /// # Errors
    ///
    /// [`SessionError::Send`], [`SessionError::Stalled`].
    pub fn close_stdin(&mut self) -> Result<(), SessionError> {
        self.input = Input::Ended;
        self.send(&Request::StdinEnd)
    }

    /// Gives the container's terminal this size; without a terminal nothing happens.
    ///
    /// # Errors
    ///
    /// [`SessionError::Send`], [`SessionError::Stalled`].
    pub fn resize(&self, size: WindowSize) -> Result<(), SessionError> {
        self.send(&Request::Resize(size))
    }

    /// Sends a signal to the container's init.
    ///
    /// # Errors
    ///
    /// [`SessionError::Send`], [`SessionError::Stalled`].
    pub fn signal(&self, signal: Signal) -> Result<(), SessionError> {
        self.send(&Request::Signal(signal))
    }

    /// Sends at once, or waits up to [`PATIENCE`](Self::PATIENCE): the monitor reads every
    /// packet as it comes, so a full socket lasts as long as it takes to schedule it.
    fn send(&self, request: &Request<'_>) -> Result<(), SessionError> {
        let what = request.name();
        let failed = |source: io::Error| SessionError::Send { what, source };
        loop {
            match self.link.send(&request.encode()).map_err(failed)? {
                // That the monitor is gone is told by `next`, after the last things it said.
                Sent::Whole | Sent::HungUp => return Ok(()),
                Sent::NotNow if self.wait_for_room().map_err(failed)? => (),
                Sent::NotNow => return Err(SessionError::Stalled { what }),
            }
        }
    }

    fn wait_for_room(&self) -> io::Result<bool> {
        let patience = Timespec::try_from(Self::PATIENCE).unwrap_or_default();
        let mut polled = [PollFd::new(&self.link, PollFlags::OUT)];
        loop {
            match rustix::event::poll(&mut polled, Some(&patience)) {
                Ok(ready) => return Ok(ready > 0),
                Err(rustix::io::Errno::INTR) => (),
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

impl AsFd for Session {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.link.as_fd()
    }
}
