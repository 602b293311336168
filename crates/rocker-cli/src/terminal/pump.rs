//! Moves bytes, sizes and signals between the user and a container's monitor, until one of
//! them is done. One thread, one poll.

use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rocker_engine::control::SessionError;
use rocker_types::Signal;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;

use super::detach_keys::{DetachWatch, Typed};
use super::program::{Heard, Program};
use super::signals::{SignalPlan, Signals};
use super::{raw_mode, window_size};

/// How long the first key of the detach sequence waits for the second before it is sent after all.
const SEQUENCE_PATIENCE: Duration = Duration::from_millis(300);

/// Typing is short; what is piped into us moves in pieces of this size.
const PIECE: usize = 64 * 1024;

/// Which of the container's streams the user gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Streams {
    pub(crate) stdin: bool,
    pub(crate) stdout: bool,
    pub(crate) stderr: bool,
}

impl Streams {
    pub(crate) const OUTPUT: Self = Self {
        stdin: false,
        stdout: true,
        stderr: true,
    };
}

/// How the conversation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The container's program ended with this code.
    Exited(i32),
    /// The user typed the detach keys.
    Detached,
    /// A signal asked us to go; the container stays.
    Interrupted(Signal),
    /// Whoever read our standard output is gone.
    OutputClosed,
    /// The monitor hung up without an exit code.
    MonitorLost,
}

/// Why bytes could not be moved.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PumpError {
    #[error(transparent)]
    Session(#[from] SessionError),
    #[error("cannot wait for the container and the terminal")]
    Poll(#[source] io::Error),
    #[error("cannot read standard input")]
    Read(#[source] io::Error),
    #[error("cannot write to {stream}")]
    Write {
        stream: &'static str,
        source: io::Error,
    },
    #[error("cannot read the signals sent to rocker")]
    Signals(#[source] io::Error),
    #[error("cannot read the program's output")]
    Listen(#[source] io::Error),
    #[error("cannot {attempt}")]
    Child {
        attempt: &'static str,
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// A conversation between the user and one program.
pub(crate) struct Pump<'a> {
    program: &'a mut dyn Program,
    signals: &'a Signals,
    streams: Streams,
    /// Looks for the detach keys in what is typed; only with a terminal.
    watch: Option<DetachWatch>,
    /// When a held back key is sent after all.
    flush_at: Option<Instant>,
    /// Read from standard input, not yet taken by the monitor.
    unsent: Vec<u8>,
    input: Input,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Input {
    Open,
    /// Standard input ended; the container is told once everything before is sent.
    Ended,
    Closed,
}

/// What one poll found.
struct Ready {
    program: bool,
    signals: bool,
    stdin: bool,
}

impl<'a> Pump<'a> {
    pub(crate) fn new(
        program: &'a mut dyn Program,
        signals: &'a Signals,
        streams: Streams,
        watch: Option<DetachWatch>,
    ) -> Self {
        let input = match streams.stdin {
            true => Input::Open,
            false => Input::Closed,
        };
        Self {
            program,
            signals,
            streams,
            watch,
            flush_at: None,
            unsent: Vec::new(),
            input,
        }
    }

    /// Runs until the container ends or the user leaves it.
    ///
    /// # Errors
    ///
    /// [`PumpError`] when one of the fds fails; the container is not touched by that.
    pub(crate) fn run(mut self) -> Result<End, PumpError> {
        loop {
            let ready = self.wait()?;
            if ready.program
                && let Some(end) = self.receive()?
            {
                return Ok(end);
            }
            if ready.signals
                && let Some(end) = self.take_signals()?
            {
                return Ok(end);
            }
            if ready.stdin
                && let Some(end) = self.read_stdin()?
            {
                return Ok(end);
            }
            if self.flush_at.is_some_and(|at| at <= Instant::now()) {
                self.flush_at = None;
                let held_back = self.watch.as_mut().map(DetachWatch::flush);
                self.unsent.extend(held_back.unwrap_or_default());
            }
            self.send()?;
        }
    }

    fn wait(&self) -> Result<Ready, PumpError> {
        // Standard input is read only while the program takes it: back-pressure, not buffers.
        let unsent = !self.unsent.is_empty();
        let wants_input = self.input == Input::Open && !unsent && self.program.takes_input();
        let stdin = io::stdin();
        let mut polled = self.program.polled(unsent);
        let signals_at = polled.len();
        polled.push(PollFd::new(self.signals, PollFlags::IN));
        if wants_input {
            polled.push(PollFd::new(&stdin, PollFlags::IN));
        }

        let timeout = self.flush_at.map(|at| {
            let left = at.saturating_duration_since(Instant::now());
            Timespec::try_from(left).unwrap_or_default()
        });
        match rustix::event::poll(&mut polled, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(PumpError::Poll(errno.into())),
        }
        let ready = |fd: &PollFd<'_>| !fd.revents().is_empty();
        Ok(Ready {
            program: polled[..signals_at].iter().any(ready),
            signals: ready(&polled[signals_at]),
            stdin: polled.get(signals_at + 1).is_some_and(ready),
        })
    }

    fn receive(&mut self) -> Result<Option<End>, PumpError> {
        let (streams, mut end, mut stdin_closed) = (self.streams, None, false);
        let heard = self.program.hear(&mut |heard| {
            match heard {
                Heard::Stdout(bytes) if streams.stdout => write("stdout", io::stdout(), bytes)?,
                Heard::Stderr(bytes) if streams.stderr => write("stderr", io::stderr(), bytes)?,
                Heard::Stdout(_) | Heard::Stderr(_) => {}
                Heard::StdinClosed => stdin_closed = true,
                Heard::Exited(code) => end = Some(End::Exited(code)),
                Heard::Lost => end = Some(End::MonitorLost),
            }
            Ok(())
        });
        if stdin_closed {
            self.input = Input::Closed;
            self.unsent.clear();
        }
        match heard {
            Ok(()) => Ok(end),
            Err(PumpError::Write { source, .. }) if source.kind() == io::ErrorKind::BrokenPipe => {
                Ok(Some(End::OutputClosed))
            }
            Err(error) => Err(error),
        }
    }

    fn take_signals(&mut self) -> Result<Option<End>, PumpError> {
        while let Some(signal) = self.signals.next().map_err(PumpError::Signals)? {
            let number = signal.number();
            match self.signals.plan() {
                SignalPlan::Terminal | SignalPlan::Window if number == nix::libc::SIGWINCH => {
                    self.resize()?;
                }
                SignalPlan::Terminal if number == nix::libc::SIGCONT => {
                    raw_mode::reenter();
                    self.resize()?;
                }
                SignalPlan::Terminal | SignalPlan::Interrupt | SignalPlan::Question => {
                    return Ok(Some(End::Interrupted(signal)));
                }
                SignalPlan::Proxy => self.program.signal(signal)?,
                SignalPlan::Window | SignalPlan::Ignore => {}
            }
        }
        Ok(None)
    }

    fn resize(&self) -> Result<(), PumpError> {
        match window_size() {
            Some(size) => self.program.resize(size),
            None => Ok(()),
        }
    }

    fn read_stdin(&mut self) -> Result<Option<End>, PumpError> {
        let mut piece = vec![0; PIECE];
        let length = match rustix::io::read(io::stdin(), &mut piece) {
            Ok(length) => length,
            Err(Errno::INTR | Errno::AGAIN) => return Ok(None),
            // The terminal hung up.
            Err(Errno::IO) => 0,
            Err(errno) => return Err(PumpError::Read(errno.into())),
        };
        piece.truncate(length);
        if length == 0 {
            self.input = Input::Ended;
        }
        let Some(watch) = &mut self.watch else {
            self.unsent = piece;
            return Ok(None);
        };
        match watch.typed(&piece) {
            Typed::Detach(before) => {
                self.unsent = before;
                self.send()?;
                return Ok(Some(End::Detached));
            }
            Typed::Forward(bytes) => self.unsent = bytes,
        }
        self.flush_at = watch
            .is_pending()
            .then(|| Instant::now() + SEQUENCE_PATIENCE);
        Ok(None)
    }

    fn send(&mut self) -> Result<(), PumpError> {
        while !self.unsent.is_empty() {
            let sent = self.program.send(&self.unsent)?;
            if sent == 0 {
                return Ok(());
            }
            self.unsent.drain(..sent);
        }
        if self.input == Input::Ended {
            self.input = Input::Closed;
            self.program.end_input()?;
        }
        Ok(())
    }
}

/// Writes past the standard library's line buffer: a program's output may have no lines.
fn write(stream: &'static str, fd: impl AsFd, mut bytes: &[u8]) -> Result<(), PumpError> {
    while !bytes.is_empty() {
        match rustix::io::write(&fd, bytes) {
            Ok(length) => bytes = &bytes[length..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                wait_writable(&fd).map_err(|source| PumpError::Write { stream, source })?
            }
            Err(errno) => {
                return Err(PumpError::Write {
                    stream,
                    source: errno.into(),
                });
            }
        }
    }
    Ok(())
}

/// Somebody may have made our output non-blocking; it is shared with other processes.
fn wait_writable(fd: &impl AsFd) -> io::Result<()> {
    let mut polled = [PollFd::new(fd, PollFlags::OUT)];
    match rustix::event::poll(&mut polled, None) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}
