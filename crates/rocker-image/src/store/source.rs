//! The compressed bytes, counted and hashed as they pass.

use std::io::{self, BufRead, Read};

use rocker_types::{Algorithm, Digest};

use super::UnpackError;
use super::digest::Hasher;

/// What is read at once; large enough that hashing and reading are few calls.
const BUFFER_BYTES: usize = 128 << 10;

/// What a manifest promises about a blob.
#[derive(Clone, Copy, Debug)]
pub(super) struct Promise<'a> {
    pub(super) blob: &'a Digest,
    pub(super) size_bytes: u64,
}

/// Buffers, counts and hashes a blob. Reads whole buffers, so the first one holds the
/// magic number however the network cuts its packets.
pub(super) struct BlobSource<'a, R> {
    inner: R,
    promise: Option<Promise<'a>>,
    on_progress: &'a (dyn Fn(u64) + Sync),
    hasher: Option<Hasher>,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    bytes: u64,
    failure: Option<UnpackError>,
}

impl<'a, R: Read> BlobSource<'a, R> {
    /// A blob nobody promised anything about is not hashed.
    pub(super) fn new(
        inner: R,
        promise: Option<Promise<'a>>,
        on_progress: &'a (dyn Fn(u64) + Sync),
    ) -> Self {
        let algorithm: Option<Algorithm> = promise.map(|promise| promise.blob.algorithm());
        Self {
            inner,
            promise,
            on_progress,
            hasher: algorithm.map(Hasher::new),
            buffer: vec![0; BUFFER_BYTES].into_boxed_slice(),
            start: 0,
            end: 0,
            bytes: 0,
            failure: None,
        }
    }

    /// The first bytes, at least four unless there are fewer.
    pub(super) fn peek(&mut self) -> Result<&[u8], UnpackError> {
        if self.start == self.end {
            self.refill()?;
        }
        Ok(&self.buffer[self.start..self.end])
    }

    /// How many bytes have come.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Why reading stopped, if it was not the decoder's fault.
    pub(super) fn take_failure(&mut self) -> Option<UnpackError> {
        self.failure.take()
    }

    /// Reads to the end and compares with what was promised.
    pub(super) fn verify(mut self) -> Result<u64, UnpackError> {
        while self.refill()? > 0 {}
        let Some(Promise { blob, size_bytes }) = self.promise else {
            return Ok(self.bytes);
        };
        if self.bytes != size_bytes {
            return Err(UnpackError::BlobSize {
                blob: blob.clone(),
                promised: size_bytes,
                actual: self.bytes,
            });
        }
        match self.hasher.map(Hasher::finish) {
            Some(actual) if actual != *blob => Err(UnpackError::BlobDigest {
                promised: blob.clone(),
                actual,
            }),
            _ => Ok(self.bytes),
        }
    }

    /// Drops what is buffered and reads the next buffer; its length, zero at the end.
    fn refill(&mut self) -> Result<usize, UnpackError> {
        (self.start, self.end) = (0, 0);
        while self.end < self.buffer.len() {
            match self.inner.read(&mut self.buffer[self.end..]) {
                Ok(0) => break,
                Ok(bytes) => self.end += bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => {
                    return Err(UnpackError::Read {
                        bytes: self.bytes,
                        source,
                    });
                }
            }
        }
        self.bytes += self.end as u64;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&self.buffer[..self.end]);
        }
        if let Some(Promise { blob, size_bytes }) = self
            .promise
            .filter(|promise| self.bytes > promise.size_bytes)
        {
            return Err(UnpackError::BlobSize {
                blob: blob.clone(),
                promised: size_bytes,
                actual: self.bytes,
            });
        }
        (self.on_progress)(self.bytes);
        Ok(self.end)
    }
}

impl<R: Read> BufRead for BlobSource<'_, R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.start == self.end
            && let Err(error) = self.refill()
        {
            (self.start, self.end) = (0, 0);
            // Decoders only pass io errors on; the real one waits in `failure`.
            self.failure = Some(error);
            return Err(io::Error::other("the layer's source failed"));
        }
        Ok(&self.buffer[self.start..self.end])
    }

    fn consume(&mut self, bytes: usize) {
        self.start += bytes;
    }
}

impl<R: Read> Read for BlobSource<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let length = available.len().min(buffer.len());
        buffer[..length].copy_from_slice(&available[..length]);
        self.consume(length);
        Ok(length)
    }
}
