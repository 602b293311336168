//! The body of an upload: pieces of a blob, hashed and counted as they leave.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::Stream;
use rocker_types::Digest;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

/// What comes from the source of a blob.
#[derive(Debug)]
pub(super) enum Piece {
    /// The next bytes.
    Data(Bytes),
    /// There are no more. Without this, the blob broke off.
    End,
}

/// What has left so far, over all attempts.
#[derive(Clone)]
pub(super) struct Tally(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    hasher: Sha256,
    /// Where the hash is: an attempt that begins earlier sends bytes that were hashed before.
    hashed: u64,
    /// Grows with every piece that leaves.
    sent: u64,
    waits_for_source: bool,
    complete: bool,
}

/// How an upload stands, for whoever watches it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) sent: u64,
    /// The network wants more than the source has.
    pub(super) waits_for_source: bool,
    /// All bytes have left.
    pub(super) complete: bool,
}

impl fmt::Debug for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tally").field(&self.standing()).finish()
    }
}

impl Tally {
    pub(super) fn new() -> Self {
        Self(Arc::default())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of bytes that leave, and of where in the blob they are.
    pub(super) fn note(&self, offset: u64, bytes: &[u8]) {
        let mut state = self.lock();
        let known = usize::try_from(state.hashed.saturating_sub(offset)).unwrap_or(usize::MAX);
        if let Some(new) = bytes.get(known..) {
            state.hasher.update(new);
            state.hashed += new.len() as u64;
        }
        state.sent += bytes.len() as u64;
        state.waits_for_source = false;
        state.complete = false;
    }

    pub(super) fn standing(&self) -> Standing {
        let state = self.lock();
        Standing {
            sent: state.sent,
            waits_for_source: state.waits_for_source,
            complete: state.complete,
        }
    }

    /// Digest and length of the whole blob, once it has left.
    pub(super) fn result(&self) -> (Digest, u64) {
        let state = self.lock();
        let digest = Digest::from_sha256(state.hasher.clone().finalize().into());
        (digest, state.hashed)
    }

    pub(super) fn set_waiting(&self, waits: bool) {
        self.lock().waits_for_source = waits;
    }

    pub(super) fn set_complete(&self) {
        self.lock().complete = true;
    }
}

/// The rest of a blob from some offset on.
#[derive(Debug)]
pub(super) struct Outgoing {
    /// Pieces that were taken out already.
    pub(super) head: VecDeque<Bytes>,
    pub(super) pieces: mpsc::Receiver<Piece>,
    pub(super) tally: Tally,
    /// Where in the blob the next piece is.
    pub(super) offset: u64,
}

impl Stream for Outgoing {
    type Item = io::Result<Bytes>;

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Bytes>>> {
        let piece = match self.head.pop_front() {
            Some(bytes) => Some(Piece::Data(bytes)),
            None => match self.pieces.poll_recv(context) {
                Poll::Ready(piece) => piece,
                Poll::Pending => {
                    self.tally.set_waiting(true);
                    return Poll::Pending;
                }
            },
        };
        Poll::Ready(match piece {
            Some(Piece::Data(bytes)) => {
                self.tally.note(self.offset, &bytes);
                self.offset += bytes.len() as u64;
                Some(Ok(bytes))
            }
            Some(Piece::End) => {
                self.tally.set_complete();
                None
            }
            // never to be taken for the end
            None => Some(Err(io::ErrorKind::UnexpectedEof.into())),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::digest_of;
    use rocker_types::Algorithm;

    #[test]
    fn bytes_that_leave_twice_are_hashed_once() {
        let tally = Tally::new();
        tally.note(0, b"abc");
        tally.note(3, b"def");
        tally.note(2, b"cd");
        tally.note(4, b"efgh");
        let expected = (digest_of(Algorithm::Sha256, b"abcdefgh"), 8);
        assert_eq!(tally.result(), expected);
        assert_eq!(tally.standing().sent, 12);
    }
}
