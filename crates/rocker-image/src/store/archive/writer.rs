//! Writing tar archives: POSIX pax, so that nothing an entry says is lost.

use std::io::{self, Write};

use super::entry::{Entry, EntryKind, Mtime};
use super::header::{BLOCK, BLOCK_BYTES};
use super::sparse::Extent;

/// Largest numbers of the header's fields of 8 and 12 bytes, as octal text.
const SMALL_MAX: u64 = 0o777_7777;
const LARGE_MAX: u64 = 0o777_7777_7777;

/// Writes entries one by one, and each one's data before the next; of a sparse file that is
/// what lies in its runs.
#[derive(Debug)]
pub(crate) struct ArchiveWriter<W> {
    output: W,
    /// Data of the last entry that is still to come, and the padding after it.
    left: u64,
    padding: u64,
}

impl<W: Write> ArchiveWriter<W> {
    pub(crate) fn new(output: W) -> Self {
        Self {
            output,
            left: 0,
            padding: 0,
        }
    }

    /// Begins an entry. A file's `size` bytes follow as [`data`](Self::data).
    ///
    /// # Errors
    ///
    /// What the output says; [`io::ErrorKind::InvalidInput`] if the entry before is not
    /// complete.
    pub(crate) fn entry(&mut self, entry: &Entry) -> io::Result<()> {
        self.end_entry()?;
        let mut header = Header::of(entry);
        let pax = std::mem::take(&mut header.pax);
        if !pax.is_empty() {
            let name = [b"PaxHeaders/", leaf(&entry.path)].concat();
            self.block(&Header::extension(&name, pax.len()).finish())?;
            self.output.write_all(&pax)?;
            self.pad(pax.len() as u64)?;
        }
        self.block(&header.finish())?;
        match &entry.kind {
            EntryKind::File { size } => self.expect(*size),
            EntryKind::SparseFile { size, extents } => {
                let map = sparse_map(*size, extents);
                self.output.write_all(&map)?;
                self.expect(extents.iter().map(|extent| extent.length).sum());
            }
            EntryKind::Directory
            | EntryKind::Symlink { .. }
            | EntryKind::HardLink { .. }
            | EntryKind::CharDevice { .. }
            | EntryKind::BlockDevice { .. }
            | EntryKind::Fifo => {}
        }
        Ok(())
    }

    /// Takes the current file's data, and no more than that.
    pub(crate) fn data(&mut self) -> Data<'_, W> {
        Data(self)
    }

    /// Ends the archive.
    ///
    /// # Errors
    ///
    /// As [`entry`](Self::entry).
    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.end_entry()?;
        self.output.write_all(&[0; 2 * BLOCK_BYTES])?;
        self.output.flush()?;
        Ok(self.output)
    }

    fn expect(&mut self, size: u64) {
        self.left = size;
        self.padding = padding(size);
    }

    fn end_entry(&mut self) -> io::Result<()> {
        if self.left > 0 {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a file became shorter while it was archived",
            ));
        }
        let padding = std::mem::take(&mut self.padding);
        self.zeros(padding)
    }

    fn block(&mut self, block: &[u8; BLOCK_BYTES]) -> io::Result<()> {
        self.output.write_all(block)
    }

    fn pad(&mut self, length: u64) -> io::Result<()> {
        self.zeros(padding(length))
    }

    fn zeros(&mut self, count: u64) -> io::Result<()> {
        let count = usize::try_from(count).unwrap_or(0);
        self.output.write_all(&[0; BLOCK_BYTES][..count])
    }
}

/// Where the data of a file goes.
#[derive(Debug)]
pub(crate) struct Data<'a, W>(&'a mut ArchiveWriter<W>);

impl<W: Write> Write for Data<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let most = usize::try_from(self.0.left).unwrap_or(usize::MAX);
        let written = self.0.output.write(&bytes[..bytes.len().min(most)])?;
        self.0.left -= written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.output.flush()
    }
}

/// A header without its checksum, and what did not fit into it.
struct Header {
    block: [u8; BLOCK_BYTES],
    pax: Vec<u8>,
}

/// Where a number is kept in the header, and with how many bytes.
type Field = (usize, usize);

const MODE: Field = (100, 8);
const UID: Field = (108, 8);
const GID: Field = (116, 8);
const SIZE: Field = (124, 12);
const MTIME: Field = (136, 12);
const MAJOR: Field = (329, 8);
const MINOR: Field = (337, 8);

impl Header {
    fn of(entry: &Entry) -> Self {
        let mut header = Self::empty();
        header.text(0, "path", &entry.path);
        header.octal(MODE, u64::from(entry.mode));
        header.number(UID, "uid", u64::from(entry.uid));
        header.number(GID, "gid", u64::from(entry.gid));
        header.mtime(entry.mtime);
        for (name, value) in &entry.xattrs {
            record(
                &mut header.pax,
                &[b"SCHILY.xattr.", name.as_slice()].concat(),
                value,
            );
        }
        let (typeflag, size) = match &entry.kind {
            EntryKind::File { size } => (b'0', *size),
            EntryKind::SparseFile { size, extents } => (b'0', header.sparse(entry, *size, extents)),
            EntryKind::Directory => (b'5', 0),
            EntryKind::HardLink { target } => (header.link(b'1', target), 0),
            EntryKind::Symlink { target } => (header.link(b'2', target), 0),
            EntryKind::CharDevice { major, minor } => (header.device(b'3', *major, *minor), 0),
            EntryKind::BlockDevice { major, minor } => (header.device(b'4', *major, *minor), 0),
            EntryKind::Fifo => (b'6', 0),
        };
        header.number(SIZE, "size", size);
        header.put(156, &[typeflag]);
        header
    }

    /// The header before an entry that has the records which do not fit.
    fn extension(name: &[u8], length: usize) -> Self {
        let mut header = Self::empty();
        header.put(0, &name[..name.len().min(100)]);
        header.octal(MODE, 0o644);
        header.octal(UID, 0);
        header.octal(GID, 0);
        header.octal(SIZE, length as u64);
        header.octal(MTIME, 0);
        header.put(156, b"x");
        header
    }

    fn empty() -> Self {
        let mut header = Self {
            block: [0; BLOCK_BYTES],
            pax: Vec::new(),
        };
        header.put(257, b"ustar\x0000");
        header
    }

    fn put(&mut self, offset: usize, bytes: &[u8]) {
        self.block[offset..offset + bytes.len()].copy_from_slice(bytes);
    }

    fn octal(&mut self, (offset, width): Field, value: u64) {
        let text = format!("{value:0digits$o}\0", digits = width - 1);
        self.put(offset, text.as_bytes());
    }

    fn number(&mut self, field: Field, key: &str, value: u64) {
        let most = if field.1 == 8 { SMALL_MAX } else { LARGE_MAX };
        if value > most {
            record(&mut self.pax, key.as_bytes(), value.to_string().as_bytes());
        }
        self.octal(field, if value > most { 0 } else { value });
    }

    fn text(&mut self, offset: usize, key: &str, text: &[u8]) {
        if text.len() > 100 {
            record(&mut self.pax, key.as_bytes(), text);
        }
        self.put(offset, &text[..text.len().min(100)]);
    }

    fn link(&mut self, typeflag: u8, target: &[u8]) -> u8 {
        self.text(157, "linkpath", target);
        typeflag
    }

    /// GNU's format 1.0, which Go and libarchive read as well: the map stands before the
    /// data, and who does not know it sees a file of another name. Returns the stored size.
    fn sparse(&mut self, entry: &Entry, size: u64, extents: &[Extent]) -> u64 {
        let real = size.to_string();
        let records: [(&[u8], &[u8]); 4] = [
            (b"GNU.sparse.major", b"1"),
            (b"GNU.sparse.minor", b"0"),
            (b"GNU.sparse.name", &entry.path),
            (b"GNU.sparse.realsize", real.as_bytes()),
        ];
        for (key, value) in records {
            record(&mut self.pax, key, value);
        }
        let name = [b"GNUSparseFile.0/", leaf(&entry.path)].concat();
        self.block[..100].fill(0);
        self.put(0, &name[..name.len().min(100)]);
        let stored: u64 = extents.iter().map(|extent| extent.length).sum();
        stored + sparse_map(size, extents).len() as u64
    }

    fn device(&mut self, typeflag: u8, major: u64, minor: u64) -> u8 {
        // Linux' own numbers have 12 and 20 bits
        self.octal(MAJOR, major & SMALL_MAX);
        self.octal(MINOR, minor & SMALL_MAX);
        typeflag
    }

    fn mtime(&mut self, mtime: Mtime) {
        let Mtime {
            seconds,
            nanoseconds,
        } = mtime;
        let plain = u64::try_from(seconds)
            .ok()
            .filter(|seconds| *seconds <= LARGE_MAX);
        self.octal(MTIME, plain.unwrap_or(0));
        if plain.is_some() && nanoseconds == 0 {
            return;
        }
        // nanoseconds count forward, also before 1970
        let text = match (seconds, nanoseconds) {
            (seconds, 0) => seconds.to_string(),
            (..0, nanoseconds) => {
                let seconds = (seconds + 1).unsigned_abs();
                format!("-{seconds}.{:09}", 1_000_000_000 - nanoseconds)
            }
            (seconds, nanoseconds) => format!("{seconds}.{nanoseconds:09}"),
        };
        record(&mut self.pax, b"mtime", text.as_bytes());
    }

    fn finish(mut self) -> [u8; BLOCK_BYTES] {
        self.put(148, b"        ");
        let sum: u32 = self.block.iter().map(|byte| u32::from(*byte)).sum();
        self.put(148, format!("{sum:06o}\0 ").as_bytes());
        self.block
    }
}

/// The number of runs, then each one's place and length, padded to a block. Where a hole is the
/// last, an empty run marks the end: GNU tar makes a file no longer than its runs.
fn sparse_map(size: u64, extents: &[Extent]) -> Vec<u8> {
    let end = Extent {
        offset: size,
        length: 0,
    };
    let last = extents.last().map_or(0, |last| last.offset + last.length);
    let runs = || extents.iter().chain((last < size).then_some(&end));
    let mut map = format!("{}\n", runs().count());
    for Extent { offset, length } in runs() {
        map.push_str(&format!("{offset}\n{length}\n"));
    }
    let mut map = map.into_bytes();
    map.resize(map.len().next_multiple_of(BLOCK_BYTES), 0);
    map
}

/// Appends `"LENGTH KEY=VALUE\n"`, where the length counts its own digits.
fn record(pax: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + " =\n".len();
    let mut length = rest + 1;
    while rest + length.to_string().len() != length {
        length = rest + length.to_string().len();
    }
    pax.extend(length.to_string().as_bytes());
    pax.extend([b" ", key, b"=", value, b"\n"].concat());
}

fn padding(length: u64) -> u64 {
    (BLOCK - length % BLOCK) % BLOCK
}

fn leaf(path: &[u8]) -> &[u8] {
    path.split(|byte| *byte == b'/')
        .rfind(|component| !component.is_empty())
        .unwrap_or(b".")
}

#[cfg(test)]
mod tests;
