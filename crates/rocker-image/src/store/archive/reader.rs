//! From a stream of bytes to entries.

use std::io::{BufRead, Seek};

use super::ArchiveError;
use super::entry::{Entry, Mtime};
use super::extensions::{Extensions, merge_names, owner, set_once};
use super::header::{BLOCK, BLOCK_BYTES, Header, until_nul};
use super::kind::Stored;
use super::pax::{Pax, parse_records};
use super::sparse::Extent;
use crate::store::recipe::RecipeWriter;
use crate::store::{LimitExceeded, UnpackLimits};

/// What may follow the end of an archive.
const TRAILING_BYTES_MAX: u64 = 16 << 20;

/// Reads entries one by one, and each one's data before the next.
pub(crate) struct ArchiveReader<R> {
    source: R,
    /// Is told of every byte that is taken from the source.
    recipe: Option<RecipeWriter>,
    pub(super) offset: u64,
    pub(super) body_left: u64,
    padding_left: u64,
    pub(super) pax_bytes: u64,
}

impl<R: BufRead> ArchiveReader<R> {
    pub(crate) fn new(source: R, limits: &UnpackLimits) -> Self {
        Self {
            source,
            recipe: None,
            offset: 0,
            body_left: 0,
            padding_left: 0,
            pax_bytes: limits.pax_bytes,
        }
    }

    /// Takes note in `recipe` of everything that is read from now on.
    pub(crate) fn recording(self, recipe: RecipeWriter) -> Self {
        let recipe = Some(recipe);
        Self { recipe, ..self }
    }

    /// Ends the notes.
    pub(crate) fn into_recipe(self) -> Option<RecipeWriter> {
        self.recipe
    }

    /// The next entry, or `None` at the end of the archive. What is left of the data of
    /// the entry before is skipped.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>, ArchiveError> {
        self.skip_body()?;
        let mut extensions = Extensions::default();
        loop {
            let Some(header) = self.read_header()? else {
                return if extensions.is_empty() {
                    Ok(None)
                } else {
                    Err(ArchiveError::DanglingExtension)
                };
            };
            match header.typeflag() {
                b'x' => set_once(&mut extensions.pax, self.read_pax(&header)?, &header)?,
                b'L' => set_once(
                    &mut extensions.long_name,
                    self.read_long_name(&header)?,
                    &header,
                )?,
                b'K' => set_once(
                    &mut extensions.long_link,
                    self.read_long_name(&header)?,
                    &header,
                )?,
                b'g' => self.skip_global(&header)?,
                _ => return self.entry(&header, extensions).map(Some),
            }
        }
    }

    /// The next piece of the current entry's data; empty at its end.
    pub(crate) fn body_chunk(&mut self) -> Result<&[u8], ArchiveError> {
        if self.body_left == 0 {
            return Ok(&[]);
        }
        let limit = usize::try_from(self.body_left).unwrap_or(usize::MAX);
        let chunk = fill(&mut self.source, self.offset)?;
        if chunk.is_empty() {
            return Err(ArchiveError::Truncated {
                offset: self.offset,
                inside: "a file's data",
            });
        }
        Ok(&chunk[..chunk.len().min(limit)])
    }

    /// The data that is marked as stored from now on is in the file at `path`, a name
    /// without links.
    pub(crate) fn begin_file(&mut self, path: &[u8]) -> Result<(), ArchiveError> {
        let named = self.recipe.as_mut().map(|recipe| recipe.file(path));
        named
            .unwrap_or(Ok(()))
            .map_err(|source| ArchiveError::Recipe { source })
    }

    /// Marks bytes of the last chunk as used: they are in the file now, as `run`.
    pub(crate) fn consume_stored(&mut self, run: Extent) {
        if let Some(recipe) = &mut self.recipe {
            recipe.run(run);
        }
        self.source
            .consume(usize::try_from(run.length).unwrap_or(usize::MAX));
        self.offset += run.length;
        self.body_left -= run.length;
    }

    /// Marks `bytes` of the last chunk as used, for something that no file has.
    pub(super) fn consume(&mut self, bytes: usize) -> Result<(), ArchiveError> {
        self.pass(bytes)?;
        self.body_left -= bytes as u64;
        Ok(())
    }

    /// Goes on behind `bytes` that are buffered and that no file has.
    fn pass(&mut self, bytes: usize) -> Result<(), ArchiveError> {
        if let Some(recipe) = &mut self.recipe {
            let chunk = fill(&mut self.source, self.offset)?;
            let noted = recipe.literal(&chunk[..bytes.min(chunk.len())]);
            noted.map_err(|source| ArchiveError::Recipe { source })?;
        }
        self.source.consume(bytes);
        self.offset += bytes as u64;
        Ok(())
    }

    /// Reads whatever follows the end of the archive, up to 16 MiB: padding to the record of a
    /// tape, which writers let users choose. Says how many bytes that was.
    pub(crate) fn drain(&mut self) -> Result<u64, ArchiveError> {
        let start = self.offset;
        loop {
            let length = fill(&mut self.source, self.offset)?.len();
            if length == 0 {
                return Ok(self.offset - start);
            }
            self.pass(length)?;
            if self.offset - start > TRAILING_BYTES_MAX {
                return Err(ArchiveError::Trailing {
                    offset: start,
                    limit: TRAILING_BYTES_MAX,
                });
            }
        }
    }

    fn skip_body(&mut self) -> Result<(), ArchiveError> {
        while self.body_left > 0 {
            let length = self.body_chunk()?.len();
            self.consume(length)?;
        }
        while self.padding_left > 0 {
            let available = fill(&mut self.source, self.offset)?.len() as u64;
            let step = available.min(self.padding_left);
            if step == 0 {
                // Some writers do not pad the last entry.
                self.padding_left = 0;
            }
            self.pass(usize::try_from(step).unwrap_or(0))?;
            self.padding_left = self.padding_left.saturating_sub(step);
        }
        Ok(())
    }

    /// `None` at the end: no more bytes, or blocks of zeros.
    fn read_header(&mut self) -> Result<Option<Header>, ArchiveError> {
        let offset = self.offset;
        let Some(block) = self.read_block()? else {
            return Ok(None);
        };
        if block != [0; BLOCK_BYTES] {
            return Header::parse(block, offset).map(Some);
        }
        // One block of zeros is enough for some readers, others want two and read on.
        let after = self.offset;
        match self.read_block()? {
            Some(block) if block != [0; BLOCK_BYTES] => {
                Err(ArchiveError::AfterEnd { offset: after })
            }
            _ => Ok(None),
        }
    }

    pub(super) fn read_block(&mut self) -> Result<Option<[u8; BLOCK_BYTES]>, ArchiveError> {
        let mut block = [0; BLOCK_BYTES];
        let filled = self.read_into(&mut block)?;
        match filled {
            0 => Ok(None),
            BLOCK_BYTES => Ok(Some(block)),
            _ => Err(ArchiveError::Truncated {
                offset: self.offset,
                inside: "a header",
            }),
        }
    }

    fn read_into(&mut self, buffer: &mut [u8]) -> Result<usize, ArchiveError> {
        let mut filled = 0;
        while filled < buffer.len() {
            let chunk = fill(&mut self.source, self.offset)?;
            if chunk.is_empty() {
                break;
            }
            let step = chunk.len().min(buffer.len() - filled);
            buffer[filled..filled + step].copy_from_slice(&chunk[..step]);
            self.pass(step)?;
            filled += step;
        }
        Ok(filled)
    }

    /// The data of a header that describes the next entry.
    fn read_extension(&mut self, header: &Header) -> Result<Vec<u8>, ArchiveError> {
        let size = header.size()?;
        if size > self.pax_bytes {
            let object = "an extended header".to_owned();
            return Err(LimitExceeded {
                limit: "pax_bytes",
                allowed: self.pax_bytes,
                object,
            }
            .into());
        }
        let cut_off = |offset| ArchiveError::Truncated {
            offset,
            inside: "an extended header",
        };
        let length = usize::try_from(size).map_err(|_| cut_off(self.offset))?;
        let mut bytes = vec![0; length.next_multiple_of(BLOCK_BYTES)];
        if self.read_into(&mut bytes)? < bytes.len() {
            return Err(cut_off(self.offset));
        }
        bytes.truncate(length);
        Ok(bytes)
    }

    fn read_pax(&mut self, header: &Header) -> Result<Pax, ArchiveError> {
        let bytes = self.read_extension(header)?;
        Pax::parse(&bytes).map_err(|reason| ArchiveError::Pax {
            offset: self.offset,
            reason,
        })
    }

    fn read_long_name(&mut self, header: &Header) -> Result<Vec<u8>, ArchiveError> {
        let bytes = self.read_extension(header)?;
        Ok(until_nul(&bytes).to_vec())
    }

    /// Global headers are ignored, as docker ignores them; but one that renames or resizes
    /// entries would make another archive of this one for the readers that obey.
    fn skip_global(&mut self, header: &Header) -> Result<(), ArchiveError> {
        let bytes = self.read_extension(header)?;
        let records = parse_records(&bytes).map_err(|reason| ArchiveError::Pax {
            offset: self.offset,
            reason,
        })?;
        for (key, _) in records {
            if matches!(key, b"path" | b"linkpath" | b"size") || key.starts_with(b"GNU.sparse.") {
                let path = "global header".to_owned();
                return Err(ArchiveError::Ambiguous {
                    path,
                    reason: "it names or sizes every entry",
                });
            }
        }
        Ok(())
    }

    fn entry(&mut self, header: &Header, extensions: Extensions) -> Result<Entry, ArchiveError> {
        let Extensions {
            pax,
            long_name,
            long_link,
        } = extensions;
        let mut pax = pax.unwrap_or_default();
        let path = merge_names(header.name(), long_name, pax.path.take())?;
        let link = merge_names(header.link_name().to_vec(), long_link, pax.link_path.take())?;
        // left where it is: a name without a map must not rename a file that is not sparse
        let path = pax.sparse.name.clone().unwrap_or(path);
        let size = pax.size.map_or_else(|| header.size(), Ok)?;
        let kind = self.kind(
            header,
            &path,
            link,
            Stored {
                size,
                sparse: &pax.sparse,
            },
        )?;
        let number = |field| ArchiveError::Number {
            offset: self.offset,
            field,
        };
        let mode = u32::try_from(header.mode()?).map_err(|_| number("mode"))?;
        Ok(Entry {
            path,
            kind,
            mode: mode & 0o7777,
            uid: owner(pax.uid, header.uid()?).ok_or_else(|| number("user id"))?,
            gid: owner(pax.gid, header.gid()?).ok_or_else(|| number("group id"))?,
            mtime: match pax.mtime {
                Some(mtime) => mtime,
                None => Mtime {
                    seconds: header.mtime()?,
                    nanoseconds: 0,
                },
            },
            xattrs: pax.xattrs,
        })
    }

    pub(super) fn begin_body(&mut self, size: u64) {
        self.body_left = size;
        self.padding_left = (BLOCK - size % BLOCK) % BLOCK;
    }
}

impl<R: BufRead + Seek> ArchiveReader<R> {
    /// Passes over the current file's data without reading it; says where it begins. Whether
    /// it is all there is for the caller to check.
    pub(crate) fn skip_content(&mut self) -> Result<u64, ArchiveError> {
        let start = self.offset;
        let step = i64::try_from(self.body_left).unwrap_or(i64::MAX);
        let skipped = self.source.seek_relative(step);
        skipped.map_err(|source| ArchiveError::Read {
            offset: start,
            source,
        })?;
        self.offset += self.body_left;
        self.body_left = 0;
        Ok(start)
    }
}

fn fill<R: BufRead>(source: &mut R, offset: u64) -> Result<&[u8], ArchiveError> {
    source
        .fill_buf()
        .map_err(|source| ArchiveError::Read { offset, source })
}
