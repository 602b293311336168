//! A pipe for bytes from the network's thread to a thread that unpacks.
//!
//! The writing end is async and waits while the pipe is full; the reading end blocks. What
//! is in the pipe is bounded in bytes, whatever the size of the pieces, so the memory of a
//! pull does not depend on the size of its layers.
//!
//! A pipe with a file keeps every byte there as well, for a pull that has to go on with it later.
//! Then the writer need not wait for a reader that is slower: what the pipe has no room for, the
//! reader gets from the file.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use bytes::{Buf, Bytes};
use tokio::sync::Notify;

use crate::store::PartialBlob;

/// How many bytes wait in one pipe at most, give or take one piece.
const CAPACITY: usize = 2 << 20;

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    file: Option<Arc<PartialBlob>>,
    /// Tells the reader about bytes or the end.
    filled: Condvar,
    /// Tells the writer about space or a reader that is gone.
    drained: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// What comes after the first `read` bytes.
    queue: VecDeque<Bytes>,
    bytes: usize,
    /// How many bytes the reader has taken.
    read: u64,
    /// How many bytes were written. Those that the queue has not are in the file.
    written: u64,
    writer: WriterState,
    reader_gone: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum WriterState {
    #[default]
    Writing,
    /// All bytes were written.
    Finished,
    /// The writer was dropped before it had written all.
    Gone,
}

impl State {
    /// Whether everything that the reader has not taken yet is in the queue.
    const fn is_level(&self) -> bool {
        self.read + self.bytes as u64 == self.written
    }

    const fn has_room(&self) -> bool {
        self.is_level() && self.bytes < CAPACITY
    }
}

impl Shared {
    /// A panic while the lock was held cannot leave the queue half changed: nothing that
    /// changes it can panic in between.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The network's end. Dropped before [`finish`](PipeWriter::finish), it makes the reader
/// fail: a layer that breaks off must never look like one that ended.
#[derive(Debug)]
pub(super) struct PipeWriter(Arc<Shared>);

/// The unpacking thread's end.
#[derive(Debug)]
pub(super) struct PipeReader {
    shared: Arc<Shared>,
    current: Bytes,
}

/// The reading end was dropped; whoever had it knows why.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ReaderGone;

/// A new pipe; with a file, the bytes that are in it are the first that the reader gets, and the
/// writer goes on after them.
pub(super) fn pipe(file: Option<Arc<PartialBlob>>) -> (PipeWriter, PipeReader) {
    let written = file.as_ref().map_or(0, |file| file.bytes());
    let state = State {
        written,
        ..State::default()
    };
    let shared = Arc::new(Shared {
        state: Mutex::new(state),
        file,
        filled: Condvar::new(),
        drained: Notify::new(),
    });
    (
        PipeWriter(Arc::clone(&shared)),
        PipeReader {
            shared,
            current: Bytes::new(),
        },
    )
}

impl PipeWriter {
    /// Waits for space and hands `piece` over.
    pub(super) async fn write(&self, piece: Bytes) -> Result<(), ReaderGone> {
        if piece.is_empty() {
            return Ok(());
        }
        let is_kept = self.keep(&piece);
        loop {
            // made before the check: it hears every wake-up from here on
            let drained = self.0.drained.notified();
            {
                let mut state = self.0.lock();
                if state.reader_gone {
                    return Err(ReaderGone);
                }
                let has_room = state.has_room();
                if has_room || is_kept {
                    state.written += piece.len() as u64;
                    if has_room {
                        state.bytes += piece.len();
                        state.queue.push_back(piece);
                    }
                    self.0.filled.notify_one();
                    return Ok(());
                }
            }
            drained.await;
        }
    }

    /// Whether the file has `piece` now.
    fn keep(&self, piece: &Bytes) -> bool {
        let Some(file) = &self.0.file else {
            return false;
        };
        let end = self.0.lock().written;
        file.append(piece, end)
    }

    /// Waits until the reader is gone. May run beside [`write`](Self::write).
    pub(super) async fn reader_gone(&self) {
        loop {
            let drained = self.0.drained.notified();
            if self.0.lock().reader_gone {
                return;
            }
            drained.await;
        }
    }

    /// Says that all bytes were written.
    pub(super) fn finish(self) {
        self.0.lock().writer = WriterState::Finished;
    }
}

impl Drop for PipeWriter {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        if state.writer == WriterState::Writing {
            state.writer = WriterState::Gone;
            // what is left would only keep the reader busy with something that fails
            state.queue.clear();
            state.bytes = 0;
        }
        self.0.filled.notify_one();
    }
}

/// What the reader gets.
enum Next {
    Piece(Bytes),
    /// So many bytes from here on are in the file.
    Kept {
        offset: u64,
        bytes: u64,
    },
    End,
}

impl PipeReader {
    fn next(&self) -> io::Result<Next> {
        let mut state = self.shared.lock();
        loop {
            if let Some(piece) = state.queue.pop_front() {
                self.take(&mut state, piece.len() as u64, piece.len());
                return Ok(Next::Piece(piece));
            }
            if state.writer == WriterState::Gone {
                return Err(io::Error::new(
                    io::ErrorKind::BrokenPipe,
                    "the download ended early",
                ));
            }
            if state.read < state.written {
                return Ok(Next::Kept {
                    offset: state.read,
                    bytes: state.written - state.read,
                });
            }
            if state.writer == WriterState::Finished {
                return Ok(Next::End);
            }
            state = self
                .shared
                .filled
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Notes that `bytes` were taken, of which `queued` were in the queue.
    fn take(&self, state: &mut State, bytes: u64, queued: usize) {
        let had_room = state.has_room();
        state.read += bytes;
        state.bytes -= queued;
        if !had_room && state.has_room() {
            self.shared.drained.notify_waiters();
        }
    }

    fn read_kept(&self, buffer: &mut [u8], offset: u64, bytes: u64) -> io::Result<usize> {
        let Some(file) = &self.shared.file else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        let most = usize::try_from(bytes)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let read = file.read_at(&mut buffer[..most], offset)?;
        if read == 0 && most > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.take(&mut self.shared.lock(), read as u64, 0);
        Ok(read)
    }
}

impl Read for PipeReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.current.is_empty() {
            match self.next()? {
                Next::Piece(piece) => self.current = piece,
                Next::Kept { offset, bytes } => return self.read_kept(buffer, offset, bytes),
                Next::End => return Ok(0),
            }
        }
        let length = self.current.len().min(buffer.len());
        self.current.copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}

impl Drop for PipeReader {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.reader_gone = true;
        state.queue.clear();
        drop(state);
        self.shared.drained.notify_waiters();
    }
}

#[cfg(test)]
mod tests;
