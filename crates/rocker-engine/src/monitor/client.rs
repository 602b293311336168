//! One client of a running container, as the monitor sees it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use crate::control::message::{MAX_CONTENT, Report, Wants};
use crate::control::{Link, Received, Sent};
use crate::logs::Stream;

/// How long a client that is not in the foreground may take nothing while there is something to take.
pub const STALL_LIMIT: Duration = Duration::from_secs(5);

/// How many bytes of input one client may have under way.
pub(super) const WINDOW: usize = 64 * 1024;

/// How a client came, and what it is allowed for that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// It started the container: it may be slow.
    Foreground,
    /// It connected later.
    Guest,
}

/// Why something was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unsent {
    /// The client's socket is full.
    Blocked,
    /// The client is gone.
    HungUp,
}

/// One client of a running container.
#[derive(Debug)]
pub(super) struct Client {
    link: Link,
    role: Role,
    /// `None` until it said so.
    pub(super) wants: Option<Wants>,
    /// How much it has of the output that is being sent.
    sent: usize,
    pub(super) input: ClientInput,
    owed: Owed,
    /// Since when its socket is full.
    stalled_since: Option<Instant>,
}

/// Input from a client that the container has not taken.
#[derive(Debug, Default)]
pub(super) struct ClientInput {
    bytes: Vec<u8>,
    taken: usize,
    /// Whether the client said that no more comes.
    pub(super) ended: bool,
}

/// Short reports that wait for room in the client's socket.
#[derive(Clone, Copy, Debug, Default)]
struct Owed {
    welcome: Option<(u8, u32)>,
    stdin_taken: u32,
    stdin_closed: bool,
}

impl Client {
    pub(super) fn new(link: Link, role: Role) -> Self {
        let wants = match role {
            Role::Foreground => Some(Wants::Output),
            Role::Guest => None,
        };
        let (input, owed) = (ClientInput::default(), Owed::default());
        Self {
            link,
            role,
            wants,
            sent: 0,
            input,
            owed,
            stalled_since: None,
        }
    }

    pub(super) fn wants_output(&self) -> bool {
        self.wants >= Some(Wants::Output)
    }

    pub(super) fn wants_input(&self) -> bool {
        self.wants == Some(Wants::OutputAndStdin)
    }

    pub(super) fn owe_welcome(&mut self, version: u8, window: u32) {
        self.owed.welcome = Some((version, window));
    }

    pub(super) fn owe_stdin_taken(&mut self, bytes: usize) {
        // At most a window.
        self.owed.stdin_taken += u32::try_from(bytes).unwrap_or(0);
    }

    pub(super) fn owe_stdin_closed(&mut self) {
        self.owed.stdin_closed = self.wants_input();
    }

    pub(super) fn receive(&self, packet: &mut Vec<u8>) -> io::Result<Received> {
        self.link.receive(packet)
    }

    /// Begins a new piece of output.
    pub(super) fn restart_output(&mut self) {
        self.sent = 0;
    }

    /// Counts the current piece of output as sent.
    pub(super) fn skip_output(&mut self, output: &[u8]) {
        self.sent = output.len();
    }

    /// How much it has of the current piece of output.
    pub(super) fn sent(&self) -> usize {
        self.sent
    }

    /// Sends what is owed, and what it does not have yet of `output`.
    pub(super) fn send(&mut self, stream: Stream, output: &[u8]) -> Result<(), Unsent> {
        self.send_owed()?;
        if self.wants_output() {
            self.send_output(stream, output)?;
        }
        self.stalled_since = None;
        Ok(())
    }

    /// Sends the exit code.
    pub(super) fn send_exit(&mut self, code: i32) -> Result<(), Unsent> {
        self.report(&Report::Exited(code))
    }

    fn send_output(&mut self, stream: Stream, output: &[u8]) -> Result<(), Unsent> {
        while self.sent < output.len() {
            let rest = &output[self.sent..];
            let part = &rest[..rest.len().min(MAX_CONTENT)];
            self.report(&match stream {
                Stream::Stdout => Report::Stdout(part),
                Stream::Stderr => Report::Stderr(part),
            })?;
            self.sent += part.len();
        }
        Ok(())
    }

    fn send_owed(&mut self) -> Result<(), Unsent> {
        if let Some((version, window)) = self.owed.welcome {
            self.report(&Report::Welcome { version, window })?;
            self.owed.welcome = None;
        }
        if self.owed.stdin_taken > 0 {
            self.report(&Report::StdinTaken(self.owed.stdin_taken))?;
            self.owed.stdin_taken = 0;
        }
        if self.owed.stdin_closed {
            self.report(&Report::StdinClosed)?;
            self.owed.stdin_closed = false;
        }
        Ok(())
    }

    fn report(&mut self, report: &Report<'_>) -> Result<(), Unsent> {
        match self.link.send(&report.encode()) {
            Ok(Sent::Whole) => {
                self.stalled_since = None;
                Ok(())
            }
            Ok(Sent::NotNow) => {
                self.stalled_since.get_or_insert_with(Instant::now);
                Err(Unsent::Blocked)
            }
            Ok(Sent::HungUp) | Err(_) => Err(Unsent::HungUp),
        }
    }

    /// Whether its socket was full when something was sent last.
    pub(super) fn is_blocked(&self) -> bool {
        self.stalled_since.is_some()
    }

    /// When it will be dropped if it takes nothing until then.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.role {
            Role::Foreground => None,
            Role::Guest => self.stalled_since.map(|since| since + STALL_LIMIT),
        }
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.link.as_fd()
    }
}

impl ClientInput {
    /// Keeps `bytes`; false if the client sent more than its window.
    pub(super) fn push(&mut self, bytes: &[u8]) -> bool {
        if self.pending().len() + bytes.len() > WINDOW {
            return false;
        }
        self.bytes.drain(..self.taken);
        self.taken = 0;
        self.bytes.extend_from_slice(bytes);
        true
    }

    pub(super) fn pending(&self) -> &[u8] {
        &self.bytes[self.taken..]
    }

    pub(super) fn take(&mut self, len: usize) {
        self.taken += len;
        if self.pending().is_empty() {
            self.clear();
        }
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.taken = 0;
    }
}
