//! What an entry ends with: the stream and the time.

use std::io::Write as _;

use jiff::Timestamp;

use super::Stream;

/// What follows the text of an entry: stream and time. Made once for all lines of a batch.
#[derive(Clone, Copy)]
pub(super) struct EntryEnd {
    bytes: [u8; Self::MAX],
    len: usize,
}

impl EntryEnd {
    const MAX: usize = 80;

    pub(super) fn now(stream: Stream) -> Self {
        Self::at(stream, Timestamp::now())
    }

    fn at(stream: Stream, time: Timestamp) -> Self {
        let mut end = Self {
            bytes: [0; Self::MAX],
            len: 0,
        };
        let stream = match stream {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        };
        let mut free = &mut end.bytes[..];
        // Go's RFC3339Nano, like jiff's Display: a fraction without trailing zeros, if any.
        let fits = writeln!(free, r#"","stream":"{stream}","time":"{time}"}}"#).is_ok();
        debug_assert!(fits, "a time has at most 35 characters");
        end.len = Self::MAX - free.len();
        end
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl std::fmt::Debug for EntryEnd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&String::from_utf8_lossy(self.as_bytes()))
    }
}
