//! The container's standard output and error.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;

use super::Streams;
use super::input::Input;
use super::poller::{Interest, Poller, Token};
use crate::control::WindowSize;
use crate::logs::Stream;

/// Where output comes from, and the one chunk of it that is under way.
#[derive(Debug)]
pub(super) struct Output {
    sources: [Option<Source>; 2],
    /// What was read last, and which stream it belongs to.
    pub(super) chunk: Vec<u8>,
    pub(super) stream: Stream,
    flow: Flow,
    /// The other side of the terminal, held open so that its master neither hangs up nor loses
    /// output while the container, as an init system may, has it closed for a moment.
    _terminal_peer: Option<OwnedFd>,
}

/// Whether the container's output is being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    Reading,
    /// A client has not taken the chunk yet.
    Held,
}

/// A pipe or terminal that the container writes to.
#[derive(Debug)]
struct Source {
    fd: OwnedFd,
    stream: Stream,
    kind: SourceKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SourceKind {
    Pipe,
    Terminal,
}

/// What [`Output::read`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// Something new is in the chunk; much, or the last of it for now.
    Much,
    Little,
    /// There is nothing now.
    Nothing,
    /// Nothing will come any more.
    End,
}

impl Output {
    /// The size of the chunk, in bytes, and of a pipe.
    pub(super) const CHUNK: usize = 64 * 1024;

    /// Makes our ends of the streams non-blocking and tells output and input apart.
    pub(super) fn open(streams: Streams) -> Result<(Self, Input), Errno> {
        let source = |fd: OwnedFd, stream, kind| {
            rustix::io::ioctl_fionbio(&fd, true)?;
            Ok::<_, Errno>(Some(Source { fd, stream, kind }))
        };
        let (sources, input, peer) = match streams {
            Streams::Pipes {
                stdin,
                stdout,
                stderr,
            } => {
                if let Some(stdin) = &stdin {
                    rustix::io::ioctl_fionbio(stdin, true)?;
                }
                let stdout = source(stdout, Stream::Stdout, SourceKind::Pipe)?;
                let stderr = source(stderr, Stream::Stderr, SourceKind::Pipe)?;
                (
                    [stdout, stderr],
                    stdin.map_or(Input::Closed, Input::Pipe),
                    None,
                )
            }
            Streams::Terminal(master) => {
                let input = rustix::io::fcntl_dupfd_cloexec(&master, 3)?;
                let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
                let peer = rustix::pty::ioctl_tiocgptpeer(&master, flags).ok();
                let terminal = source(master, Stream::Stdout, SourceKind::Terminal)?;
                ([terminal, None], Input::Terminal(input), peer)
            }
        };
        let output = Self {
            sources,
            chunk: Vec::with_capacity(Self::CHUNK),
            stream: Stream::Stdout,
            flow: Flow::Reading,
            _terminal_peer: peer,
        };
        Ok((output, input))
    }

    pub(super) fn watch(&self, poller: &Poller) -> Result<(), Errno> {
        for source in self.sources.iter().flatten() {
            poller.add(&source.fd, source.token(), Interest::Read)?;
        }
        Ok(())
    }

    /// Stops reading. Not by an empty interest: a pipe that hangs up reports that always.
    pub(super) fn hold(&mut self, poller: &Poller) {
        if self.flow == Flow::Reading {
            self.flow = Flow::Held;
            for source in self.sources.iter().flatten() {
                poller.remove(&source.fd);
            }
        }
    }

    /// Reads on.
    pub(super) fn resume(&mut self, poller: &Poller) -> Result<(), Errno> {
        if self.flow == Flow::Held {
            self.flow = Flow::Reading;
            self.watch(poller)?;
        }
        Ok(())
    }

    pub(super) fn is_held(&self) -> bool {
        self.flow == Flow::Held
    }

    /// Reads what one stream has, as far as the chunk can hold it.
    pub(super) fn read(&mut self, stream: Stream) -> Read {
        let mut sources = self.sources.iter().flatten();
        let Some(source) = sources.find(|source| source.stream == stream) else {
            return Read::Nothing;
        };
        self.stream = stream;
        self.chunk.clear();
        loop {
            let free = rustix::buffer::spare_capacity(&mut self.chunk);
            return match rustix::io::read(&source.fd, free) {
                Ok(0) => Read::End,
                Ok(len) if len < Self::CHUNK / 2 => Read::Little,
                Ok(_) => Read::Much,
                Err(Errno::AGAIN) => Read::Nothing,
                Err(Errno::INTR) => continue,
                // EIO: no process has the terminal open. Nothing else can come of a pipe or terminal.
                Err(_) => Read::End,
            };
        }
    }

    /// Forgets a stream that has ended.
    pub(super) fn close(&mut self, stream: Stream, poller: &Poller) {
        for slot in &mut self.sources {
            if let Some(source) = slot.take_if(|source| source.stream == stream) {
                poller.remove(&source.fd);
            }
        }
    }

    /// How many bytes of a stream may be read after the container's death, so that a process outside
    /// of it that goes on writing is not waited for.
    pub(super) fn remaining(&self, stream: Stream) -> usize {
        /// A terminal's two buffers are far smaller than this.
        const TERMINAL: usize = 128 * 1024;
        let source = self
            .sources
            .iter()
            .flatten()
            .find(|source| source.stream == stream);
        match source {
            None => 0,
            Some(Source {
                kind: SourceKind::Terminal,
                ..
            }) => TERMINAL,
            Some(Source { fd, .. }) => rustix::io::ioctl_fionread(fd)
                .map_or(0, |bytes| usize::try_from(bytes).unwrap_or(Self::CHUNK)),
        }
    }

    /// Tells the terminal its size, if there is a terminal.
    pub(super) fn resize(&self, size: WindowSize) {
        if let Some(terminal) = self.terminal() {
            let size = Winsize {
                ws_row: size.rows,
                ws_col: size.columns,
                ws_xpixel: 0,
                ws_ypixel: 0,
            };
            // Fails only for what is no terminal.
            let _ = rustix::termios::tcsetwinsize(terminal, size);
        }
    }

    fn terminal(&self) -> Option<BorrowedFd<'_>> {
        let mut sources = self.sources.iter().flatten();
        sources
            .find(|source| source.kind == SourceKind::Terminal)
            .map(|source| source.fd.as_fd())
    }
}

impl Source {
    fn token(&self) -> Token {
        match self.stream {
            Stream::Stdout => Token::Stdout,
            Stream::Stderr => Token::Stderr,
        }
    }
}
