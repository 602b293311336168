//! Where the bytes of a blob come from: another registry, or a layer's tar that is compressed.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::Scope;

use bytes::Bytes;
use flate2::write::GzEncoder;
use rocker_types::{DiffId, Digest};
use tokio::sync::{mpsc, oneshot};

use super::body::Piece;
use super::manifest::PushCompression;
use crate::document::Descriptor;
use crate::registry::RegistryError;
use crate::registry::blob::{self, Sink, Streamed};
use crate::registry::fetch::Repository;
use crate::registry::pipe::ReaderGone;
use crate::store::{Store, TarError};

/// How many bytes a piece has at most.
const PIECE: usize = 64 << 10;

/// How many pieces wait at most.
const PIECES: usize = 32;

/// A level that keeps up with a fast network rather than saving the last bytes.
const GZIP_LEVEL: u32 = 5;

/// As quick as gzip's, and smaller.
const ZSTD_LEVEL: i32 = 3;

/// A blob's bytes, from the beginning or from anywhere else, as often as it takes.
pub(super) enum Source<'s, 'scope, 'env> {
    /// A registry that has the blob.
    Elsewhere {
        repository: &'s Repository<'s>,
        blob: &'s Descriptor,
    },
    /// The layer's tar. The same bytes come out each time.
    Tar(Tar<'scope, 'env>),
}

/// A layer that is made a tar again, and compressed.
pub(super) struct Tar<'scope, 'env> {
    pub(super) threads: &'scope Scope<'scope, 'env>,
    pub(super) store: &'scope Store,
    pub(super) layer: DiffId,
    pub(super) compression: PushCompression,
    pub(super) level: Option<u8>,
    /// How much of the tar was compressed.
    pub(super) done: Arc<AtomicU64>,
}

/// Why a source has no more to give.
#[derive(Debug)]
pub(super) enum SourceError {
    /// The registry that has the blob failed.
    Registry(RegistryError),
    /// The registry that has the blob gave another one.
    OtherBlob { actual: Digest },
    /// The tar could not be written.
    Tar(TarError),
    /// The compressor could not be set up or finished.
    Compress(io::Error),
    /// No thread.
    Start(io::Error),
}

/// A pipe that holds a bounded number of bytes, as long as nobody sends larger pieces.
pub(super) fn pieces() -> (mpsc::Sender<Piece>, mpsc::Receiver<Piece>) {
    mpsc::channel(PIECES)
}

/// The pipe's writing end, where a download goes into an upload.
struct Inlet(mpsc::Sender<Piece>);

impl Sink for Inlet {
    /// Cut to size: what a connection hands over at once may be much, and the pipe counts
    /// pieces.
    async fn write(&self, mut bytes: Bytes) -> Result<(), ReaderGone> {
        while !bytes.is_empty() {
            let piece = bytes.split_to(bytes.len().min(PIECE));
            let sent = self.0.send(Piece::Data(piece)).await;
            sent.map_err(|_| ReaderGone)?;
        }
        Ok(())
    }
}

impl Source<'_, '_, '_> {
    /// The digest that all of it has to have, where it is known before.
    pub(super) const fn expected(&self) -> Option<&Digest> {
        match self {
            Self::Elsewhere { blob, .. } => Some(&blob.digest),
            Self::Tar(_) => None,
        }
    }

    /// Sends everything from `offset` on, and [`Piece::End`]. A receiver that goes away ends
    /// it without an error: whoever dropped it knows why.
    pub(super) async fn feed(
        &self,
        offset: u64,
        sender: mpsc::Sender<Piece>,
    ) -> Result<(), SourceError> {
        match self {
            Self::Elsewhere { repository, blob } => {
                let inlet = Inlet(sender);
                let streamed = blob::stream(repository, blob, &inlet, offset, &|_| {}).await;
                if streamed.map_err(SourceError::Registry)? == Streamed::Completely {
                    let _gone = inlet.0.send(Piece::End).await;
                }
                Ok(())
            }
            Self::Tar(tar) => tar.feed(offset, sender).await,
        }
    }
}

impl Tar<'_, '_> {
    async fn feed(&self, offset: u64, sender: mpsc::Sender<Piece>) -> Result<(), SourceError> {
        let (tell, told) = oneshot::channel();
        let (store, layer) = (self.store, self.layer.clone());
        let packing = (self.compression, self.level);
        let done = Arc::clone(&self.done);
        done.store(0, Ordering::Relaxed);
        let gone = Arc::new(AtomicBool::new(false));
        let outlet = Outlet {
            sender,
            skip: offset,
            buffer: Vec::with_capacity(PIECE),
            receiver_gone: Arc::clone(&gone),
        };
        let compress = move || {
            let outcome = write_compressed(store, &layer, packing, outlet, &done);
            // nobody listens any more when the push was interrupted
            let _ = tell.send(outcome);
        };
        std::thread::Builder::new()
            .name("compress".to_owned())
            .spawn_scoped(self.threads, compress)
            .map_err(SourceError::Start)?;
        match told.await {
            // the writing fails as well when nobody reads
            Ok(_) if gone.load(Ordering::Relaxed) => Ok(()),
            Ok(outcome) => outcome,
            // a thread that panicked: the scope passes the panic on
            Err(_) => Ok(()),
        }
    }
}

fn write_compressed(
    store: &Store,
    layer: &DiffId,
    (compression, level): (PushCompression, Option<u8>),
    outlet: Outlet,
    done: &AtomicU64,
) -> Result<(), SourceError> {
    let finished = match compression {
        PushCompression::Gzip => {
            let level = level.map_or(GZIP_LEVEL, u32::from);
            let level = flate2::Compression::new(level);
            let mut encoder = Counted(GzEncoder::new(outlet, level), done);
            let written = store.write_tar(layer, &mut encoder);
            written.map_err(SourceError::Tar)?;
            encoder.0.finish()
        }
        PushCompression::Zstd => {
            let level = level.map_or(ZSTD_LEVEL, i32::from);
            let encoder = zstd::Encoder::new(outlet, level).map_err(SourceError::Compress)?;
            let mut encoder = Counted(encoder, done);
            let written = store.write_tar(layer, &mut encoder);
            written.map_err(SourceError::Tar)?;
            encoder.0.finish()
        }
    };
    finished
        .and_then(Outlet::end)
        .map_err(SourceError::Compress)
}

/// Counts what goes into a compressor.
struct Counted<'a, W>(W, &'a AtomicU64);

impl<W: Write> Write for Counted<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.0.write(bytes)?;
        self.1.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// The end of the pipe that a thread writes to.
struct Outlet {
    sender: mpsc::Sender<Piece>,
    /// How many bytes the other side has already.
    skip: u64,
    buffer: Vec<u8>,
    receiver_gone: Arc<AtomicBool>,
}

impl Outlet {
    fn send(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.buffer, Vec::with_capacity(PIECE));
        self.pass(Piece::Data(piece.into()))
    }

    fn pass(&self, piece: Piece) -> io::Result<()> {
        let sent = self.sender.blocking_send(piece);
        sent.map_err(|_| {
            self.receiver_gone.store(true, Ordering::Relaxed);
            io::ErrorKind::BrokenPipe.into()
        })
    }

    fn end(mut self) -> io::Result<()> {
        self.send()?;
        self.pass(Piece::End)
    }
}

impl Write for Outlet {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let known = usize::try_from(self.skip)
            .unwrap_or(usize::MAX)
            .min(bytes.len());
        self.skip -= known as u64;
        self.buffer
            .extend_from_slice(bytes.get(known..).unwrap_or_default());
        if self.buffer.len() >= PIECE {
            self.send()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
