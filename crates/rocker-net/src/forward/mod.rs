//! Published ports for those whom nftables does not redirect: this host, at 127.0.0.1.
//!
//! The forwarder also holds every published port's socket, so that no other program can take
//! the port, and serves all of them should somebody flush the nftables rules (clients then
//! appear with the bridge's address).
//!
//! One thread, one epoll, fixed buffers: a reader that is slow slows its writer, nothing piles up.

mod direction;
mod holder;
mod listener;
mod tcp;
mod udp;

use std::fmt;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rocker_types::PublishedPort;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;

use listener::Listener;
pub use listener::PortError;
use tcp::{Side, TcpFlows};
use udp::UdpFlows;

/// How many events one [`PortForwarder::drive`] works through, so that a busy port does not
/// keep the monitor from the container's other streams.
const EVENTS_PER_DRIVE: usize = 64;
/// The buffer through which small transfers go; larger ones are spliced.
const SCRATCH_BYTES: usize = 32 * 1024;

/// Forwards connections and datagrams from a container's published ports to the container.
pub struct PortForwarder {
    epoll: OwnedFd,
    listeners: Vec<Listener>,
    ports: Vec<PublishedPort>,
    target: Ipv4Addr,
    tcp: TcpFlows,
    udp: UdpFlows,
    scratch: Vec<u8>,
    accepting: Accepting,
}

/// Whether new connections are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Accepting {
    Yes,
    /// There were no file descriptors left; until a connection ends, none is taken.
    Paused,
}

/// What an event belongs to; travels through the kernel as a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Listener(u32),
    Tcp(u32, Side),
    Udp(u32),
    /// Time to look for UDP clients that went silent.
    Expiry,
}

impl Token {
    fn encode(self) -> epoll::EventData {
        let number = |kind: u64, index: u32| kind << 32 | u64::from(index);
        epoll::EventData::new_u64(match self {
            Self::Listener(index) => number(0, index),
            Self::Tcp(index, Side::Client) => number(1, index),
            Self::Tcp(index, Side::Container) => number(2, index),
            Self::Udp(index) => number(3, index),
            Self::Expiry => number(4, 0),
        })
    }

    fn decode(data: epoll::EventData) -> Option<Self> {
        let index = u32::try_from(data.u64() & u64::from(u32::MAX)).ok()?;
        match data.u64() >> 32 {
            0 => Some(Self::Listener(index)),
            1 => Some(Self::Tcp(index, Side::Client)),
            2 => Some(Self::Tcp(index, Side::Container)),
            3 => Some(Self::Udp(index)),
            4 => Some(Self::Expiry),
            _ => None,
        }
    }
}

impl PortForwarder {
    /// Reserves `ports` on the host, for a container that will have the address `target`.
    ///
    /// A host port of 0 becomes a free one; see [`PortForwarder::ports`]. From here on clients
    /// can connect; they wait until [`PortForwarder::drive`] is called.
    ///
    /// # Errors
    ///
    /// [`PortError`]; if another process has the port, it is named where that can be known.
    pub fn bind(ports: &[PublishedPort], target: Ipv4Addr) -> Result<Self, PortError> {
        let epoll_error = |errno: Errno| PortError::Epoll {
            source: errno.into(),
        };
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(epoll_error)?;
        let mut listeners = Vec::with_capacity(ports.len());
        for (index, port) in (0u32..).zip(ports) {
            let listener = Listener::bind(port)?;
            let token = Token::Listener(index).encode();
            epoll::add(&epoll, listener.as_fd(), token, epoll::EventFlags::IN)
                .map_err(epoll_error)?;
            listeners.push(listener);
        }
        let bound = listeners.iter().map(|listener| listener.port).collect();
        Ok(Self {
            epoll,
            listeners,
            ports: bound,
            target,
            tcp: TcpFlows::default(),
            udp: UdpFlows::default(),
            scratch: Vec::new(),
            accepting: Accepting::Yes,
        })
    }

    /// The ports as they were asked for, every host port with the number it got.
    #[must_use]
    pub fn ports(&self) -> &[PublishedPort] {
        &self.ports
    }

    /// Does what there is to do, without blocking. To be called when [`AsFd::as_fd`] is readable.
    ///
    /// What goes wrong with one connection ends that connection, nothing else.
    pub fn drive(&mut self) {
        if self.scratch.is_empty() {
            // Only a port that is used costs the memory.
            self.scratch.resize(SCRATCH_BYTES, 0);
        }
        let mut events = Vec::with_capacity(EVENTS_PER_DRIVE);
        let buffer = rustix::buffer::spare_capacity(&mut events);
        // Level of the outer epoll: whatever is not read now is reported again.
        if epoll::wait(
            &self.epoll,
            buffer,
            Some(&Timespec {
                tv_sec: 0,
                tv_nsec: 0,
            }),
        )
        .is_ok()
        {
            for event in &events {
                if let Some(token) = Token::decode(event.data) {
                    self.handle(token, event.flags);
                }
            }
        }
        // Slots are given back only now: an event later in the batch may still name them.
        let ended = self.tcp.reap() + self.udp.reap();
        if ended > 0 && self.accepting == Accepting::Paused {
            self.resume();
        }
    }

    fn handle(&mut self, token: Token, flags: epoll::EventFlags) {
        match token {
            Token::Listener(index) => self.serve(index),
            Token::Tcp(index, side) => {
                self.tcp
                    .advance(&self.epoll, (index, side), flags, &mut self.scratch);
            }
            Token::Udp(index) => {
                self.udp.answer(index, &self.listeners, &mut self.scratch);
            }
            Token::Expiry => self.udp.expire(),
        }
    }

    fn serve(&mut self, index: u32) {
        let Some(listener) = usize::try_from(index)
            .ok()
            .and_then(|i| self.listeners.get(i))
        else {
            return;
        };
        let served = match listener.port.protocol {
            rocker_types::Protocol::Tcp => self.tcp.accept(&self.epoll, listener, self.target),
            rocker_types::Protocol::Udp => self.udp.relay(
                &self.epoll,
                (index, listener),
                self.target,
                &mut self.scratch,
            ),
        };
        if served == Err(Errno::MFILE) || served == Err(Errno::NFILE) {
            self.pause();
        }
    }

    /// Without this a listener that cannot be served would be reported for ever.
    fn pause(&mut self) {
        if self.tcp.is_empty() && self.udp.is_empty() {
            // Nothing of ours will end and free a descriptor; keep trying.
            return;
        }
        self.accepting = Accepting::Paused;
        self.set_listening(epoll::EventFlags::empty());
    }

    fn resume(&mut self) {
        self.accepting = Accepting::Yes;
        self.set_listening(epoll::EventFlags::IN);
    }

    fn set_listening(&self, interest: epoll::EventFlags) {
        for (index, listener) in (0u32..).zip(&self.listeners) {
            let token = Token::Listener(index).encode();
            if let Err(error) = epoll::modify(&self.epoll, listener.as_fd(), token, interest) {
                tracing::debug!(%error, "cannot change interest in a published port");
            }
        }
    }
}

impl fmt::Debug for PortForwarder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PortForwarder")
            .field("ports", &self.ports)
            .field("target", &self.target)
            .field("tcp", &self.tcp)
            .field("udp", &self.udp)
            .finish_non_exhaustive()
    }
}

impl AsFd for PortForwarder {
    /// An epoll instance: readable when there is something to [`PortForwarder::drive`].
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

/// Values with stable numbers, which are reused only after [`Slots::reap`].
#[derive(Debug)]
struct Slots<T> {
    slots: Vec<Option<T>>,
    free: Vec<u32>,
    ended: Vec<u32>,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            ended: Vec::new(),
        }
    }
}

impl<T> Slots<T> {
    /// The number that the next value will get.
    fn next(&self) -> u32 {
        let fresh = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
        self.free.last().copied().unwrap_or(fresh)
    }

    fn insert(&mut self, value: T) {
        match self.free.pop() {
            Some(index) => {
                if let Some(slot) = self.slot(index) {
                    *slot = Some(value);
                }
            }
            None => self.slots.push(Some(value)),
        }
    }

    fn get(&mut self, index: u32) -> Option<&mut T> {
        self.slot(index)?.as_mut()
    }

    fn end(&mut self, index: u32) -> Option<T> {
        let value = self.slot(index)?.take()?;
        self.ended.push(index);
        Some(value)
    }

    fn slot(&mut self, index: u32) -> Option<&mut Option<T>> {
        self.slots.get_mut(usize::try_from(index).ok()?)
    }

    /// Makes the numbers of ended values free again; how many there were.
    fn reap(&mut self) -> usize {
        let count = self.ended.len();
        self.free.append(&mut self.ended);
        count
    }

    fn len(&self) -> usize {
        self.slots.len() - self.free.len() - self.ended.len()
    }

    fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        (0u32..)
            .zip(&self.slots)
            .filter_map(|(index, slot)| Some((index, slot.as_ref()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_back_from_the_kernel_as_they_went() {
        let tokens = [
            Token::Listener(0),
            Token::Tcp(7, Side::Client),
            Token::Tcp(u32::MAX, Side::Container),
            Token::Udp(1),
            Token::Expiry,
        ];
        for token in tokens {
            assert_eq!(Token::decode(token.encode()), Some(token));
        }
        assert_eq!(Token::decode(epoll::EventData::new_u64(u64::MAX)), None);
    }

    #[test]
    fn a_number_is_not_reused_before_it_was_reaped() {
        let mut slots = Slots::default();
        slots.insert('a');
        slots.end(0);
        assert_eq!(slots.next(), 1);

        slots.reap();

        assert_eq!((slots.next(), slots.len()), (0, 0));
    }
}
