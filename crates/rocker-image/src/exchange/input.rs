//! An archive from wherever it comes, as a file that can be read at any place.

use std::io::{self, BufRead, BufReader, Cursor, Read, Seek, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bzip2::bufread::MultiBzDecoder;
use fs_err::File;
use lzma_rust2::XzReader;

use super::load::LoadRequest;
use super::load_error::LoadError;
use crate::document::Compression;
use crate::store::{
    ArchiveReader, Budget, Decoder, Staging, UnpackError, UnpackLimits, inflate_error,
    looks_like_tar, recognise,
};

const XZ_MAGIC: &[u8] = &[0xfd, b'7', b'z', b'X', b'Z', 0];
const BZIP2_MAGIC: &[u8] = b"BZh";

/// What is read at once.
const BUFFER_BYTES: usize = 128 << 10;

/// Enough to tell how an archive is compressed: one block of a tar.
pub(super) const HEAD_BYTES: usize = 512;

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
        request: &LoadRequest<'_>,
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
        if packing == Packing::Known(Compression::None) && is_file {
            return Ok(Self { file, start });
        }
        let count = Arc::new(AtomicU64::new(0));
        let source = Counted::new(Cursor::new(head).chain(file), Arc::clone(&count));
        let source = BufReader::with_capacity(BUFFER_BYTES, source);
        let spool = Spool {
            unpacker: packing.unpacker(source, request.limits.zstd_window_log)?,
            packing,
            budget: Budget::new(staging, &request.limits),
            count,
            file: staging.create_nameless_file()?,
            cancelled: request.cancelled,
            failure: None,
        };
        Ok(Self {
            file: spool.fill(&request.limits)?,
            start: 0,
        })
    }
}

/// An archive on its way into a file, as long as it is one.
struct Spool<'a, R: BufRead> {
    unpacker: Unpacker<R>,
    packing: Packing,
    budget: Budget<'a>,
    /// How much was read of what is packed.
    count: Arc<AtomicU64>,
    file: File,
    cancelled: &'a (dyn Fn() -> bool + Sync),
    /// Why reading has ended early.
    failure: Option<LoadError>,
}

impl<R: BufRead> Spool<'_, R> {
    /// Takes the archive to its end. What is none, or does not end, is not kept to the last byte
    /// first.
    fn fill(mut self, limits: &UnpackLimits) -> Result<File, LoadError> {
        let source = BufReader::with_capacity(BUFFER_BYTES, &mut self);
        let mut archive = ArchiveReader::new(source, limits);
        let read = loop {
            match archive.next() {
                Ok(Some(_)) => {}
                Ok(None) => break archive.drain(),
                Err(error) => break Err(error),
            }
        };
        match (self.failure, read) {
            (Some(failure), _) => Err(failure),
            (None, Err(error)) => Err(error.into()),
            (None, Ok(_)) => Ok(self.file),
        }
    }

    fn take(&mut self, buffer: &mut [u8]) -> Result<usize, LoadError> {
        if (self.cancelled)() {
            return Err(LoadError::Cancelled);
        }
        let window_log = self.budget.limits.zstd_window_log;
        let length = self
            .unpacker
            .read(buffer)
            .map_err(|source| self.packing.error(source, window_log))?;
        let packed = self.count.load(Ordering::Relaxed);
        self.budget.spend(length as u64, packed)?;
        let written = self.file.write_all(&buffer[..length]);
        written.map_err(|source| LoadError::Spool { source })?;
        Ok(length)
    }
}

impl<R: BufRead> Read for Spool<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.take(buffer).map_err(|failure| {
            self.failure = Some(failure);
            io::Error::other("the archive cannot be kept")
        })
    }
}

/// How a whole archive is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packing {
    /// As layers may be, or not at all.
    Known(Compression),
    Xz,
    Bzip2,
}

/// What takes the compression off.
pub(super) enum Unpacker<R: BufRead> {
    Known(Decoder<R>),
    Xz(Box<XzReader<R>>),
    Bzip2(Box<MultiBzDecoder<R>>),
}

impl Packing {
    /// By the first bytes; what is none of them can only be plain, or nothing at all.
    pub(super) fn of(bytes: &[u8]) -> Self {
        // the first name in a plain tar may begin like anything
        if looks_like_tar(bytes) {
            Self::Known(Compression::None)
        } else if bytes.starts_with(XZ_MAGIC) {
            Self::Xz
        } else if bytes.starts_with(BZIP2_MAGIC) {
            Self::Bzip2
        } else {
            Self::Known(recognise(bytes))
        }
    }

    pub(super) fn unpacker<R: BufRead>(
        self,
        source: R,
        window_log: u32,
    ) -> Result<Unpacker<R>, LoadError> {
        Ok(match self {
            Self::Known(compression) => {
                let decoder = Decoder::new(source, compression, window_log);
                Unpacker::Known(decoder.map_err(not_unpacked)?)
            }
            Self::Xz => {
                let reader = XzReader::new_mem_limit(source, true, XZ_MEMORY_KIB);
                Unpacker::Xz(Box::new(reader))
            }
            Self::Bzip2 => Unpacker::Bzip2(Box::new(MultiBzDecoder::new(source))),
        })
    }

    fn error(self, source: io::Error, window_log: u32) -> LoadError {
        let compression = match self {
            Self::Known(Compression::None) => return LoadError::Read { source },
            Self::Known(compression) => {
                return not_unpacked(inflate_error(compression, source, window_log));
            }
            Self::Xz => "xz",
            Self::Bzip2 => "bzip2",
        };
        LoadError::Inflate {
            compression,
            source,
        }
    }
}

impl<R: BufRead> Unpacker<R> {
    /// The next bytes; none at the end.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = match self {
                Self::Known(decoder) => decoder.read_full(buffer),
                Self::Xz(reader) => reader.read(buffer),
                Self::Bzip2(decoder) => decoder.read(buffer),
            };
            match read {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => return read,
            }
        }
    }
}

/// The words of a layer's decoder for an archive.
fn not_unpacked(error: UnpackError) -> LoadError {
    if let UnpackError::Inflate {
        compression,
        source,
    } = error
    {
        return LoadError::Inflate {
            compression,
            source,
        };
    }
    let name = "the archive itself".to_owned();
    LoadError::Layer {
        name,
        source: Box::new(error),
    }
}

/// Counts what was read.
pub(super) struct Counted<R> {
    inner: R,
    count: Arc<AtomicU64>,
}

impl<R> Counted<R> {
    pub(super) fn new(inner: R, count: Arc<AtomicU64>) -> Self {
        Self { inner, count }
    }
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
        let known = Packing::Known;
        let cases: [(&[u8], Packing); 7] = [
            (&[0x1f, 0x8b, 8], known(Compression::Gzip)),
            (&[0x28, 0xb5, 0x2f, 0xfd, 0], known(Compression::Zstd)),
            (&[0x5a, 0x2a, 0x4d, 0x18, 0], known(Compression::Zstd)),
            (b"\xfd7zXZ\0", Packing::Xz),
            (b"BZh9", Packing::Bzip2),
            (&named, known(Compression::None)),
            (b"", known(Compression::None)),
        ];
        for (bytes, want) in cases {
            assert_eq!(Packing::of(bytes), want, "{}", bytes.escape_ascii());
        }
    }
}
