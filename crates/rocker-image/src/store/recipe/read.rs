//! Reading a recipe back.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};

use fs_err::File;
use zstd::stream::read::Decoder;

use super::{END, FILE, HEADER_BYTES, LITERAL, MAGIC, Move, RUN, VERSION, number};
use crate::store::archive::Extent;
use crate::store::unpack::split;

/// No path is longer that came through the unpacker.
const PATH_BYTES: u64 = 256 << 10;

/// What comes next in the stream.
#[derive(Debug)]
pub(super) enum Step {
    /// As many bytes, which [`RecipeReader::literal`] has.
    Literal(u64),
    /// Nothing, but the runs that follow are of this file.
    File(Vec<u8>),
    /// A part of the file.
    Run(Extent),
    /// Nothing any more.
    End,
}

/// The steps of a recipe.
pub(super) struct RecipeReader {
    steps: BufReader<Decoder<'static, BufReader<io::Take<File>>>>,
}

/// What a recipe says of the whole stream.
pub(super) struct Header {
    pub(super) stream_bytes: u64,
    steps_bytes: u64,
}

impl Header {
    pub(super) fn read(file: &mut File) -> io::Result<Self> {
        let mut bytes = [0; HEADER_BYTES];
        file.read_exact(&mut bytes)?;
        let mut fields = &bytes[..];
        let (mut magic, mut version) = ([0; 8], [0; 4]);
        fields.read_exact(&mut magic)?;
        fields.read_exact(&mut version)?;
        if magic != MAGIC || u32::from_le_bytes(version) != VERSION {
            return Err(damage("it has another format"));
        }
        let mut number = || {
            let mut field = [0; 8];
            fields.read_exact(&mut field)?;
            Ok::<_, io::Error>(u64::from_le_bytes(field))
        };
        Ok(Self {
            stream_bytes: number()?,
            steps_bytes: number()?,
        })
    }
}

impl RecipeReader {
    /// Reads on behind the header.
    pub(super) fn open(mut file: File, header: &Header) -> io::Result<(Self, Moves)> {
        let start = HEADER_BYTES as u64;
        let end = start.checked_add(header.steps_bytes);
        file.seek(SeekFrom::Start(end.ok_or_else(|| damage("it is cut off"))?))?;
        let moves = Moves::read(&mut BufReader::new(Decoder::new(&mut file)?))?;
        file.seek(SeekFrom::Start(start))?;
        let decoder = Decoder::with_buffer(BufReader::new(file.take(header.steps_bytes)))?;
        let steps = BufReader::with_capacity(128 << 10, decoder);
        Ok((Self { steps }, moves))
    }

    pub(super) fn next(&mut self) -> io::Result<Step> {
        match number::read_byte(&mut self.steps)? {
            END => Ok(Step::End),
            LITERAL => number::read(&mut self.steps).map(Step::Literal),
            FILE => read_path(&mut self.steps).map(Step::File),
            RUN => Ok(Step::Run(Extent {
                offset: number::read(&mut self.steps)?,
                length: number::read(&mut self.steps)?,
            })),
            _ => Err(damage("it has an unknown step")),
        }
    }

    /// A piece of the literal, of which `left` bytes are to come; never empty.
    pub(super) fn literal(&mut self, left: u64) -> io::Result<&[u8]> {
        let bytes = self.steps.fill_buf()?;
        if bytes.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let most = usize::try_from(left).unwrap_or(usize::MAX);
        Ok(&bytes[..bytes.len().min(most)])
    }

    /// Marks bytes of the literal as used.
    pub(super) fn consume(&mut self, bytes: usize) {
        self.steps.consume(bytes);
    }
}

/// What lies in the attic, by the path it had.
#[derive(Debug, Default)]
pub(super) struct Moves(HashMap<Vec<u8>, Vec<Numbered>>);

/// A move's place in the list, which is its name in the attic, and the files it is about.
#[derive(Clone, Copy, Debug)]
struct Numbered {
    number: usize,
    files: u64,
}

impl Moves {
    fn read(source: &mut impl BufRead) -> io::Result<Self> {
        let mut moves = Self::default();
        for number in 0.. {
            if source.fill_buf()?.is_empty() {
                break;
            }
            let files = number::read(source)?;
            let path = read_path(source)?;
            moves.add(number, Move { files, path });
        }
        Ok(moves)
    }

    fn add(&mut self, number: usize, moved: Move) {
        let Move { files, path } = moved;
        let of_path = self.0.entry(path).or_default();
        of_path.push(Numbered { number, files });
    }

    /// Where in the attic the content of the file is that was named as the `file`-th, if it
    /// is there.
    pub(super) fn find(&self, path: &[u8], file: u64) -> Option<Vec<u8>> {
        let mut first: Option<(usize, &[u8])> = None;
        let mut above = path;
        while !self.0.is_empty() && !above.is_empty() {
            if let Some(of_path) = self.0.get(above) {
                // they are in the order of time
                let later = of_path.partition_point(|moved| moved.files <= file);
                if let Some(moved) = of_path.get(later)
                    && first.is_none_or(|(number, _)| moved.number < number)
                {
                    first = Some((moved.number, &path[above.len()..]));
                }
            }
            above = split(above).0;
        }
        let (number, below) = first?;
        Some([number.to_string().as_bytes(), below].concat())
    }
}

fn read_path(source: &mut impl Read) -> io::Result<Vec<u8>> {
    let length = number::read(source)?;
    if length > PATH_BYTES {
        return Err(damage("a path is too long"));
    }
    let mut path = Vec::new();
    if source.take(length).read_to_end(&mut path)? as u64 == length {
        Ok(path)
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

fn damage(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_where_the_first_move_after_it_put_it() {
        let mut moves = Moves::default();
        for (number, (files, path)) in [(1, "d/f"), (3, "d"), (3, "x"), (4, "d/f")]
            .iter()
            .enumerate()
        {
            let path = path.as_bytes().to_vec();
            moves.add(
                number,
                Move {
                    files: *files,
                    path,
                },
            );
        }
        let cases = [
            ("d/f", 0, Some("0")),
            ("d/f", 1, Some("1/f")),
            ("d/g/h", 2, Some("1/g/h")),
            ("d/f", 3, Some("3")),
            ("d/f", 4, None),
            ("dd", 0, None),
            ("x", 2, Some("2")),
        ];
        for (path, file, want) in cases {
            let found = moves.find(path.as_bytes(), file);
            assert_eq!(found.as_deref(), want.map(str::as_bytes), "{path} {file}");
        }
    }
}
