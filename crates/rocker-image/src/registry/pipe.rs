//! A pipe for bytes from the network's thread to a thread that unpacks.
//!
//! The writing end is async and waits while the pipe is full; the reading end blocks. What
//! is in the pipe is bounded in bytes, whatever the size of the pieces, so the memory of a
//! pull does not depend on the size of its layers.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use bytes::{Buf, Bytes};
use tokio::sync::Notify;

/// How many bytes wait in one pipe at most, give or take one piece.
const CAPACITY: usize = 2 << 20;

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Tells the reader about bytes or the end.
    filled: Condvar,
    /// Tells the writer about space or a reader that is gone.
    drained: Notify,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Bytes>,
    bytes: usize,
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

/// A new pipe.
pub(super) fn pipe() -> (PipeWriter, PipeReader) {
    let shared = Arc::new(Shared {
        state: Mutex::default(),
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
            // the reader takes an empty piece for the end
            return Ok(());
        }
        loop {
            // made before the check: it hears every wake-up from here on
            let drained = self.0.drained.notified();
            {
                let mut state = self.0.lock();
                if state.reader_gone {
                    return Err(ReaderGone);
                }
                if state.bytes < CAPACITY {
                    state.bytes += piece.len();
                    state.queue.push_back(piece);
                    self.0.filled.notify_one();
                    return Ok(());
                }
            }
            drained.await;
        }
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

impl PipeReader {
    /// The next piece; empty at the end.
    fn next(&self) -> io::Result<Bytes> {
        let mut state = self.shared.lock();
        loop {
            if let Some(piece) = state.queue.pop_front() {
                let was_full = state.bytes >= CAPACITY;
                state.bytes -= piece.len();
                if was_full && state.bytes < CAPACITY {
                    self.shared.drained.notify_waiters();
                }
                return Ok(piece);
            }
            match state.writer {
                WriterState::Finished => return Ok(Bytes::new()),
                WriterState::Gone => {
                    return Err(io::Error::new(
                        io::ErrorKind::BrokenPipe,
                        "the download ended early",
                    ));
                }
                WriterState::Writing => {
                    state = self
                        .shared
                        .filled
                        .wait(state)
                        .unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }
}

impl Read for PipeReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.current.is_empty() {
            self.current = self.next()?;
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
mod tests {
    use super::*;

    fn block_on<F: Future>(future: F) -> F::Output {
        tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap()
            .block_on(future)
    }

    #[test]
    fn bytes_arrive_in_order_whatever_the_pieces() {
        let expected: Vec<u8> = (0..5_000_000_u32).map(|n| (n % 251) as u8).collect();
        let (writer, mut reader) = pipe();
        let consumer = std::thread::spawn(move || {
            let mut all = Vec::new();
            reader.read_to_end(&mut all).map(|_| all)
        });
        block_on(async {
            let mut rest = Bytes::from(expected.clone());
            for size in (1..).map(|n: usize| n * n * 7 % 70_000 + 1) {
                if rest.is_empty() {
                    break;
                }
                let size = size.min(rest.len());
                writer.write(rest.split_to(size)).await.unwrap();
            }
            writer.finish();
        });
        assert!(consumer.join().unwrap().unwrap() == expected);
    }

    #[test]
    fn a_full_pipe_makes_the_writer_wait() {
        let (writer, mut reader) = pipe();
        block_on(async {
            let piece = Bytes::from(vec![0; CAPACITY / 4]);
            for _ in 0..4 {
                writer.write(piece.clone()).await.unwrap();
            }
            let mut fifth = std::pin::pin!(writer.write(piece.clone()));
            let waiting = futures_util::poll!(fifth.as_mut());
            assert!(waiting.is_pending());
            let mut buffer = vec![0; CAPACITY / 4];
            reader.read_exact(&mut buffer).unwrap();
            fifth.await.unwrap();
        });
    }

    #[test]
    fn a_writer_that_dies_is_an_error_not_an_end() {
        let (writer, mut reader) = pipe();
        block_on(writer.write(Bytes::from_static(b"abc"))).unwrap();
        drop(writer);
        assert_eq!(
            reader.read(&mut [0; 8]).unwrap_err().kind(),
            io::ErrorKind::BrokenPipe
        );
    }

    #[test]
    fn a_reader_that_dies_wakes_a_waiting_writer() {
        let (writer, reader) = pipe();
        block_on(async {
            writer.write(Bytes::from(vec![0; CAPACITY])).await.unwrap();
            let write = writer.write(Bytes::from_static(b"x"));
            let mut write = std::pin::pin!(write);
            assert!(futures_util::poll!(write.as_mut()).is_pending());
            drop(reader);
            assert_eq!(write.await, Err(ReaderGone));
            writer.reader_gone().await;
        });
    }
}
