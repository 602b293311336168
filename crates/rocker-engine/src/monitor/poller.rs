//! epoll with names for what is watched.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// The container's init died.
    Process,
    /// Somebody connects.
    Listener,
    /// The companion has work.
    Companion,
    /// The container wrote to its standard output or terminal.
    Stdout,
    /// The container wrote to its standard error.
    Stderr,
    /// The container reads its input, or closed it.
    Input,
    /// A client sent something, or can take something.
    Client(usize),
}

impl Token {
    const FIRST_CLIENT: u64 = 16;

    fn encode(self) -> u64 {
        match self {
            Self::Process => 0,
            Self::Listener => 1,
            Self::Companion => 2,
            Self::Stdout => 3,
            Self::Stderr => 4,
            Self::Input => 5,
            Self::Client(slot) => Self::FIRST_CLIENT + slot as u64,
        }
    }

    fn decode(value: u64) -> Self {
        match value {
            0 => Self::Process,
            1 => Self::Listener,
            2 => Self::Companion,
            3 => Self::Stdout,
            4 => Self::Stderr,
            5 => Self::Input,
            _ => {
                let slot = value.saturating_sub(Self::FIRST_CLIENT);
                Self::Client(usize::try_from(slot).unwrap_or(usize::MAX))
            }
        }
    }
}

/// What a file descriptor is watched for, besides errors and hang-ups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Interest {
    Nothing,
    Read,
    Write,
    ReadAndWrite,
}

impl Interest {
    fn flags(self) -> EventFlags {
        match self {
            Self::Nothing => EventFlags::empty(),
            Self::Read => EventFlags::IN,
            Self::Write => EventFlags::OUT,
            Self::ReadAndWrite => EventFlags::IN | EventFlags::OUT,
        }
    }
}

/// That something can be done without waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Readiness {
    pub(super) token: Token,
    /// The other side is gone: of a pipe's writing end, its readers.
    pub(super) broken: bool,
}

/// A level-triggered epoll instance.
pub(super) struct Poller {
    epoll: OwnedFd,
    events: Vec<Event>,
}

impl Poller {
    /// How many events are taken at once.
    const BATCH: usize = 16;

    pub(super) fn new() -> Result<Self, Errno> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        Ok(Self {
            epoll,
            events: Vec::with_capacity(Self::BATCH),
        })
    }

    pub(super) fn add(&self, fd: impl AsFd, token: Token, interest: Interest) -> Result<(), Errno> {
        epoll::add(
            &self.epoll,
            fd,
            EventData::new_u64(token.encode()),
            interest.flags(),
        )
    }

    pub(super) fn modify(
        &self,
        fd: impl AsFd,
        token: Token,
        interest: Interest,
    ) -> Result<(), Errno> {
        epoll::modify(
            &self.epoll,
            fd,
            EventData::new_u64(token.encode()),
            interest.flags(),
        )
    }

    /// Hang-ups are reported whatever the interest: what must be quiet has to leave.
    pub(super) fn remove(&self, fd: impl AsFd) {
        let _ = epoll::delete(&self.epoll, fd);
    }

    /// Waits for events, at most so long.
    pub(super) fn wait(&mut self, timeout: Option<Duration>) -> Result<(), Errno> {
        // An absurdly long time is as good as none.
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        self.events.clear();
        let buffer = rustix::buffer::spare_capacity(&mut self.events);
        match epoll::wait(&self.epoll, buffer, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(errno),
        }
    }

    /// What the last [`wait`](Self::wait) found, one by one.
    pub(super) fn next(&mut self) -> Option<Readiness> {
        let event = self.events.pop()?;
        let (token, flags) = (Token::decode(event.data.u64()), event.flags);
        Some(Readiness {
            token,
            broken: flags.contains(EventFlags::ERR),
        })
    }
}
