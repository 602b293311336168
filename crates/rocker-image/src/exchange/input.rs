//! An archive from wherever it comes, as a file that can be read at any place.

use std::io::{self, BufRead, BufReader, Cursor, Read, Seek, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bzip2::bufread::MultiBzDecoder;
use flate2::bufread::MultiGzDecoder;
use fs_err::File;
use lzma_rust2::XzReader;

use super::load_error::LoadError;
use crate::store::{Budget, Staging, UnpackLimits};

/// What is read at once.
const BUFFER_BYTES: usize = 128 << 10;

/// Enough to tell how an archive is compressed: one block of a tar.
const HEAD_BYTES: usize = 512;

/// Memory for xz, in KiB: `xz -9` needs 65 MiB.
const XZ_MEMORY_KIB: u32 = 128 << 10;

/// A plain tar in a file.
pub(super) struct Input {
    pub(super) file: File,
    /// Where in the file it begins.
    pub(super) start: u64,
}

impl Input {
    /// Takes the file itself if it is a plain tar on a disk; everything else is unpacked into
    /// `staging` first, since layers are needed in another order than they come.
    pub(super) fn open(
        mut file: File,
        staging: &Staging,
        limits: &UnpackLimits,
    ) -> Result<Self, LoadError> {
        let read = |source| LoadError::Read { source };
        let is_file = file.metadata().map_err(read)?.is_file();
        let start = match is_file {
            true => file.stream_position().map_err(read)?,
            false => 0,
        };
        // a pipe may bring the first bytes one by one
        let mut head = Vec::with_capacity(HEAD_BYTES);
        let most = HEAD_BYTES as u64;
        (&mut file)
            .take(most)
            .read_to_end(&mut head)
            .map_err(read)?;
        let packing = Packing::of(&head);
        if packing == Packing::Plain && is_file {
            return Ok(Self { file, start });
        }
        let count = Arc::new(AtomicU64::new(0));
        let source = Counted {
            inner: Cursor::new(head).chain(file),
            count: Arc::clone(&count),
        };
        let source = BufReader::with_capacity(BUFFER_BYTES, source);
        let mut budget = Budget::new(staging, limits);
        let mut spool = staging.create_file("archive")?;
        let mut unpacked = packing.decoder(source, limits.zstd_window_log)?;
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            let length = match unpacked.read(&mut buffer) {
                Ok(0) => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                result => result.map_err(|source| packing.error(source))?,
            };
            budget.spend(length as u64, count.load(Ordering::Relaxed))?;
            let written = spool.write_all(&buffer[..length]);
            written.map_err(|source| LoadError::Spool { source })?;
        }
        Ok(Self {
            file: spool,
            start: 0,
        })
    }
}

/// How a whole archive is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Packing {
    Plain,
    Gzip,
    Zstd,
    Xz,
    Bzip2,
}

impl Packing {
    /// By the first bytes; what is none of them can only be plain, or nothing at all.
    fn of(bytes: &[u8]) -> Self {
        let magics: [(&[u8], Self); 4] = [
            (&[0x1f, 0x8b], Self::Gzip),
            (&[0x28, 0xb5, 0x2f, 0xfd], Self::Zstd),
            (&[0xfd, b'7', b'z', b'X', b'Z', 0], Self::Xz),
            (b"BZh", Self::Bzip2),
        ];
        // the first name in a plain tar may begin like anything
        let is_tar = bytes.get(257..262) == Some(b"ustar");
        let found = magics
            .iter()
            .find(|(magic, _)| bytes.starts_with(magic) && !is_tar);
        found.map_or(Self::Plain, |(_, packing)| *packing)
    }

    fn decoder<'a, R: BufRead + 'a>(
        self,
        source: R,
        window_log: u32,
    ) -> Result<Box<dyn Read + 'a>, LoadError> {
        Ok(match self {
            Self::Plain => Box::new(source),
            Self::Gzip => Box::new(MultiGzDecoder::new(source)),
            Self::Xz => Box::new(XzReader::new_mem_limit(source, true, XZ_MEMORY_KIB)),
            Self::Bzip2 => Box::new(MultiBzDecoder::new(source)),
            Self::Zstd => {
                let decoder = zstd::stream::read::Decoder::with_buffer(source);
                let mut decoder = decoder.map_err(|source| self.error(source))?;
                let limited = decoder.window_log_max(window_log);
                limited.map_err(|source| self.error(source))?;
                Box::new(decoder)
            }
        })
    }

    fn error(self, source: io::Error) -> LoadError {
        let compression = match self {
            Self::Plain => return LoadError::Read { source },
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Xz => "xz",
            Self::Bzip2 => "bzip2",
        };
        LoadError::Inflate {
            compression,
            source,
        }
    }
}

/// Counts what was read.
struct Counted<R> {
    inner: R,
    count: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.count.fetch_add(length as u64, Ordering::Relaxed);
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archives_are_known_by_their_first_bytes() {
        let mut named = [0u8; 512];
        named[..3].copy_from_slice(b"BZh");
        named[257..262].copy_from_slice(b"ustar");
        let cases: [(&[u8], Packing); 6] = [
            (&[0x1f, 0x8b, 8], Packing::Gzip),
            (&[0x28, 0xb5, 0x2f, 0xfd, 0], Packing::Zstd),
            (b"\xfd7zXZ\0", Packing::Xz),
            (b"BZh9", Packing::Bzip2),
            (&named, Packing::Plain),
            (b"", Packing::Plain),
        ];
        for (bytes, want) in cases {
            assert_eq!(Packing::of(bytes), want, "{}", bytes.escape_ascii());
        }
    }
}
