//! zstd frames, one after the other. The zstd crate's own reader does not say what memory it takes.

use std::io::{self, BufRead};

use zstd::zstd_safe::{DCtx, DParameter, ErrorCode, InBuffer, OutBuffer, get_error_name};

/// Decodes what `source` has.
pub(crate) struct ZstdReader<R> {
    context: DCtx<'static>,
    source: R,
    is_inside_frame: bool,
}

impl<R: BufRead> ZstdReader<R> {
    /// Frames with larger windows than 2 to the power of `window_log` are refused.
    pub(super) fn new(source: R, window_log: u32) -> io::Result<Self> {
        let mut context = DCtx::try_create().ok_or(io::ErrorKind::OutOfMemory)?;
        context
            .set_parameter(DParameter::WindowLogMax(window_log))
            .map_err(named)?;
        Ok(Self {
            context,
            source,
            is_inside_frame: false,
        })
    }

    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let input = self.source.fill_buf()?;
            let is_end = input.is_empty();
            if is_end && !self.is_inside_frame {
                return Ok(0);
            }
            let (mut input, mut output) =
                (InBuffer::around(input), OutBuffer::around(&mut *buffer));
            let hint = self.context.decompress_stream(&mut output, &mut input);
            let (read, written) = (input.pos(), output.pos());
            self.source.consume(read);
            self.is_inside_frame = hint.map_err(named)? > 0;
            if written > 0 {
                return Ok(written);
            }
            if is_end && self.is_inside_frame {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// What decoding takes at present: above all the window of the frame.
    pub(super) fn memory_bytes(&self) -> u64 {
        self.context.sizeof() as u64
    }

    pub(super) fn get_ref(&self) -> &R {
        &self.source
    }

    pub(super) fn into_inner(self) -> R {
        self.source
    }
}

fn named(code: ErrorCode) -> io::Error {
    io::Error::other(get_error_name(code))
}
