//! Archives that are compressed as no layer may be.

use std::io::{self, BufReader, Cursor, Read};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::input::{Counted, HEAD_BYTES, Packing, Unpacker};
use super::load_error::LoadError;
use crate::document::Compression;
use crate::store::{LimitExceeded, UnpackLimits};

/// A root file system's archive without the compression that `rocker import` takes and layers do
/// not have: xz or bzip2. What may be a layer comes as it is.
pub struct Peeled<R: Read> {
    bytes: Bytes<R>,
    limits: UnpackLimits,
    unpacked: u64,
    packed: Arc<AtomicU64>,
}

/// The archive with its first bytes put back before it.
type Whole<R> = BufReader<Counted<io::Chain<Cursor<Vec<u8>>, R>>>;

enum Bytes<R: Read> {
    AsTheyAre(io::Chain<Cursor<Vec<u8>>, R>),
    Unpacked(Unpacker<Whole<R>>),
}

impl<R: Read> std::fmt::Debug for Peeled<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Peeled").finish_non_exhaustive()
    }
}

impl<R: Read> Peeled<R> {
    /// Looks at the first bytes of `archive`.
    ///
    /// # Errors
    ///
    /// [`LoadError::Read`] if they cannot be had.
    pub fn new(mut archive: R, limits: UnpackLimits) -> Result<Self, LoadError> {
        let mut head = Vec::with_capacity(HEAD_BYTES);
        let most = HEAD_BYTES as u64;
        let read = archive.by_ref().take(most).read_to_end(&mut head);
        read.map_err(|source| LoadError::Read { source })?;
        let packing = Packing::of(&head);
        let whole = Cursor::new(head).chain(archive);
        let packed = Arc::new(AtomicU64::new(0));
        let bytes = match packing {
            Packing::Known(Compression::None | Compression::Gzip | Compression::Zstd) => {
                Bytes::AsTheyAre(whole)
            }
            Packing::Xz | Packing::Bzip2 => {
                let counted = Counted::new(whole, Arc::clone(&packed));
                let source = BufReader::new(counted);
                Bytes::Unpacked(packing.unpacker(source, limits.zstd_window_log)?)
            }
        };
        Ok(Self {
            bytes,
            limits,
            unpacked: 0,
            packed,
        })
    }

    /// Whoever reads us counts only what has been unpacked, and so cannot see a bomb.
    fn check(&self) -> Result<(), LimitExceeded> {
        let packed = self.packed.load(std::sync::atomic::Ordering::Relaxed);
        let is_suspicious = self.unpacked > self.limits.ratio_grace_bytes;
        if is_suspicious && self.unpacked / self.limits.ratio > packed {
            let object = format!(
                "the ratio of {} unpacked to {packed} packed bytes",
                self.unpacked
            );
            return Err(LimitExceeded {
                limit: "ratio",
                allowed: self.limits.ratio,
                object,
            });
        }
        Ok(())
    }
}

impl<R: Read> Read for Peeled<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.bytes {
            Bytes::AsTheyAre(bytes) => bytes.read(buffer),
            Bytes::Unpacked(unpacker) => {
                let length = unpacker.read(buffer)?;
                self.unpacked += length as u64;
                self.check().map_err(io::Error::other)?;
                Ok(length)
            }
        }
    }
}
