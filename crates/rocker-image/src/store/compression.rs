//! Compressed bytes in, tar bytes out.

use std::io::{self, BufRead, Read};

use flate2::bufread::GzDecoder;

use super::unpack_error::compression_name;
use super::zstd_reader::ZstdReader;
use super::{Compression, LimitExceeded, UnpackError};

/// What people compress archives with besides, and how it begins.
const FOREIGN_MAGICS: [(&str, &[u8]); 3] = [
    ("xz", &[0xfd, b'7', b'z', b'X', b'Z', 0]),
    ("bzip2", b"BZh"),
    ("lz4", &[0x04, 0x22, 0x4d, 0x18]),
];

const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b];
const ZSTD_MAGIC: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
/// A skippable frame: its first byte's low half is free. Seekable zstd may begin with one.
const ZSTD_SKIPPABLE_MAGIC: &[u8] = &[0x2a, 0x4d, 0x18];

/// A decoder for one layer.
pub(crate) enum Decoder<R: BufRead> {
    Plain(R),
    Gzip(Box<MultiGzip<R>>),
    Zstd(Box<ZstdReader<R>>),
}

/// What `bytes`, the beginning of a layer, look like. What is neither gzip nor zstd can only
/// be a plain tar; the tar reader will say so if it is not.
pub(crate) fn recognise(bytes: &[u8]) -> Compression {
    let is_skippable = bytes.first().is_some_and(|b| b & 0xf0 == 0x50)
        && bytes[1..].starts_with(ZSTD_SKIPPABLE_MAGIC);
    if bytes.starts_with(GZIP_MAGIC) {
        Compression::Gzip
    } else if bytes.starts_with(ZSTD_MAGIC) || is_skippable {
        Compression::Zstd
    } else {
        Compression::None
    }
}

/// What `bytes` are, if that is what the media type promised.
pub(super) fn agree(
    bytes: &[u8],
    promised: Option<Compression>,
) -> Result<Compression, UnpackError> {
    let actual = recognise(bytes);
    let foreign = FOREIGN_MAGICS
        .iter()
        .find(|(_, magic)| bytes.starts_with(magic) && !looks_like_tar(bytes));
    if let Some((name, _)) = foreign {
        return Err(UnpackError::ForeignCompression { name });
    }
    match promised.filter(|promised| *promised != actual) {
        None => Ok(actual),
        Some(promised) => Err(UnpackError::Compression {
            promised: compression_name(promised),
            actual: compression_name(actual),
        }),
    }
}

/// An archive whose first name happens to begin like something else.
pub(crate) fn looks_like_tar(bytes: &[u8]) -> bool {
    bytes.get(257..262) == Some(b"ustar")
}

impl<R: BufRead> Decoder<R> {
    pub(crate) fn new(
        source: R,
        compression: Compression,
        window_log: u32,
    ) -> Result<Self, UnpackError> {
        Ok(match compression {
            Compression::None => Self::Plain(source),
            Compression::Gzip => Self::Gzip(Box::new(MultiGzip {
                member: Some(GzDecoder::new(source)),
                rest: None,
            })),
            Compression::Zstd => {
                let inflate_error = |source| UnpackError::Inflate {
                    compression: "zstd",
                    source,
                };
                let decoder = ZstdReader::new(source, window_log).map_err(inflate_error)?;
                Self::Zstd(Box::new(decoder))
            }
        })
    }

    pub(super) fn compression(&self) -> Compression {
        match self {
            Self::Plain(_) => Compression::None,
            Self::Gzip(_) => Compression::Gzip,
            Self::Zstd(_) => Compression::Zstd,
        }
    }

    /// Fills `buffer` as far as there is something; zero at the end.
    pub(crate) fn read_full(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            let rest = &mut buffer[filled..];
            let read = match self {
                Self::Plain(source) => source.read(rest),
                Self::Gzip(source) => source.read(rest),
                Self::Zstd(source) => source.read(rest),
            };
            match read {
                Ok(0) => break,
                Ok(bytes) => filled += bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    /// What decoding takes, where that depends on the layer.
    pub(super) fn memory_bytes(&self) -> u64 {
        match self {
            Self::Plain(_) | Self::Gzip(_) => 0,
            Self::Zstd(zstd) => zstd.memory_bytes(),
        }
    }

    /// The source, while there is one.
    pub(super) fn source(&self) -> Option<&R> {
        match self {
            Self::Plain(source) => Some(source),
            Self::Gzip(gzip) => gzip
                .rest
                .as_ref()
                .or_else(|| gzip.member.as_ref().map(GzDecoder::get_ref)),
            Self::Zstd(zstd) => Some(zstd.get_ref()),
        }
    }

    /// The source, positioned behind what was decoded (or anywhere, after an error).
    pub(super) fn into_source(self) -> Option<R> {
        match self {
            Self::Plain(source) => Some(source),
            Self::Gzip(gzip) => {
                let MultiGzip { member, rest } = *gzip;
                rest.or_else(|| member.map(GzDecoder::into_inner))
            }
            Self::Zstd(zstd) => Some(zstd.into_inner()),
        }
    }
}

/// gzip members one after the other, and garbage after the last, which everybody tolerates.
pub(crate) struct MultiGzip<R: BufRead> {
    member: Option<GzDecoder<R>>,
    rest: Option<R>,
}

impl<R: BufRead> MultiGzip<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.member {
            let bytes = member.read(buffer)?;
            if bytes > 0 || buffer.is_empty() {
                return Ok(bytes);
            }
            self.next_member()?;
        }
        Ok(0)
    }

    fn next_member(&mut self) -> io::Result<()> {
        let Some(member) = self.member.take() else {
            return Ok(());
        };
        let mut source = member.into_inner();
        match source
            .fill_buf()
            .map(|bytes| bytes.first() == GZIP_MAGIC.first())
        {
            Ok(true) => self.member = Some(GzDecoder::new(source)),
            Ok(false) => self.rest = Some(source),
            Err(error) => {
                self.rest = Some(source);
                return Err(error);
            }
        }
        Ok(())
    }
}

/// Explains a decoder's error; a zstd window beyond the limit is a limit, not damage.
pub(crate) fn inflate_error(
    compression: Compression,
    source: io::Error,
    window_log: u32,
) -> UnpackError {
    // The library's code is kept only as text.
    if compression == Compression::Zstd && source.to_string().contains("too much memory") {
        let object = "the window of a zstd frame".to_owned();
        return LimitExceeded {
            limit: "zstd_window_log",
            allowed: u64::from(window_log),
            object,
        }
        .into();
    }
    UnpackError::Inflate {
        compression: compression_name(compression),
        source,
    }
}
