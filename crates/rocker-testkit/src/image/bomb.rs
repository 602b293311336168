//! Layers that are small to fetch and large to have. None of them is ever in memory as a whole.

use std::fmt::Write as _;
use std::io::{self, Read, Write};

use flate2::write::GzEncoder;
use sha2::{Digest as _, Sha256};
use tar::{EntryType, Header};

use super::{BuiltLayer, Compression, Layer};

/// A file of so many zero bytes, packed with gzip: a thousandth of it.
#[must_use]
pub fn zeros(bytes: u64) -> BuiltLayer {
    let header = header("zeros", EntryType::Regular, bytes);
    packed(Compression::Gzip, || {
        let padding = 1024 + (512 - bytes % 512) % 512;
        io::Cursor::new(header.clone()).chain(io::repeat(0).take(bytes + padding))
    })
}

/// A file of so many bytes that are all one hole, in GNU tar's format 1.0.
#[must_use]
pub fn hole(bytes: u64) -> BuiltLayer {
    let map = format!("1\n{bytes}\n0\n");
    let mut archive = tar::Builder::new(Vec::new());
    let size = bytes.to_string();
    let records: [(&str, &[u8]); 4] = [
        ("GNU.sparse.major", b"1"),
        ("GNU.sparse.minor", b"0"),
        ("GNU.sparse.name", b"hole"),
        ("GNU.sparse.realsize", size.as_bytes()),
    ];
    archive
        .append_pax_extensions(records)
        .expect("writing to memory");
    let mut content = map.into_bytes();
    content.resize(512, 0);
    let mut header = Header::new_ustar();
    header
        .set_path("GNUSparseFile.0/hole")
        .expect("a short name");
    header.set_mode(0o644);
    header.set_size(512);
    header.set_cksum();
    archive
        .append(&header, content.as_slice())
        .expect("writing to memory");
    Layer::from_tar(archive.into_inner().expect("writing to memory")).build()
}

/// The same empty directory so many times, packed with zstd.
#[must_use]
pub fn entries(count: u64) -> BuiltLayer {
    let header = header("d/", EntryType::Directory, 0);
    packed(Compression::Zstd, || {
        Repeated {
            pattern: header.clone(),
            at: 0,
        }
        .take(count * 512)
        .chain(io::repeat(0).take(1024))
    })
}

/// A zstd frame that wants a window of 2 GiB, and is empty.
#[must_use]
pub fn zstd_window() -> BuiltLayer {
    // No single segment, exponent 21 and so 2^31 bytes; an empty last raw block. RFC 8878, 3.1.1.
    let frame = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 21 << 3, 1, 0, 0];
    BuiltLayer {
        packed: frame.to_vec().into(),
        diff_id: digest(io::empty()),
        compression: Compression::Zstd,
        media_type: None,
    }
}

fn header(name: &str, kind: EntryType, size: u64) -> Vec<u8> {
    let mut header = Header::new_ustar();
    header.set_path(name).expect("a short name");
    header.set_entry_type(kind);
    header.set_mode(0o755);
    header.set_size(size);
    header.set_cksum();
    header.as_bytes().to_vec()
}

fn packed<R: Read>(compression: Compression, content: impl Fn() -> R) -> BuiltLayer {
    let packed = match compression {
        Compression::Zstd => {
            let mut encoder =
                zstd::stream::write::Encoder::new(Vec::new(), 1).expect("zstd in memory");
            io::copy(&mut content(), &mut encoder).expect("zstd in memory");
            encoder.finish().expect("zstd in memory")
        }
        Compression::Plain | Compression::Gzip | Compression::GzipMembers => {
            let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::default());
            io::copy(&mut content(), &mut encoder).expect("gzip in memory");
            encoder.finish().expect("gzip in memory")
        }
    };
    BuiltLayer {
        packed: packed.into(),
        diff_id: digest(content()),
        compression,
        media_type: None,
    }
}

fn digest(mut content: impl Read) -> String {
    let mut hasher = Hasher(Sha256::new());
    io::copy(&mut content, &mut hasher).expect("hashing in memory");
    let mut text = String::from("sha256:");
    for byte in hasher.0.finalize() {
        write!(text, "{byte:02x}").expect("writing to a string");
    }
    text
}

struct Hasher(Sha256);

impl Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One pattern again and again.
struct Repeated {
    pattern: Vec<u8>,
    at: usize,
}

impl Read for Repeated {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut rest = &mut *buffer;
        while !rest.is_empty() {
            let piece = &self.pattern[self.at..];
            let length = piece.len().min(rest.len());
            rest[..length].copy_from_slice(&piece[..length]);
            self.at = (self.at + length) % self.pattern.len();
            rest = &mut rest[length..];
        }
        Ok(buffer.len())
    }
}
