//! Tar archives byte by byte, so that tests can write what no tool would.

/// One member; every field may be a lie.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    name: Vec<u8>,
    link: Vec<u8>,
    typeflag: u8,
    mode: u32,
    uid: u64,
    gid: u64,
    mtime: u64,
    device: (u32, u32),
    data: Vec<u8>,
    size: Option<u64>,
    pax: Vec<u8>,
    patches: Vec<(usize, Vec<u8>)>,
}

impl Member {
    pub(crate) fn new(typeflag: u8, name: &str) -> Self {
        Self {
            name: name.as_bytes().to_vec(),
            link: Vec::new(),
            typeflag,
            mode: if typeflag == b'5' { 0o755 } else { 0o644 },
            uid: 0,
            gid: 0,
            mtime: 1_600_000_000,
            device: (0, 0),
            data: Vec::new(),
            size: None,
            pax: Vec::new(),
            patches: Vec::new(),
        }
    }

    pub(crate) fn file(name: &str, data: impl AsRef<[u8]>) -> Self {
        Self {
            data: data.as_ref().to_vec(),
            ..Self::new(b'0', name)
        }
    }

    pub(crate) fn directory(name: &str) -> Self {
        Self::new(b'5', name)
    }

    pub(crate) fn symlink(name: &str, target: &str) -> Self {
        Self {
            link: target.as_bytes().to_vec(),
            mode: 0o777,
            ..Self::new(b'2', name)
        }
    }

    pub(crate) fn hard_link(name: &str, target: &str) -> Self {
        Self {
            link: target.as_bytes().to_vec(),
            ..Self::new(b'1', name)
        }
    }

    pub(crate) fn char_device(name: &str, major: u32, minor: u32) -> Self {
        Self {
            device: (major, minor),
            ..Self::new(b'3', name)
        }
    }

    pub(crate) fn mode(self, mode: u32) -> Self {
        Self { mode, ..self }
    }

    pub(crate) fn owner(self, uid: u64, gid: u64) -> Self {
        Self { uid, gid, ..self }
    }

    pub(crate) fn mtime(self, mtime: u64) -> Self {
        Self { mtime, ..self }
    }

    /// What the header says instead of the data's real length.
    pub(crate) fn size(self, size: u64) -> Self {
        Self {
            size: Some(size),
            ..self
        }
    }

    /// One more record in the pax header before this member.
    pub(crate) fn pax(mut self, key: &str, value: impl AsRef<[u8]>) -> Self {
        self.pax.extend(pax_record(key, value.as_ref()));
        self
    }

    pub(crate) fn xattr(self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.pax(&format!("SCHILY.xattr.{name}"), value)
    }

    /// Overwrites bytes of the header before its checksum is made.
    pub(crate) fn patch(mut self, offset: usize, bytes: &[u8]) -> Self {
        self.patches.push((offset, bytes.to_vec()));
        self
    }

    /// The member as it is in an archive.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        if !self.pax.is_empty() {
            let header = Self {
                data: self.pax.clone(),
                ..Self::new(b'x', "PaxHeaders/x")
            };
            bytes.extend(header.bytes());
        }
        for (typeflag, name) in [(b'L', &self.name), (b'K', &self.link)] {
            if name.len() > 100 {
                let data = [name.as_slice(), b"\0"].concat();
                let header = Self {
                    data,
                    ..Self::new(typeflag, "././@LongLink")
                };
                bytes.extend(header.bytes());
            }
        }
        bytes.extend(self.header());
        bytes.extend(&self.data);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
        bytes
    }

    fn header(&self) -> [u8; 512] {
        let mut header = [0u8; 512];
        let mut put = |offset: usize, bytes: &[u8]| {
            header[offset..offset + bytes.len()].copy_from_slice(bytes);
        };
        put(0, &self.name[..self.name.len().min(100)]);
        put(100, format!("{:07o}\0", self.mode).as_bytes());
        put(108, &number(self.uid, 8));
        put(116, &number(self.gid, 8));
        put(
            124,
            &number(self.size.unwrap_or(self.data.len() as u64), 12),
        );
        put(136, &number(self.mtime, 12));
        put(156, &[self.typeflag]);
        put(157, &self.link[..self.link.len().min(100)]);
        put(257, b"ustar\x0000");
        put(329, format!("{:07o}\0", self.device.0).as_bytes());
        put(337, format!("{:07o}\0", self.device.1).as_bytes());
        for (offset, bytes) in &self.patches {
            put(*offset, bytes);
        }
        put(148, b"        ");
        let sum: u32 = header.iter().map(|b| u32::from(*b)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        header
    }
}

/// A number as octal text, or base-256 where that is too short.
fn number(value: u64, width: usize) -> Vec<u8> {
    let octal = format!("{value:0digits$o}\0", digits = width - 1);
    if octal.len() == width {
        return octal.into_bytes();
    }
    let mut bytes = vec![0u8; width];
    let value = value.to_be_bytes();
    let skip = value.len().saturating_sub(width);
    bytes[width - (value.len() - skip)..].copy_from_slice(&value[skip..]);
    bytes[0] |= 0x80;
    bytes
}

/// `"LENGTH KEY=VALUE\n"`, where the length counts its own digits.
pub(crate) fn pax_record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = [b" ", key.as_bytes(), b"=", value, b"\n"].concat();
    let mut length = rest.len();
    while length != rest.len() + length.to_string().len() {
        length = rest.len() + length.to_string().len();
    }
    [length.to_string().as_bytes(), &rest].concat()
}

/// An archive of `members` with its end marker.
pub(crate) fn archive(members: &[Member]) -> Vec<u8> {
    let mut bytes: Vec<u8> = members.iter().flat_map(Member::bytes).collect();
    bytes.extend([0u8; 1024]);
    bytes
}

/// The bytes as one gzip member.
pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// The bytes as one zstd frame.
pub(crate) fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}
