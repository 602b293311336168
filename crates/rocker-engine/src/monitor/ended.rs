//! After the container's death: the last output and the exit code, to all who want them.

use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;

use super::client::{Client, Role, Unsent};
use crate::control::{Accepted, ControlListener};
use crate::logs::Stream;

/// The last output, in order. At most what fits into the container's pipes, and one chunk.
pub(super) type Tail = Vec<(Stream, Vec<u8>)>;

/// A container has ended; its clients do not know yet.
///
/// The caller records the exit status, calls [`tell_exit`](Self::tell_exit), cleans up, and then calls
/// [`linger`](Self::linger) for the sake of a client that is slow. Dropping it hangs up on everybody.
#[derive(Debug)]
#[must_use = "the clients wait for the exit code"]
pub struct Ended {
    clients: Vec<Farewell>,
    tail: Tail,
    code: i32,
}

/// How far one client is with the end.
#[derive(Debug)]
struct Farewell {
    client: Client,
    /// How many pieces of the tail it has.
    pieces: usize,
}

/// Whether every client knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Each one has all output and the exit code in its socket.
    Complete,
    /// Some socket is full: [`Ended::linger`].
    Pending,
}

impl Ended {
    pub(super) fn new(clients: Vec<Client>, tail: Tail) -> Self {
        let farewell = |client| Farewell { client, pieces: 0 };
        Self {
            clients: clients.into_iter().map(farewell).collect(),
            tail,
            code: 0,
        }
    }

    /// Sends every client the last output and then the code that `rocker run` exits with, as far
    /// as that goes without waiting.
    pub fn tell_exit(&mut self, code: i32) -> Delivery {
        self.code = code;
        self.deliver()
    }

    /// Waits until every client has what [`tell_exit`](Self::tell_exit) could not send, or left. The
    /// client in the foreground has all the time it wants, others [`super::STALL_LIMIT`].
    pub fn linger(mut self) {
        self.linger_until(None);
    }

    /// As [`linger`](Self::linger), but not longer than `patience`.
    pub fn linger_for(&mut self, patience: Duration) -> Delivery {
        self.linger_until(Instant::now().checked_add(patience))
    }

    fn linger_until(&mut self, end: Option<Instant>) -> Delivery {
        while self.deliver() == Delivery::Pending {
            if end.is_some_and(|end| end <= Instant::now()) || self.wait(end).is_err() {
                return Delivery::Pending;
            }
            let now = Instant::now();
            self.clients
                .retain(|farewell| farewell.client.deadline().is_none_or(|end| end > now));
        }
        Delivery::Complete
    }

    /// Lets those in who connected after the container's end, and tells them how it ended.
    pub(crate) fn let_in(&mut self, listener: &ControlListener) {
        loop {
            match listener.accept() {
                Ok(Accepted::Client(link)) => self.clients.push(Farewell {
                    client: Client::new(link, Role::Guest),
                    pieces: self.tail.len(),
                }),
                Ok(Accepted::Refused) => {}
                Ok(Accepted::Nobody) | Err(_) => break,
            }
        }
        self.deliver();
    }

    fn deliver(&mut self) -> Delivery {
        let (tail, code) = (&self.tail, self.code);
        // Who has everything is hung up on, and so sees the end.
        self.clients
            .retain_mut(|farewell| farewell.advance(tail, code) == Err(Unsent::Blocked));
        if self.clients.is_empty() {
            Delivery::Complete
        } else {
            Delivery::Pending
        }
    }

    fn wait(&self, end: Option<Instant>) -> Result<(), Errno> {
        let deadlines = self
            .clients
            .iter()
            .filter_map(|farewell| farewell.client.deadline());
        let deadline = deadlines.chain(end).min();
        let left = deadline.map(|end| end.saturating_duration_since(Instant::now()));
        let timeout = left.map(|left| Timespec::try_from(left).unwrap_or_default());
        let sockets = self.clients.iter().map(|farewell| &farewell.client);
        let mut polled: Vec<_> = sockets.map(|fd| PollFd::new(fd, PollFlags::OUT)).collect();
        match rustix::event::poll(&mut polled, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(errno),
        }
    }
}

impl Farewell {
    fn advance(&mut self, tail: &Tail, code: i32) -> Result<(), Unsent> {
        while let Some((stream, output)) = tail.get(self.pieces) {
            self.client.send(*stream, output)?;
            self.pieces += 1;
            self.client.restart_output();
        }
        self.client.send(Stream::Stdout, &[])?;
        self.client.send_exit(code)
    }
}
