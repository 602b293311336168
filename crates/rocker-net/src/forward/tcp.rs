//! TCP connections: one to the client, one to the container, and two directions between.
//!
//! Both sockets are watched edge-triggered and for everything from the beginning, so that a
//! short connection costs no further `epoll_ctl`. An edge must not be forgotten: whoever stops
//! before "would block" either waits for the other side's edge or asks for a new one.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::epoll;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, Shutdown, SocketFlags, SocketType, accept_with, connect,
    recv, send, shutdown, socket_with, sockopt,
};
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};

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
/// After so many full buffers a direction is bulk, and spliced: no copy through this process.
const FULL_READS_UNTIL_SPLICE: u8 = 4;
/// How much a spliced direction holds at most, in the kernel.
const PIPE_BYTES: usize = 256 * 1024;
/// How many bytes (about) one direction moves before others get their turn.
const BYTES_PER_TURN: usize = 1024 * 1024;

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

/// What flows one way.
#[derive(Debug, Default)]
struct Direction {
    /// Bytes on their way, once the destination was slow or the source fast.
    pipe: Option<Pipe>,
    full_reads: u8,
    stage: Stage,
}

#[derive(Debug)]
struct Pipe {
    reader: OwnedFd,
    writer: OwnedFd,
    held: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// Waits for the source.
    #[default]
    Reading,
    /// Waits for the destination.
    Blocked,
    /// The source has ended; the pipe may still hold something.
    Draining,
    /// All is delivered but the end.
    Delivered,
    /// All is delivered, and the end too.
    Done,
}

/// Why a pump stopped.
#[derive(Debug, PartialEq, Eq)]
enum Turn {
    /// An edge will come.
    Waits,
    /// There may be more, and no edge will come for it.
    Over,
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
        let ended =
            |direction: &Direction| matches!(direction.stage, Stage::Delivered | Stage::Done);
        if ended(&self.up) && ended(&self.down) {
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

impl Direction {
    /// A destination that is gone has no use for the end.
    fn announce_end(&mut self, destination: &OwnedFd) -> Result<(), Errno> {
        if self.stage != Stage::Delivered {
            return Ok(());
        }
        self.stage = Stage::Done;
        match shutdown(destination, Shutdown::Write) {
            Ok(()) | Err(Errno::NOTCONN) => Ok(()),
            Err(errno) => Err(errno),
        }
    }

    fn is_blocked(&self) -> bool {
        match self.stage {
            Stage::Blocked => true,
            Stage::Draining => self.held() > 0,
            Stage::Reading | Stage::Delivered | Stage::Done => false,
        }
    }

    fn held(&self) -> usize {
        self.pipe.as_ref().map_or(0, |pipe| pipe.held)
    }

    /// Moves bytes until the source has none, the destination takes none, or the turn is over.
    ///
    /// `to_the_end` says that the source must be read until it says so itself; otherwise a
    /// buffer that was not filled is taken for the end of what is there, which saves a call.
    fn pump(
        &mut self,
        source: &OwnedFd,
        destination: &OwnedFd,
        scratch: &mut [u8],
        to_the_end: bool,
    ) -> Result<Turn, Errno> {
        let mut moved = 0;
        while moved < BYTES_PER_TURN {
            if matches!(self.stage, Stage::Delivered | Stage::Done) {
                return Ok(Turn::Waits);
            }
            if !self.drain(destination)? {
                return Ok(Turn::Waits);
            }
            if self.stage == Stage::Draining {
                self.stage = Stage::Delivered;
                self.pipe = None;
                return Ok(Turn::Waits);
            }
            self.stage = Stage::Reading;
            let taken = match &mut self.pipe {
                Some(pipe) => pipe.fill(source),
                None => self.copy(source, destination, scratch),
            };
            match taken {
                Ok(0) => self.stage = Stage::Draining,
                Ok(count) => {
                    moved += count;
                    let filled = self.pipe.is_some() || count == scratch.len();
                    if !filled && !to_the_end && self.held() == 0 {
                        return Ok(Turn::Waits);
                    }
                }
                Err(Errno::AGAIN) => return Ok(Turn::Waits),
                Err(errno) => return Err(errno),
            }
        }
        Ok(Turn::Over)
    }

    /// One buffer from source to destination; what the destination does not take goes into a
    /// pipe, and the direction goes on through the pipe.
    fn copy(
        &mut self,
        source: &OwnedFd,
        destination: &OwnedFd,
        scratch: &mut [u8],
    ) -> Result<usize, Errno> {
        let (count, _) = recv(source, &mut *scratch, RecvFlags::empty())?;
        let bytes = scratch.get(..count).unwrap_or_default();
        let sent = match send(destination, bytes, SendFlags::NOSIGNAL) {
            Ok(sent) => sent,
            Err(Errno::AGAIN) => 0,
            Err(errno) => return Err(errno),
        };
        if count == scratch.len() {
            self.full_reads = self.full_reads.saturating_add(1);
        }
        if sent < count {
            let mut pipe = Pipe::open()?;
            pipe.put(scratch.get(sent..count).unwrap_or_default())?;
            self.pipe = Some(pipe);
        } else if self.full_reads >= FULL_READS_UNTIL_SPLICE {
            self.pipe = Some(Pipe::open()?);
        }
        Ok(count)
    }

    /// Empties the pipe; whether it is empty.
    fn drain(&mut self, destination: &OwnedFd) -> Result<bool, Errno> {
        let Some(pipe) = &mut self.pipe else {
            return Ok(true);
        };
        if pipe.empty_into(destination)? {
            return Ok(true);
        }
        if self.stage == Stage::Reading {
            self.stage = Stage::Blocked;
        }
        Ok(false)
    }
}

impl Pipe {
    fn open() -> Result<Self, Errno> {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        if let Err(error) = fcntl_setpipe_size(&writer, PIPE_BYTES) {
            tracing::debug!(%error, "a forwarded connection keeps a small pipe");
        }
        Ok(Self {
            reader,
            writer,
            held: 0,
        })
    }

    /// Takes bytes out of a buffer no larger than the smallest pipe.
    fn put(&mut self, bytes: &[u8]) -> Result<(), Errno> {
        let written = rustix::io::write(&self.writer, bytes)?;
        self.held += written;
        if written == bytes.len() {
            Ok(())
        } else {
            Err(Errno::NOBUFS)
        }
    }

    fn fill(&mut self, source: &OwnedFd) -> Result<usize, Errno> {
        let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
        let count = splice(source, None, &self.writer, None, PIPE_BYTES, flags)?;
        self.held += count;
        Ok(count)
    }

    fn empty_into(&mut self, destination: &OwnedFd) -> Result<bool, Errno> {
        let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
        while self.held > 0 {
            match splice(
                &self.reader,
                None,
                destination.as_fd(),
                None,
                self.held,
                flags,
            ) {
                Ok(count) => self.held -= count,
                Err(Errno::AGAIN) => return Ok(false),
                Err(errno) => return Err(errno),
            }
        }
        Ok(true)
    }
}
