//! One layer from compressed bytes to a staged directory, in one pass.
//!
//! ```text
//!   inflate thread                             calling thread
//!   compressed bytes ─▶ blob digest            tar reader ─▶ files
//!                    ─▶ inflate ─▶ chunks ══▶  ─▶ diff id
//! ```
//!
//! The channel holds a few chunks and chunks are used again, so memory does not depend on
//! the layer. Nothing is believed before both threads ended well.

use std::io::{self, BufRead, Read};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;

use rocker_types::{Algorithm, DiffId, Digest};

use super::archive::{ArchiveError, ArchiveReader};
use super::budget::Budget;
use super::compression::{Decoder, agree, inflate_error};
use super::digest::Hasher;
use super::recipe::RecipeWriter;
use super::record::VerifiedBlob;
use super::source::{BlobSource, Promise};
use super::staged::StagedLayer;
use super::staging::Staging;
use super::unpack::{Unpacked, Unpacker};
use super::unpack_error::compression_name;
use super::{Compression, UnpackError, UnpackLimits};

/// Uncompressed bytes that travel at once.
const CHUNK_BYTES: usize = 256 << 10;
/// Chunks that may wait: enough to keep one thread busy while the other waits for the disk.
const CHUNKS_WAITING: usize = 8;

/// What a manifest and a config promise about a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpectedLayer {
    /// Digest of the compressed bytes, from the manifest.
    pub blob: Digest,
    /// Their exact number, from the manifest.
    pub size_bytes: u64,
    /// What the media type says.
    pub compression: Compression,
    /// Digest of the uncompressed bytes, from the config.
    pub diff_id: DiffId,
}

/// Unpacks one layer of an image below `staging`.
///
/// Reads `compressed` to its end, in a thread of its own. Several layers may be unpacked
/// into one staging at the same time. `on_progress` is told how many compressed bytes have
/// been read so far, from that thread. An error from `compressed` ends the work; so does
/// [`io::ErrorKind::Interrupted`] only if it is wrapped, since readers retry it.
///
/// # Errors
///
/// [`UnpackError`] says what is wrong with the layer, or what the kernel refused; nothing
/// of the layer is left then.
pub fn unpack_layer(
    staging: &Staging,
    compressed: impl Read + Send,
    expected: &ExpectedLayer,
    limits: &UnpackLimits,
    on_progress: &(dyn Fn(u64) + Sync),
) -> Result<StagedLayer, UnpackError> {
    let promise = Promise {
        blob: &expected.blob,
        size_bytes: expected.size_bytes,
    };
    let source = BlobSource::new(compressed, Some(promise), on_progress);
    let promised = Promised::Blob(expected);
    let layer = run(staging, source, promised, limits)?;
    check_diff_id(&layer.diff_id, &expected.diff_id, &expected.blob)?;
    Ok(layer)
}

/// Unpacks a layer of an archive: compressed as its first bytes say, and with the digest that
/// the image's config promises.
///
/// # Errors
///
/// As [`unpack_layer`].
pub(crate) fn unpack_archived(
    staging: &Staging,
    archive: impl Read + Send,
    diff_id: &DiffId,
    limits: &UnpackLimits,
) -> Result<StagedLayer, UnpackError> {
    let source = BlobSource::new(archive, None, &|_| ());
    let layer = run(staging, source, Promised::Tar(diff_id), limits)?;
    check_diff_id(&layer.diff_id, diff_id, &diff_id.0)?;
    Ok(layer)
}

pub(super) fn check_diff_id(
    actual: &DiffId,
    promised: &DiffId,
    blob: &Digest,
) -> Result<(), UnpackError> {
    if actual == promised {
        return Ok(());
    }
    Err(UnpackError::DiffId {
        blob: blob.clone(),
        promised: promised.clone(),
        actual: actual.clone(),
    })
}

/// What is known of a layer before it is read.
#[derive(Clone, Copy)]
enum Promised<'a> {
    Nothing,
    Tar(&'a DiffId),
    Blob(&'a ExpectedLayer),
}

/// Unpacks an archive that nobody promised anything about: plain, gzip or zstd, as its
/// first bytes say. The diff id is whatever it turns out to be.
///
/// # Errors
///
/// As [`unpack_layer`], and [`ArchiveError::Empty`] if there is nothing: whoever should have
/// written it has failed.
pub fn import_layer(
    staging: &Staging,
    archive: impl Read + Send,
    limits: &UnpackLimits,
) -> Result<StagedLayer, UnpackError> {
    let source = BlobSource::new(archive, None, &|_| ());
    let layer = run(staging, source, Promised::Nothing, limits)?;
    match layer.diff_id.0 == Hasher::new(Algorithm::Sha256).finish() {
        true => Err(ArchiveError::Empty.into()),
        false => Ok(layer),
    }
}

fn run<R: Read + Send>(
    staging: &Staging,
    source: BlobSource<'_, R>,
    promised: Promised<'_>,
    limits: &UnpackLimits,
) -> Result<StagedLayer, UnpackError> {
    let directory = staging.new_layer()?;
    let budget = Budget::of_layer(&directory, limits);
    let (chunks_in, chunks_out) = sync_channel(CHUNKS_WAITING);
    let (used_in, used_out) = channel();
    let (compression, algorithm) = match promised {
        Promised::Nothing => (None, Algorithm::Sha256),
        Promised::Tar(diff_id) => (None, diff_id.0.algorithm()),
        Promised::Blob(layer) => (Some(layer.compression), layer.diff_id.0.algorithm()),
    };
    let output = Output {
        chunks: chunks_in,
        used: used_out,
    };

    let (inflated, written) = thread::scope(|scope| {
        let inflate = thread::Builder::new().name("inflate".to_owned());
        let inflate =
            inflate.spawn_scoped(scope, || inflate_blob(source, compression, budget, output));
        let inflate = inflate.map_err(|source| UnpackError::Thread { source })?;
        let input = ChunkReader::new(chunks_out, used_in, algorithm);
        let unpacker = Unpacker::new(directory.root()?, directory.attic()?, limits)?;
        let written = write_layer(unpacker, directory.recipe()?, input, limits);
        Ok::<_, UnpackError>((inflate.join(), written))
    })?;
    match inflated {
        Ok(Some(Err(error))) => return Err(error),
        Ok(_) => {}
        // Panics abort release builds; elsewhere the panic goes on where it was awaited.
        Err(panic) => std::panic::resume_unwind(panic),
    }
    let (mut unpacked, diff_id) = written?;
    unpacked.disk_bytes = directory.disk_bytes(unpacked.disk_bytes);
    let blob = match promised {
        Promised::Nothing | Promised::Tar(_) => None,
        Promised::Blob(layer) => Some(VerifiedBlob {
            digest: layer.blob.clone(),
            size_bytes: layer.size_bytes,
            compression: Some(layer.compression),
        }),
    };
    Ok(directory.into_layer(diff_id, unpacked, blob, limits.keep_free_percent))
}

/// A buffer and how much of it is filled.
#[derive(Default)]
struct Chunk {
    bytes: Vec<u8>,
    length: usize,
}

/// The inflate thread's ends of both channels.
struct Output {
    chunks: SyncSender<Chunk>,
    used: Receiver<Chunk>,
}

/// Runs in the inflate thread. `None` if the other side gave up, which then knows why.
fn inflate_blob<R: Read>(
    source: BlobSource<'_, R>,
    promised: Option<Compression>,
    mut budget: Budget<'_>,
    output: Output,
) -> Option<Result<(), UnpackError>> {
    let window_log = budget.limits.zstd_window_log;
    let mut decoder = match open(source, promised, window_log) {
        Ok(decoder) => decoder,
        Err(error) => return Some(Err(error)),
    };
    let windows = budget.windows();
    let mut window = windows.share();
    loop {
        let mut chunk = output.used.try_recv().unwrap_or_default();
        chunk.bytes.resize(CHUNK_BYTES, 0);
        chunk.length = match decoder.read_full(&mut chunk.bytes) {
            Ok(length) => length,
            Err(error) => return Some(Err(explain(decoder, error, window_log))),
        };
        // Of a new frame's window no more than this chunk has been touched yet.
        window.resize(decoder.memory_bytes());
        let compressed = decoder.source().map_or(u64::MAX, BlobSource::bytes);
        if let Err(error) = budget.spend(chunk.length as u64, compressed) {
            return Some(Err(error.into()));
        }
        if chunk.length == 0 {
            return Some(finish(decoder));
        }
        output.chunks.send(chunk).ok()?;
    }
}

pub(super) fn open<R: Read>(
    mut source: BlobSource<'_, R>,
    promised: Option<Compression>,
    window_log: u32,
) -> Result<Decoder<BlobSource<'_, R>>, UnpackError> {
    match agree(source.peek()?, promised) {
        Ok(compression) => Decoder::new(source, compression, window_log),
        Err(error) => Err(source.verify().err().unwrap_or(error)),
    }
}

/// Compares the blob with its promise once everything is decoded.
pub(super) fn finish<R: Read>(decoder: Decoder<BlobSource<'_, R>>) -> Result<(), UnpackError> {
    let compression = compression_name(decoder.compression());
    let lost = || UnpackError::Inflate {
        compression,
        source: io::ErrorKind::UnexpectedEof.into(),
    };
    decoder.into_source().ok_or_else(lost)?.verify().map(drop)
}

/// The source's own failure comes first, then a wrong digest, then damage: a layer that was
/// damaged on its way should say so, and not what the damage did to the decoder.
pub(super) fn explain<R: Read>(
    decoder: Decoder<BlobSource<'_, R>>,
    error: io::Error,
    window_log: u32,
) -> UnpackError {
    let compression = decoder.compression();
    let error = inflate_error(compression, error, window_log);
    match decoder.into_source() {
        Some(mut source) => match source.take_failure() {
            Some(failure) => failure,
            None => source.verify().err().unwrap_or(error),
        },
        None => error,
    }
}

/// Runs in the calling thread: the archive's entries, then whatever follows its end, which
/// belongs to the diff id all the same.
fn write_layer(
    mut unpacker: Unpacker<'_>,
    recipe: RecipeWriter,
    input: ChunkReader,
    limits: &UnpackLimits,
) -> Result<(Unpacked, DiffId), UnpackError> {
    let mut input = input;
    let mut archive = ArchiveReader::new(&mut input, limits).recording(recipe);
    while let Some(entry) = archive.next()? {
        unpacker.add(entry, &mut archive)?;
    }
    let trailing = archive.drain()?;
    if trailing > 0 {
        tracing::debug!(trailing, "bytes after the end of the archive");
    }
    let recipe = archive.into_recipe();
    let (unpacked, attic) = unpacker.finish()?;
    recipe.map_or(Ok(()), |recipe| attic.finish(recipe))?;
    Ok((unpacked, DiffId(input.finish())))
}

/// The tar side of the channel; hashes every chunk that it takes.
pub(super) struct ChunkReader {
    chunks: Receiver<Chunk>,
    used: Sender<Chunk>,
    hasher: Hasher,
    chunk: Chunk,
    position: usize,
}

impl ChunkReader {
    fn new(chunks: Receiver<Chunk>, used: Sender<Chunk>, algorithm: Algorithm) -> Self {
        Self {
            chunks,
            used,
            hasher: Hasher::new(algorithm),
            chunk: Chunk::default(),
            position: 0,
        }
    }

    fn finish(self) -> Digest {
        self.hasher.finish()
    }
}

impl BufRead for ChunkReader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.position == self.chunk.length
            && let Ok(next) = self.chunks.recv()
        {
            self.hasher.update(&next.bytes[..next.length]);
            let used = std::mem::replace(&mut self.chunk, next);
            self.position = 0;
            // Nobody takes it any more once the last chunk was sent.
            self.used.send(used).unwrap_or_default();
        }
        Ok(&self.chunk.bytes[self.position..self.chunk.length])
    }

    fn consume(&mut self, bytes: usize) {
        self.position += bytes;
    }
}

impl Read for ChunkReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let length = available.len().min(buffer.len());
        buffer[..length].copy_from_slice(&available[..length]);
        self.consume(length);
        Ok(length)
    }
}
