//! The container's standard input.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;

/// Where the container's input is written.
#[derive(Debug)]
pub(super) enum Input {
    /// The container has none, or it has ended.
    Closed,
    /// A pipe of its own.
    Pipe(OwnedFd),
    /// Another descriptor of the terminal's master.
    Terminal(OwnedFd),
}

/// How far writing went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// So many bytes.
    Bytes(usize),
    /// The container does not read now.
    NotNow,
    /// The container reads no more.
    Closed,
}

impl Input {
    /// What ends input on a terminal in its usual mode: Ctrl-D.
    const END_OF_TRANSMISSION: u8 = 4;

    pub(super) fn write(&self, bytes: &[u8]) -> Written {
        let (Self::Pipe(fd) | Self::Terminal(fd)) = self else {
            return Written::Closed;
        };
        loop {
            return match rustix::io::write(fd, bytes) {
                Ok(len) => Written::Bytes(len),
                Err(Errno::AGAIN) => Written::NotNow,
                Err(Errno::INTR) => continue,
                Err(_) => Written::Closed,
            };
        }
    }

    /// Lets the container know that no more input comes. A terminal stays open: it is told with the
    /// character that a user would type, which programs in raw mode may read differently.
    pub(super) fn end(&mut self) {
        match self {
            Self::Terminal(_) => {
                let _ = self.write(&[Self::END_OF_TRANSMISSION]);
            }
            Self::Closed | Self::Pipe(_) => *self = Self::Closed,
        }
    }

    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Closed => None,
            Self::Pipe(fd) | Self::Terminal(fd) => Some(fd.as_fd()),
        }
    }
}
