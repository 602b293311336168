//! A file as lines, a block at a time.

use std::ops::Range;
use std::os::fd::OwnedFd;

use rustix::io::Errno;

/// Holds the part of a file that is being looked at.
#[derive(Debug, Default)]
pub(super) struct LineBuffer {
    bytes: Vec<u8>,
    /// Where the next line begins.
    start: usize,
    /// There is no newline between `start` and here.
    searched: usize,
    long: LongLine,
}

/// What is being done about a line that is longer than [`LineBuffer::MAX`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum LongLine {
    #[default]
    None,
    /// It is thrown away up to its newline.
    Skipping,
}

impl LineBuffer {
    const BLOCK: usize = 128 * 1024;

    /// The longest line that is looked at, in bytes; our own are below 100 KiB.
    const MAX: usize = 1024 * 1024;

    /// The next whole line that was read, without its newline.
    pub(super) fn next_line(&mut self) -> Option<Range<usize>> {
        loop {
            let at = memchr::memchr(b'\n', &self.bytes[self.searched..]);
            let Some(end) = at.map(|at| self.searched + at) else {
                self.searched = self.bytes.len();
                return None;
            };
            let line = self.start..end;
            self.start = end + 1;
            self.searched = self.start;
            match std::mem::take(&mut self.long) {
                LongLine::None => return Some(line),
                LongLine::Skipping => (),
            }
        }
    }

    /// The bytes of a line that [`next_line`](Self::next_line) found last.
    pub(super) fn get(&self, line: Range<usize>) -> &[u8] {
        &self.bytes[line]
    }

    /// Reads on in `file` and returns how many bytes that gave.
    pub(super) fn fill(&mut self, file: &OwnedFd) -> Result<usize, Errno> {
        self.bytes.drain(..self.start);
        self.start = 0;
        if self.bytes.len() >= Self::MAX {
            self.bytes.clear();
            self.long = LongLine::Skipping;
        }
        self.searched = self.bytes.len();
        self.bytes.reserve(Self::BLOCK);
        loop {
            match rustix::io::read(file, rustix::buffer::spare_capacity(&mut self.bytes)) {
                Err(Errno::INTR) => (),
                other => return other,
            }
        }
    }

    /// Forgets what was read; the next bytes begin a line.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.start = 0;
        self.searched = 0;
        self.long = LongLine::None;
    }
}
