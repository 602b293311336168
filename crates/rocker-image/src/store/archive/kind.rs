//! What an entry makes, and the maps of sparse files.

use std::io::BufRead;

use super::ArchiveError;
use super::entry::EntryKind;
use super::header::{BLOCK, Header, parse_extents};
use super::number::parse_decimal;
use super::pax::PaxSparse;
use super::reader::ArchiveReader;
use super::sparse::{check_map, pairs};
use crate::store::LimitExceeded;
use crate::store::text::printable;

/// How many bytes the archive holds of a file, and what it says about holes.
pub(super) struct Stored<'a> {
    pub(super) size: u64,
    pub(super) sparse: &'a PaxSparse,
}

impl<R: BufRead> ArchiveReader<R> {
    /// Decides by the type letter, and begins the entry's data.
    pub(super) fn kind(
        &mut self,
        header: &Header,
        path: &[u8],
        link: Vec<u8>,
        stored: Stored<'_>,
    ) -> Result<EntryKind, ArchiveError> {
        let typeflag = header.typeflag();
        let ambiguous = |reason| {
            Err(ArchiveError::Ambiguous {
                path: printable(path),
                reason,
            })
        };
        if stored.sparse.is_present() && !matches!(typeflag, b'0' | 0 | b'7') {
            return ambiguous("only regular files are sparse");
        }
        if stored.size > 0 && matches!(typeflag, b'2'..=b'6') {
            return ambiguous("entries of its type have no data");
        }
        match typeflag {
            b'0' | 0 | b'7' if path.ends_with(b"/") => match (typeflag, stored.size) {
                // Archives older than POSIX have no type for directories.
                (0, 0) => Ok(EntryKind::Directory),
                _ => ambiguous("it is a file whose name ends with a slash"),
            },
            b'0' | 0 | b'7' => self.file(path, stored),
            b'S' if header.is_gnu() => self.old_gnu_sparse(header, path, stored.size),
            // A hard link's size is that of the file, and no data follows (Go, GNU tar).
            b'1' => Ok(EntryKind::HardLink { target: link }),
            b'2' => Ok(EntryKind::Symlink { target: link }),
            b'3' => header
                .device()
                .map(|(major, minor)| EntryKind::CharDevice { major, minor }),
            b'4' => header
                .device()
                .map(|(major, minor)| EntryKind::BlockDevice { major, minor }),
            b'5' => Ok(EntryKind::Directory),
            b'6' => Ok(EntryKind::Fifo),
            _ => {
                let path = printable(path);
                Err(ArchiveError::UnsupportedType {
                    path,
                    typeflag: char::from(typeflag),
                })
            }
        }
    }

    fn file(&mut self, path: &[u8], stored: Stored<'_>) -> Result<EntryKind, ArchiveError> {
        self.begin_body(stored.size);
        if !stored.sparse.is_present() {
            return Ok(EntryKind::File { size: stored.size });
        }
        let sparse = stored.sparse;
        let map = match (sparse.major, sparse.minor) {
            (Some(1), Some(0)) => Ok(self.read_map_1_0(path)?),
            (None, None) | (Some(0), Some(0 | 1)) => pairs(&sparse.numbers),
            _ => Err("its version is unknown"),
        };
        let map = map.and_then(|map| match (sparse.real_size, sparse.block_count) {
            (None, _) => Err("the size of the file is missing"),
            (_, Some(count)) if count != map.len() as u64 => Err("the number of runs is wrong"),
            (Some(size), _) => Ok((size, check_map(&map, size, self.body_left)?)),
        });
        let (size, extents) = map.map_err(|reason| sparse_error(path, reason))?;
        Ok(EntryKind::SparseFile { size, extents })
    }

    /// Format 1.0 keeps the map before the data: a count and as many pairs, one decimal
    /// number per line, padded to a block.
    fn read_map_1_0(&mut self, path: &[u8]) -> Result<Vec<(u64, u64)>, ArchiveError> {
        let malformed = || sparse_error(path, "a number is malformed");
        let start = self.body_left;
        let count = self.read_map_number(start)?.ok_or_else(malformed)?;
        let mut map = Vec::new();
        for _ in 0..count {
            let offset = self.read_map_number(start)?.ok_or_else(malformed)?;
            map.push((offset, self.read_map_number(start)?.ok_or_else(malformed)?));
        }
        let used = start - self.body_left;
        for _ in used..used.next_multiple_of(BLOCK).min(start) {
            self.read_body_byte()?;
        }
        Ok(map)
    }

    fn read_map_number(&mut self, start: u64) -> Result<Option<u64>, ArchiveError> {
        let mut digits = Vec::new();
        loop {
            if start - self.body_left > self.pax_bytes {
                let object = "a sparse map".to_owned();
                return Err(LimitExceeded {
                    limit: "pax_bytes",
                    allowed: self.pax_bytes,
                    object,
                }
                .into());
            }
            match self.read_body_byte()? {
                Some(b'\n') => return Ok(parse_decimal(&digits)),
                Some(digit) if digits.len() < 20 => digits.push(digit),
                _ => return Ok(None),
            }
        }
    }

    fn read_body_byte(&mut self) -> Result<Option<u8>, ArchiveError> {
        let byte = self.body_chunk()?.first().copied();
        if byte.is_some() {
            self.consume(1)?;
        }
        Ok(byte)
    }

    fn old_gnu_sparse(
        &mut self,
        header: &Header,
        path: &[u8],
        stored: u64,
    ) -> Result<EntryKind, ArchiveError> {
        let (mut map, mut more) = header.sparse_extents()?;
        let mut read = 0;
        while more {
            read += BLOCK;
            if read > self.pax_bytes {
                let object = "a sparse map".to_owned();
                return Err(LimitExceeded {
                    limit: "pax_bytes",
                    allowed: self.pax_bytes,
                    object,
                }
                .into());
            }
            let inside = "a sparse map";
            let block = self.read_block()?.ok_or(ArchiveError::Truncated {
                offset: self.offset,
                inside,
            })?;
            let unusable = ArchiveError::Number {
                offset: self.offset,
                field: "sparse map",
            };
            map.extend(parse_extents(&block[..504]).ok_or(unusable)?);
            more = block[504] != 0;
        }
        self.begin_body(stored);
        let size = header.sparse_real_size()?;
        let extents = check_map(&map, size, stored).map_err(|reason| sparse_error(path, reason))?;
        Ok(EntryKind::SparseFile { size, extents })
    }
}

fn sparse_error(path: &[u8], reason: &'static str) -> ArchiveError {
    ArchiveError::Sparse {
        path: printable(path),
        reason,
    }
}
