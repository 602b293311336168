//! One direction of a TCP connection: bytes from one socket to another, and the end.

use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown, recv, send, shutdown};
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};

/// After so many full buffers a direction is bulk, and spliced: no copy through this process.
const FULL_READS_UNTIL_SPLICE: u8 = 4;
/// How much a spliced direction holds at most, in the kernel.
const PIPE_BYTES: usize = 256 * 1024;
/// How many bytes (about) one direction moves before others get their turn.
const BYTES_PER_TURN: usize = 1024 * 1024;

/// What flows one way.
#[derive(Debug, Default)]
pub(super) struct Direction {
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
pub(super) enum Turn {
    /// An edge will come.
    Waits,
    /// There may be more, and no edge will come for it.
    Over,
}

impl Direction {
    /// Whether the source has ended and all of it is delivered.
    pub(super) fn has_ended(&self) -> bool {
        matches!(self.stage, Stage::Delivered | Stage::Done)
    }

    /// Passes the end on, once. A destination that is gone has no use for the end.
    pub(super) fn announce_end(&mut self, destination: &OwnedFd) -> Result<(), Errno> {
        if self.stage != Stage::Delivered {
            return Ok(());
        }
        self.stage = Stage::Done;
        match shutdown(destination, Shutdown::Write) {
            Ok(()) | Err(Errno::NOTCONN) => Ok(()),
            Err(errno) => Err(errno),
        }
    }

    pub(super) fn is_blocked(&self) -> bool {
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
    pub(super) fn pump(
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
