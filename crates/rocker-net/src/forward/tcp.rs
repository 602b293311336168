//! TCP connections: one to the client, one to the container, and two directions between.
//!
//! Both sockets are watched edge-triggered and for everything from the beginning, so that a
//! short connection costs no further `epoll_ctl`. An edge must not be forgotten: whoever stops
//! before "would block" either waits for the other side's edge or asks for a new one.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;

use rustix::event::epoll;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketFlags, SocketType, accept_with, connect, socket_with, sockopt,
};

use super::direction::{Direction, Turn};
use super::listener::Listener;
use super::{Slots, Token};

/// One of the two connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Client,
    Container,
}

/// How many connections are taken before other events get their turn.
const ACCEPTS_PER_EVENT: usize = 32;
/// All connections.
#[derive(Debug, Default)]
pub(super) struct TcpFlows {
    flows: Slots<TcpFlow>,
}

#[derive(Debug)]
struct TcpFlow {
    client: OwnedFd,
    container: OwnedFd,
    connection: Connection,
    /// Client to container.
    up: Direction,
    /// Container to client.
    down: Direction,
}

/// Whether the container has answered the connection.
#[derive(Debug, PartialEq, Eq)]
enum Connection {
    Pending,
    Established,
}

impl TcpFlows {
    pub(super) fn is_empty(&self) -> bool {
        self.flows.len() == 0
    }

    pub(super) fn reap(&mut self) -> usize {
        self.flows.reap()
    }

    /// Takes waiting clients and begins to connect each to the container.
    ///
    /// The error, if any, is that there are no descriptors left.
    pub(super) fn accept(
        &mut self,
        epoll: &OwnedFd,
        listener: &Listener,
        target: Ipv4Addr,
    ) -> Result<(), Errno> {
        let target = SocketAddrV4::new(target, listener.port.container_port);
        for _ in 0..ACCEPTS_PER_EVENT {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            let client = match accept_with(listener, flags) {
                Ok(client) => client,
                Err(errno @ (Errno::MFILE | Errno::NFILE)) => return Err(errno),
                // Nobody waits, or that client is gone already; an error of it is not ours.
                Err(_) => return Ok(()),
            };
            if let Err(error) = self.open(epoll, client, target) {
                tracing::debug!(%error, "a client of a published port was sent away");
                if matches!(error, Errno::MFILE | Errno::NFILE) {
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    fn open(
        &mut self,
        epoll: &OwnedFd,
        client: OwnedFd,
        target: SocketAddrV4,
    ) -> Result<(), Errno> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let container = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
        sockopt::set_tcp_nodelay(&container, true)?;
        let connection = match connect(&container, &target) {
            Ok(()) => Connection::Established,
            Err(Errno::INPROGRESS) => Connection::Pending,
            Err(errno) => {
                reset(&client);
                return Err(errno);
            }
        };
        let index = self.flows.next();
        watch(epoll, &container, Token::Tcp(index, Side::Container))?;
        watch(epoll, &client, Token::Tcp(index, Side::Client))?;
        self.flows.insert(TcpFlow {
            client,
            container,
            connection,
            up: Direction::default(),
            down: Direction::default(),
        });
        Ok(())
    }

    /// Moves what an event made movable.
    pub(super) fn advance(
        &mut self,
        epoll: &OwnedFd,
        (index, side): (u32, Side),
        flags: epoll::EventFlags,
        scratch: &mut [u8],
    ) {
        let Some(flow) = self.flows.get(index) else {
            return;
        };
        let result = flow
            .advance(side, flags, scratch)
            .and_then(|turn| Ok((turn, flow.settle()?)));
        match result {
            Ok((_, true)) => drop(self.flows.end(index)),
            Ok((Turn::Waits, false)) => {}
            // Asking anew for what is asked for already reports at once what is ready.
            Ok((Turn::Over, false)) => {
                let asked =
                    rewatch(epoll, &flow.client, Token::Tcp(index, Side::Client)).and_then(|()| {
                        rewatch(epoll, &flow.container, Token::Tcp(index, Side::Container))
                    });
                if asked.is_err() {
                    self.abort(index);
                }
            }
            Err(_) => self.abort(index),
        }
    }

    /// One side was reset: the other learns it in the same way.
    fn abort(&mut self, index: u32) {
        if let Some(flow) = self.flows.end(index) {
            reset(&flow.client);
            reset(&flow.container);
        }
    }
}

const INTEREST: epoll::EventFlags = epoll::EventFlags::IN
    .union(epoll::EventFlags::OUT)
    .union(epoll::EventFlags::RDHUP)
    .union(epoll::EventFlags::ET);

fn watch(epoll: &OwnedFd, socket: &OwnedFd, token: Token) -> Result<(), Errno> {
    epoll::add(epoll, socket, token.encode(), INTEREST)
}

fn rewatch(epoll: &OwnedFd, socket: &OwnedFd, token: Token) -> Result<(), Errno> {
    epoll::modify(epoll, socket, token.encode(), INTEREST)
}

/// Has the next close send a reset instead of an orderly end.
fn reset(socket: &OwnedFd) {
    if let Err(error) = sockopt::set_socket_linger(socket, Some(std::time::Duration::ZERO)) {
        tracing::debug!(%error, "a connection ends orderly that should be reset");
    }
}

impl TcpFlow {
    /// Passes ends on; whether both directions have ended. Then closing says all.
    fn settle(&mut self) -> Result<bool, Errno> {
        if self.up.has_ended() && self.down.has_ended() {
            return Ok(true);
        }
        self.up.announce_end(&self.container)?;
        self.down.announce_end(&self.client)?;
        Ok(false)
    }

    fn advance(
        &mut self,
        side: Side,
        flags: epoll::EventFlags,
        scratch: &mut [u8],
    ) -> Result<Turn, Errno> {
        if self.connection == Connection::Pending {
            if side == Side::Client {
                // The container's first edge will have a look at the client too.
                return Ok(Turn::Waits);
            }
            if flags.intersects(epoll::EventFlags::ERR | epoll::EventFlags::HUP) {
                sockopt::socket_error(&self.container)??;
            }
            if !flags.contains(epoll::EventFlags::OUT) {
                return Ok(Turn::Waits);
            }
            self.connection = Connection::Established;
            let up = self.up.pump(&self.client, &self.container, scratch, true)?;
            let down = self.pump_from(Side::Container, flags, scratch)?;
            return Ok(later(up, down));
        }
        let from = self.pump_from(side, flags, scratch)?;
        let to = self.pump_to(side, flags, scratch)?;
        Ok(later(from, to))
    }

    fn pump_from(
        &mut self,
        side: Side,
        flags: epoll::EventFlags,
        scratch: &mut [u8],
    ) -> Result<Turn, Errno> {
        let ends = epoll::EventFlags::RDHUP | epoll::EventFlags::HUP | epoll::EventFlags::ERR;
        if !flags.intersects(epoll::EventFlags::IN | ends) {
            return Ok(Turn::Waits);
        }
        let ending = flags.intersects(ends);
        match side {
            Side::Client => self.up.pump(&self.client, &self.container, scratch, ending),
            Side::Container => self
                .down
                .pump(&self.container, &self.client, scratch, ending),
        }
    }

    fn pump_to(
        &mut self,
        side: Side,
        flags: epoll::EventFlags,
        scratch: &mut [u8],
    ) -> Result<Turn, Errno> {
        if !flags.contains(epoll::EventFlags::OUT) {
            return Ok(Turn::Waits);
        }
        let (direction, source, destination) = match side {
            Side::Client => (&mut self.down, &self.container, &self.client),
            Side::Container => (&mut self.up, &self.client, &self.container),
        };
        if !direction.is_blocked() {
            return Ok(Turn::Waits);
        }
        direction.pump(source, destination, scratch, true)
    }
}

fn later(a: Turn, b: Turn) -> Turn {
    if a == Turn::Over || b == Turn::Over {
        Turn::Over
    } else {
        Turn::Waits
    }
}
