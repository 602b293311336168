//! Writing a recipe while the stream passes.

use std::io::{self, Seek, SeekFrom, Write};

use fs_err::File;
use zstd::stream::write::Encoder;

use super::{END, FILE, HEADER_BYTES, LITERAL, MAGIC, Move, RUN, VERSION, number};
use crate::store::archive::Extent;

/// Headers of one writer are much alike, so that the fastest levels make little of them.
const LEVEL: i32 = 1;

/// What is gathered before the encoder gets it.
const STEPS_BYTES: usize = 256 << 10;

/// Longer literals are several steps.
const LITERAL_BYTES: usize = 64 << 10;

/// Takes note of a stream, byte by byte and in order, and writes it down in bounded memory.
pub(crate) struct RecipeWriter {
    encoder: Encoder<'static, File>,
    /// Encoded steps that the encoder has not got yet.
    steps: Vec<u8>,
    /// Bytes that belong to no file, of which more may come.
    literal: Vec<u8>,
    /// A run of which more may come.
    run: Extent,
    stream_bytes: u64,
}

const NO_RUN: Extent = Extent {
    offset: 0,
    length: 0,
};

impl RecipeWriter {
    /// Begins in `file`, which is empty.
    pub(in crate::store) fn new(mut file: File) -> io::Result<Self> {
        // the header is written last
        file.write_all(&[0; HEADER_BYTES])?;
        Ok(Self {
            encoder: encoder(file)?,
            steps: Vec::with_capacity(STEPS_BYTES + LITERAL_BYTES),
            literal: Vec::with_capacity(LITERAL_BYTES),
            run: NO_RUN,
            stream_bytes: 0,
        })
    }

    /// These bytes of the stream are no file's content.
    pub(crate) fn literal(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.end_run();
        self.stream_bytes += bytes.len() as u64;
        for piece in bytes.chunks(LITERAL_BYTES) {
            if self.literal.len() + piece.len() > LITERAL_BYTES {
                self.end_literal();
            }
            self.literal.extend_from_slice(piece);
            self.flush_steps(STEPS_BYTES)?;
        }
        Ok(())
    }

    /// The runs that follow are content of the file at `path`, a name without links.
    pub(crate) fn file(&mut self, path: &[u8]) -> io::Result<()> {
        self.end_run();
        self.end_literal();
        self.steps.push(FILE);
        number::push(&mut self.steps, path.len() as u64);
        self.steps.extend_from_slice(path);
        self.flush_steps(STEPS_BYTES)
    }

    /// The next `run.length` bytes of the stream are in the file.
    pub(crate) fn run(&mut self, run: Extent) {
        self.end_literal();
        if self.run.offset + self.run.length != run.offset {
            self.end_run();
        }
        if self.run.length == 0 {
            self.run.offset = run.offset;
        }
        self.run.length += run.length;
        self.stream_bytes += run.length;
    }

    /// Completes the file, which is not flushed to disk.
    pub(super) fn finish(mut self, moves: &[Move]) -> io::Result<()> {
        self.end_run();
        self.end_literal();
        self.steps.push(END);
        self.flush_steps(0)?;
        let mut file = self.encoder.finish()?;
        let steps_end = file.stream_position()?;
        let mut encoder = encoder(file)?;
        for Move { files, path } in moves {
            number::push(&mut self.steps, *files);
            number::push(&mut self.steps, path.len() as u64);
            self.steps.extend_from_slice(path);
            encoder.write_all(&self.steps)?;
            self.steps.clear();
        }
        let mut file = encoder.finish()?;
        file.seek(SeekFrom::Start(0))?;
        let mut header = MAGIC.to_vec();
        header.extend(VERSION.to_le_bytes());
        header.extend(self.stream_bytes.to_le_bytes());
        header.extend((steps_end - HEADER_BYTES as u64).to_le_bytes());
        file.write_all(&header)
    }

    fn end_run(&mut self) {
        let Extent { offset, length } = std::mem::replace(&mut self.run, NO_RUN);
        if length > 0 {
            self.steps.push(RUN);
            number::push(&mut self.steps, offset);
            number::push(&mut self.steps, length);
        }
    }

    fn end_literal(&mut self) {
        if !self.literal.is_empty() {
            self.steps.push(LITERAL);
            number::push(&mut self.steps, self.literal.len() as u64);
            self.steps.append(&mut self.literal);
        }
    }

    /// Hands the steps on if there are more than `most` bytes of them.
    fn flush_steps(&mut self, most: usize) -> io::Result<()> {
        if self.steps.len() > most {
            self.encoder.write_all(&self.steps)?;
            self.steps.clear();
        }
        Ok(())
    }
}

fn encoder(file: File) -> io::Result<Encoder<'static, File>> {
    let mut encoder = Encoder::new(file, LEVEL)?;
    encoder.include_checksum(true)?;
    Ok(encoder)
}
