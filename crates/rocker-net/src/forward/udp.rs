//! UDP: one socket to the container for each client, forgotten when it goes silent.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::epoll;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, connect, recv, recvfrom, send,
    sendto, socket_with,
};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

use super::listener::Listener;
use super::{Slots, Token};

/// After so long without a datagram either way a client is forgotten. The kernel's own
/// translation of UDP forgets an answered client after 120 s.
const IDLE: Duration = Duration::from_secs(120);
/// How often silent clients are looked for.
const SWEEP_SECONDS: i64 = 30;
/// More clients at once push the longest silent one out: each costs a descriptor.
const MAX_CLIENTS: usize = 512;
/// How many datagrams one event moves before others get their turn.
const DATAGRAMS_PER_EVENT: usize = 32;

/// All clients.
#[derive(Debug, Default)]
pub(super) struct UdpFlows {
    flows: Slots<UdpFlow>,
    by_client: HashMap<(u32, SocketAddrV4), u32>,
    /// Runs only while there are clients.
    timer: Option<OwnedFd>,
}

#[derive(Debug)]
struct UdpFlow {
    /// Connected to the container.
    socket: OwnedFd,
    /// The published port's number in the list of listeners.
    listener: u32,
    client: SocketAddrV4,
    last_used: Instant,
}

impl UdpFlows {
    pub(super) fn is_empty(&self) -> bool {
        self.flows.len() == 0
    }

    pub(super) fn reap(&mut self) -> usize {
        self.flows.reap()
    }

    /// Passes clients' datagrams on to the container.
    ///
    /// The error, if any, is that there are no descriptors left.
    pub(super) fn relay(
        &mut self,
        epoll: &OwnedFd,
        (number, listener): (u32, &Listener),
        target: Ipv4Addr,
        scratch: &mut [u8],
    ) -> Result<(), Errno> {
        let target = SocketAddrV4::new(target, listener.port.container_port);
        for _ in 0..DATAGRAMS_PER_EVENT {
            let received = recvfrom(listener, &mut *scratch, RecvFlags::DONTWAIT);
            let Ok((count, _, Some(sender))) = received else {
                return Ok(());
            };
            let Ok(client) = SocketAddrV4::try_from(sender) else {
                continue;
            };
            let index = match self.by_client.get(&(number, client)) {
                Some(index) => *index,
                None => match self.open(epoll, number, client, target) {
                    Ok(index) => index,
                    Err(errno @ (Errno::MFILE | Errno::NFILE)) => return Err(errno),
                    Err(_) => continue,
                },
            };
            let Some(flow) = self.flows.get(index) else {
                continue;
            };
            flow.last_used = Instant::now();
            let datagram = scratch.get(..count).unwrap_or_default();
            if let Err(error) = send(&flow.socket, datagram, SendFlags::NOSIGNAL) {
                // A datagram may be lost anywhere; the client is used to it.
                tracing::debug!(%error, "a datagram to a published port was lost");
            }
        }
        Ok(())
    }

    fn open(
        &mut self,
        epoll: &OwnedFd,
        listener: u32,
        client: SocketAddrV4,
        target: SocketAddrV4,
    ) -> Result<u32, Errno> {
        if self.flows.len() >= MAX_CLIENTS {
            self.forget_longest_silent();
        }
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, flags, None)?;
        connect(&socket, &target)?;
        let index = self.flows.next();
        epoll::add(
            epoll,
            &socket,
            Token::Udp(index).encode(),
            epoll::EventFlags::IN,
        )?;
        self.start_timer(epoll)?;
        self.flows.insert(UdpFlow {
            socket,
            listener,
            client,
            last_used: Instant::now(),
        });
        self.by_client.insert((listener, client), index);
        Ok(index)
    }

    /// Passes the container's datagrams back to the client.
    pub(super) fn answer(&mut self, index: u32, listeners: &[Listener], scratch: &mut [u8]) {
        let Some(flow) = self.flows.get(index) else {
            return;
        };
        let listener = usize::try_from(flow.listener)
            .ok()
            .and_then(|i| listeners.get(i));
        let Some(listener) = listener else { return };
        for _ in 0..DATAGRAMS_PER_EVENT {
            match recv(&flow.socket, &mut *scratch, RecvFlags::DONTWAIT) {
                Ok((count, _)) => {
                    flow.last_used = Instant::now();
                    let datagram = scratch.get(..count).unwrap_or_default();
                    let sent = sendto(listener, datagram, SendFlags::NOSIGNAL, &flow.client);
                    if let Err(error) = sent {
                        tracing::debug!(%error, "a datagram from a published port was lost");
                    }
                }
                Err(Errno::AGAIN) => return,
                // Nobody listens in the container, which the client learns by silence. The
                // socket stays: the program may be about to start.
                Err(_) => return,
            }
        }
    }

    /// Forgets clients that went silent, and stops the clock when none is left.
    pub(super) fn expire(&mut self) {
        if let Some(timer) = &self.timer {
            let mut expirations = [0; 8];
            if let Err(error) = rustix::io::read(timer, &mut expirations) {
                tracing::debug!(%error, "an expiry without an expiration");
            }
        }
        let now = Instant::now();
        let silent = |flow: &UdpFlow| now.duration_since(flow.last_used) >= IDLE;
        let expired: Vec<u32> = self
            .flows
            .iter()
            .filter(|(_, flow)| silent(flow))
            .map(|(index, _)| index)
            .collect();
        expired.into_iter().for_each(|index| self.forget(index));
        if self.flows.len() == 0 {
            self.timer = None;
        }
    }

    fn forget_longest_silent(&mut self) {
        let oldest = self.flows.iter().min_by_key(|(_, flow)| flow.last_used);
        if let Some(index) = oldest.map(|(index, _)| index) {
            self.forget(index);
        }
    }

    fn forget(&mut self, index: u32) {
        if let Some(flow) = self.flows.end(index) {
            self.by_client.remove(&(flow.listener, flow.client));
        }
    }

    fn start_timer(&mut self, epoll: &OwnedFd) -> Result<(), Errno> {
        if self.timer.is_some() {
            return Ok(());
        }
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        let every = Timespec {
            tv_sec: SWEEP_SECONDS,
            tv_nsec: 0,
        };
        let setting = Itimerspec {
            it_interval: every,
            it_value: every,
        };
        timerfd_settime(&timer, TimerfdTimerFlags::empty(), &setting)?;
        epoll::add(epoll, &timer, Token::Expiry.encode(), epoll::EventFlags::IN)?;
        self.timer = Some(timer);
        Ok(())
    }
}
