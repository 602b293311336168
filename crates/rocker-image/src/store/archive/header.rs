//! One 512-byte tar header, field by field.

use super::ArchiveError;
use super::number::parse_number;

/// Everything in a tar archive is padded to blocks of this many bytes.
pub(super) const BLOCK_BYTES: usize = 512;

/// A block, and `usize` made `u64` once.
pub(super) const BLOCK: u64 = 512;

/// A header whose checksum was right.
pub(super) struct Header {
    block: [u8; BLOCK_BYTES],
    offset: u64,
}

impl Header {
    /// Checks the checksum of the header that begins at byte `offset`.
    ///
    /// Some old writers summed signed bytes; both sums count, as in every reader.
    pub(super) fn parse(block: [u8; BLOCK_BYTES], offset: u64) -> Result<Self, ArchiveError> {
        let unsigned: i64 = block.iter().map(|b| i64::from(*b)).sum();
        let signed: i64 = block.iter().map(|b| i64::from(b.cast_signed())).sum();
        let field = &block[148..156];
        // The sum is made with the checksum field filled with spaces.
        let spaces = 8 * i64::from(b' ');
        let unsigned = unsigned - field.iter().map(|b| i64::from(*b)).sum::<i64>() + spaces;
        let signed = signed
            - field
                .iter()
                .map(|b| i64::from(b.cast_signed()))
                .sum::<i64>()
            + spaces;
        match parse_number(field) {
            Some(sum) if sum == unsigned || sum == signed => Ok(Self { block, offset }),
            _ => Err(ArchiveError::Checksum { offset }),
        }
    }

    pub(super) fn typeflag(&self) -> u8 {
        self.block[156]
    }

    /// The name, with ustar's prefix before it.
    pub(super) fn name(&self) -> Vec<u8> {
        let name = until_nul(&self.block[..100]);
        let prefix = self.prefix();
        if prefix.is_empty() {
            name.to_vec()
        } else {
            [prefix, b"/", name].concat()
        }
    }

    /// GNU keeps other things in the place of the prefix, star some of them.
    fn prefix(&self) -> &[u8] {
        if &self.block[257..263] != b"ustar\0" {
            return b"";
        }
        let is_star = &self.block[508..512] == b"tar\0";
        until_nul(if is_star {
            &self.block[345..476]
        } else {
            &self.block[345..500]
        })
    }

    pub(super) fn link_name(&self) -> &[u8] {
        until_nul(&self.block[157..257])
    }

    pub(super) fn mode(&self) -> Result<i64, ArchiveError> {
        self.number("mode", 100, 108)
    }

    pub(super) fn uid(&self) -> Result<i64, ArchiveError> {
        self.number("user id", 108, 116)
    }

    pub(super) fn gid(&self) -> Result<i64, ArchiveError> {
        self.number("group id", 116, 124)
    }

    pub(super) fn size(&self) -> Result<u64, ArchiveError> {
        self.unsigned("size", 124, 136)
    }

    pub(super) fn mtime(&self) -> Result<i64, ArchiveError> {
        self.number("modification time", 136, 148)
    }

    pub(super) fn device(&self) -> Result<(u64, u64), ArchiveError> {
        Ok((
            self.unsigned("device major", 329, 337)?,
            self.unsigned("device minor", 337, 345)?,
        ))
    }

    /// Offset and length pairs of an old GNU sparse header, and whether more blocks follow.
    pub(super) fn sparse_extents(&self) -> Result<(Vec<(u64, u64)>, bool), ArchiveError> {
        let extents = parse_extents(&self.block[386..482]);
        let extents = extents.ok_or(ArchiveError::Number {
            offset: self.offset,
            field: "sparse map",
        })?;
        Ok((extents, self.block[482] != 0))
    }

    /// The size of an old GNU sparse file with its holes.
    pub(super) fn sparse_real_size(&self) -> Result<u64, ArchiveError> {
        self.unsigned("real size", 483, 495)
    }

    pub(super) fn is_gnu(&self) -> bool {
        &self.block[257..265] == b"ustar  \0"
    }

    fn number(&self, field: &'static str, start: usize, end: usize) -> Result<i64, ArchiveError> {
        parse_number(&self.block[start..end]).ok_or(ArchiveError::Number {
            offset: self.offset,
            field,
        })
    }

    fn unsigned(&self, field: &'static str, start: usize, end: usize) -> Result<u64, ArchiveError> {
        let unusable = ArchiveError::Number {
            offset: self.offset,
            field,
        };
        u64::try_from(self.number(field, start, end)?).map_err(|_| unusable)
    }
}

/// Pairs of 12-byte numbers; an empty pair ends the list.
pub(super) fn parse_extents(bytes: &[u8]) -> Option<Vec<(u64, u64)>> {
    let mut extents = Vec::new();
    for pair in bytes.chunks_exact(24) {
        if pair[0] == 0 {
            break;
        }
        let offset = u64::try_from(parse_number(&pair[..12])?).ok()?;
        let length = u64::try_from(parse_number(&pair[12..])?).ok()?;
        extents.push((offset, length));
    }
    Some(extents)
}

pub(super) fn until_nul(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    &bytes[..end]
}
