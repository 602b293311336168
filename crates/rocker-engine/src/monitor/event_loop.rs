//! The loop itself: one event at a time.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use rocker_types::Signal;
use rustix::io::Errno;

use super::client::{Client, ClientInput, Role, Unsent, WINDOW};
use super::clients::Clients;
use super::ended::Tail;
use super::input::Input;
use super::output::{Output, Read};
use super::poller::{Interest, Poller, Readiness, Token};
use super::{Companion, Ended, InputEnd, SuperviseError, Supervision};
use crate::control::message::{self, Request, Wants};
use crate::control::{Accepted, ControlListener, Link, Received};
use crate::logs::{LogWriter, Stream};

/// The state of a monitor at work.
pub(super) struct EventLoop<'a> {
    pub(super) poller: Poller,
    life: Life,
    /// Kept borrowed for as long as it is polled.
    _pidfd: BorrowedFd<'a>,
    signal: &'a mut dyn FnMut(Signal),
    output: Output,
    pub(super) input: Input,
    pub(super) input_interest: Option<Interest>,
    pub(super) input_end: InputEnd,
    log: Option<&'a mut LogWriter>,
    listener: Option<&'a ControlListener>,
    /// Until when nobody is let in, after the kernel had no file descriptor for somebody.
    closed_until: Option<Instant>,
    pub(super) clients: Clients,
    /// Input of clients that left before the container took it.
    pub(super) orphaned: ClientInput,
    companion: Option<Companion<'a>>,
    /// Takes one packet from a client.
    packet: Vec<u8>,
}

/// Whether the container's init is alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Alive,
    Dead,
}

/// How often one stream is read before the others have their turn.
const READS_IN_A_ROW: usize = 8;

/// How many packets of one client are handled before the others have their turn.
const PACKETS_IN_A_ROW: usize = 16;

/// How long nobody is let in after the kernel refused.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

impl<'a> EventLoop<'a> {
    pub(super) fn new(supervision: Supervision<'a>) -> Result<Self, SuperviseError> {
        let failed = |attempt| {
            move |errno: Errno| SuperviseError {
                attempt,
                source: errno.into(),
            }
        };
        let poller = Poller::new().map_err(failed("prepare the watch"))?;
        let (output, input) =
            Output::open(supervision.streams).map_err(failed("open the streams"))?;
        let mut this = Self {
            poller,
            life: Life::Alive,
            _pidfd: supervision.pidfd,
            signal: supervision.signal,
            output,
            input,
            input_interest: None,
            input_end: supervision.input_end,
            log: supervision.log,
            listener: supervision.listener,
            closed_until: None,
            clients: Clients::default(),
            orphaned: ClientInput::default(),
            companion: supervision.companion,
            packet: Vec::new(),
        };
        let first = supervision.first_client.map(Link::from);
        this.watch(supervision.pidfd, first)
            .map_err(failed("watch the streams"))?;
        Ok(this)
    }

    fn watch(&mut self, pidfd: BorrowedFd<'a>, first: Option<Link>) -> Result<(), Errno> {
        self.poller.add(pidfd, Token::Process, Interest::Read)?;
        if let Some(listener) = self.listener {
            self.poller.add(listener, Token::Listener, Interest::Read)?;
        }
        if let Some(companion) = &self.companion {
            self.poller
                .add(&companion.fd, Token::Companion, Interest::Read)?;
        }
        self.output.watch(&self.poller)?;
        self.watch_input(Interest::Nothing)?;
        match first {
            Some(link) => self
                .clients
                .add(Client::new(link, Role::Foreground), &self.poller),
            None => Ok(()),
        }
    }

    pub(super) fn run(mut self) -> Result<Ended, SuperviseError> {
        while self.life == Life::Alive {
            let timeout = self.timeout();
            self.poller.wait(timeout).map_err(|errno| SuperviseError {
                attempt: "wait for events",
                source: errno.into(),
            })?;
            while let Some(readiness) = self.poller.next() {
                self.on_event(readiness);
            }
            self.expire();
        }
        Ok(self.finish())
    }

    fn on_event(&mut self, Readiness { token, broken }: Readiness) {
        match token {
            Token::Process => self.life = Life::Dead,
            Token::Listener => {
                self.accept();
            }
            Token::Companion => {
                if let Some(companion) = &mut self.companion {
                    (companion.drive)();
                }
            }
            Token::Stdout => self.read_output(Stream::Stdout),
            Token::Stderr => self.read_output(Stream::Stderr),
            Token::Input if broken => self.close_input(),
            Token::Input => self.feed(),
            Token::Client(slot) => self.on_client(slot),
        }
    }

    /// How long nothing may happen without something to be done.
    fn timeout(&self) -> Option<Duration> {
        let first = [self.clients.first_deadline(), self.closed_until]
            .into_iter()
            .flatten()
            .min()?;
        Some(first.saturating_duration_since(Instant::now()))
    }

    /// Does what is due.
    fn expire(&mut self) {
        if self.clients.first_deadline().is_none() && self.closed_until.is_none() {
            return;
        }
        let now = Instant::now();
        while let Some(slot) = self.clients.find_stalled(now) {
            self.hang_up(slot);
        }
        if self.closed_until.is_some_and(|until| until <= now) {
            self.closed_until = None;
            if let Some(listener) = self.listener {
                let _ = self.poller.add(listener, Token::Listener, Interest::Read);
            }
        }
    }

    // Output: from the container to the clients and the log.

    fn read_output(&mut self, stream: Stream) {
        for _ in 0..READS_IN_A_ROW {
            if self.output.is_held() {
                return;
            }
            match self.output.read(stream) {
                Read::Much => self.pass_on(),
                Read::Little => return self.pass_on(),
                Read::Nothing => return,
                Read::End => return self.output.close(stream, &self.poller),
            }
        }
    }

    /// Gives the new chunk to all who want it.
    fn pass_on(&mut self) {
        for client in self.clients.iter_mut() {
            client.restart_output();
        }
        for slot in self.clients.slots() {
            self.send(slot);
        }
        if let Some(log) = &mut self.log {
            log.write(self.output.stream, &self.output.chunk);
        }
        if self.clients.lack(&self.output.chunk) {
            self.output.hold(&self.poller);
        }
    }

    /// Sends a client what it lacks, and reads on if it was the last who lacked something.
    pub(super) fn send(&mut self, slot: usize) {
        let chunk = (self.output.stream, self.output.chunk.as_slice());
        if self.clients.send(slot, chunk, &self.poller) == Err(Unsent::HungUp) {
            self.hang_up(slot);
        }
    }

    fn resume_output(&mut self) {
        if self.output.is_held() && !self.clients.lack(&self.output.chunk) {
            // Only for want of kernel memory; the next client event tries again.
            let _ = self.output.resume(&self.poller);
        }
    }

    // Clients: from them to the container.

    /// Lets one client in; `false` when nobody waits.
    fn accept(&mut self) -> bool {
        let Some(listener) = self.listener else {
            return false;
        };
        match listener.accept() {
            Ok(Accepted::Client(link)) => {
                // Whoever cannot be watched is hung up on.
                let _ = self
                    .clients
                    .add(Client::new(link, Role::Guest), &self.poller);
                true
            }
            Ok(Accepted::Refused) => true,
            Ok(Accepted::Nobody) => false,
            Err(_) => {
                self.poller.remove(listener);
                self.closed_until = Some(Instant::now() + ACCEPT_PAUSE);
                false
            }
        }
    }

    fn on_client(&mut self, slot: usize) {
        let mut packet = std::mem::take(&mut self.packet);
        for _ in 0..PACKETS_IN_A_ROW {
            let Some(client) = self.clients.get(slot) else {
                break;
            };
            match client.receive(&mut packet) {
                Ok(Received::Packet) => self.on_packet(slot, &packet),
                Ok(Received::Nothing) => break,
                Ok(Received::Closed) | Err(_) => self.hang_up(slot),
            }
        }
        self.packet = packet;
        self.send(slot);
        self.resume_output();
    }

    fn on_packet(&mut self, slot: usize, packet: &[u8]) {
        let Some(client) = self.clients.get(slot) else {
            return;
        };
        match Request::decode(packet) {
            Some(Request::Hello { version, wants }) => self.greet(slot, version, wants),
            Some(Request::Stdin(bytes)) if client.wants_input() => {
                if client.input.push(bytes) {
                    self.feed();
                } else {
                    self.hang_up(slot);
                }
            }
            Some(Request::StdinEnd) if client.wants_input() => {
                client.input.ended = true;
                self.feed();
            }
            Some(Request::Resize(size)) => self.output.resize(size),
            Some(Request::Signal(signal)) => (self.signal)(signal),
            // Of a later version, or input from one who did not ask to send any.
            Some(Request::Stdin(_) | Request::StdinEnd) | None => (),
        }
    }

    fn greet(&mut self, slot: usize, version: u8, wants: Wants) {
        let window = match (&self.input, wants) {
            (Input::Pipe(_) | Input::Terminal(_), Wants::OutputAndStdin) => WINDOW,
            (Input::Closed, _) | (_, Wants::Exit | Wants::Output) => 0,
        };
        let Some(client) = self.clients.get(slot) else {
            return;
        };
        if !client.wants_output() {
            client.skip_output(&self.output.chunk);
        }
        client.wants = Some(wants);
        let window = u32::try_from(window).unwrap_or(u32::MAX);
        client.owe_welcome(version.min(message::VERSION), window);
        if window == 0 {
            client.owe_stdin_closed();
        }
    }

    /// Lets a client go, its own will or not.
    fn hang_up(&mut self, slot: usize) {
        let Some(client) = self.clients.remove(slot, &self.poller) else {
            return;
        };
        if client.wants_input() {
            // A user who leaves a terminal may come back: only a pipe ends with its writer.
            let is_pipe = matches!(self.input, Input::Pipe(_));
            self.orphaned.ended |= is_pipe && self.input_end == InputEnd::WithFirstClient;
            // Bounded: what exceeds a window is lost with its sender.
            let _ = self.orphaned.push(client.input.pending());
            self.feed();
        }
        self.resume_output();
    }

    // The end.

    /// Reads what the container left behind, and hands over.
    fn finish(mut self) -> Ended {
        // Who came at the last moment shall learn the exit code too.
        while self.accept() {}
        for slot in self.clients.slots() {
            self.on_client(slot);
        }

        let mut tail = Tail::new();
        if self.output.is_held() {
            tail.push((self.output.stream, std::mem::take(&mut self.output.chunk)));
            self.output.chunk.reserve_exact(Output::CHUNK);
        } else {
            self.clients.iter_mut().for_each(Client::restart_output);
        }
        for stream in [Stream::Stdout, Stream::Stderr] {
            self.drain(stream, &mut tail);
        }
        if let Some(log) = &mut self.log {
            log.finish();
        }
        Ended::new(self.clients.into_clients(), tail)
    }

    fn drain(&mut self, stream: Stream, tail: &mut Tail) {
        let mut left = self.output.remaining(stream);
        while left > 0 {
            match self.output.read(stream) {
                Read::Much | Read::Little => (),
                Read::Nothing | Read::End => return,
            }
            left = left.saturating_sub(self.output.chunk.len());
            if let Some(log) = &mut self.log {
                log.write(stream, &self.output.chunk);
            }
            if self.clients.want_output() {
                tail.push((stream, self.output.chunk.clone()));
            }
        }
    }
}
