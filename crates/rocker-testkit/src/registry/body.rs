use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body, Bytes, Frame, SizeHint};
use tokio::time::Sleep;

/// How the end of a body is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// All bytes, then the end.
    Proper,
    /// An error after so many bytes, which closes the connection.
    CutAfter(usize),
    /// Silence after so many bytes.
    StallAfter(usize),
}

/// A response body that can break off, fall silent or trickle.
#[derive(Debug)]
pub(super) struct ServedBody {
    bytes: Bytes,
    sent: usize,
    end: End,
    announced: bool,
    bytes_per_second: Option<usize>,
    pause: Option<Pin<Box<Sleep>>>,
    /// Counts what is sent.
    tally: Arc<AtomicU64>,
}

impl ServedBody {
    /// Bytes per frame; small enough that a cut position is met and a throttled body flows.
    const CHUNK: usize = 64 * 1024;
    /// How often a throttled body sends something, and how long before a cut nothing comes.
    const TICK: Duration = Duration::from_millis(20);

    pub(super) fn new(bytes: Bytes) -> Self {
        Self {
            bytes,
            sent: 0,
            end: End::Proper,
            announced: true,
            bytes_per_second: None,
            pause: None,
            tally: Arc::default(),
        }
    }

    /// Adds what is sent to `tally`.
    pub(super) fn counted(mut self, tally: &Arc<AtomicU64>) -> Self {
        self.tally = Arc::clone(tally);
        self
    }

    pub(super) fn end(mut self, end: End) -> Self {
        self.end = end;
        self
    }

    pub(super) fn throttle(mut self, bytes_per_second: usize) -> Self {
        self.bytes_per_second = Some(bytes_per_second.max(50));
        self
    }

    pub(super) fn chunked(mut self) -> Self {
        self.announced = false;
        self
    }

    pub(super) fn into_bytes(self) -> Bytes {
        self.bytes
    }

    fn limit(&self) -> usize {
        match self.end {
            End::Proper => self.bytes.len(),
            End::CutAfter(limit) | End::StallAfter(limit) => limit.min(self.bytes.len()),
        }
    }

    fn next_chunk(&mut self) -> Bytes {
        let chunk = self
            .bytes_per_second
            .map_or(Self::CHUNK, |rate| (rate / 50).clamp(1, Self::CHUNK));
        let until = self.limit().min(self.sent + chunk);
        let bytes = self.bytes.slice(self.sent..until);
        self.sent = until;
        self.tally.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        bytes
    }
}

impl Body for ServedBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if let Some(pause) = &mut self.pause {
            if pause.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            self.pause = None;
        }
        if self.sent < self.limit() {
            let bytes = self.next_chunk();
            // hyper throws away what it has not flushed when a body fails, and flushes when a
            // body has nothing ready: so a cut comes one pause after the bytes before it.
            let before_cut = self.sent == self.limit() && matches!(self.end, End::CutAfter(_));
            if self.bytes_per_second.is_some() || before_cut {
                let mut pause = Box::pin(tokio::time::sleep(Self::TICK));
                // Registers the waker; a fresh timer is never ready at once.
                let _ = pause.as_mut().poll(context);
                self.pause = Some(pause);
            }
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        match self.end {
            End::Proper => Poll::Ready(None),
            End::CutAfter(_) => Poll::Ready(Some(Err(io::Error::other(
                "the test asked for a broken connection",
            )))),
            // No waker on purpose: only the client can end this.
            End::StallAfter(_) => Poll::Pending,
        }
    }

    fn size_hint(&self) -> SizeHint {
        if self.announced {
            SizeHint::with_exact((self.bytes.len() - self.sent) as u64)
        } else {
            SizeHint::default()
        }
    }
}
