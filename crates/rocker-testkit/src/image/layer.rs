use std::io::Write as _;
use std::process::Command;

use flate2::write::GzEncoder;
use hyper::body::Bytes;
use tar::{EntryType, Header};

use super::sha256;

/// How a layer's tar stream is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Compression {
    /// The tar stream as it is.
    Plain,
    /// One gzip member.
    #[default]
    Gzip,
    /// Several gzip members one after another, as parallel compressors write them.
    GzipMembers,
    /// One zstd frame.
    Zstd,
}

/// What a tar entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file with its content.
    File(Vec<u8>),
    /// A directory.
    Dir,
    /// A symbolic link to any text.
    Symlink(String),
    /// A hard link to another entry's name.
    Hardlink(String),
    /// A FIFO.
    Fifo,
    /// A character device, major and minor.
    CharDevice(u32, u32),
    /// A block device, major and minor.
    BlockDevice(u32, u32),
}

/// One tar entry; the name is written as it is, `..` and leading slashes included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name in the archive.
    pub name: String,
    /// What it is.
    pub kind: EntryKind,
    /// Permission bits, including setuid, setgid and sticky.
    pub mode: u32,
    /// Owner.
    pub uid: u64,
    /// Group.
    pub gid: u64,
    /// Seconds since 1970.
    pub mtime: u64,
    /// Extended attributes, written as `SCHILY.xattr.` records.
    pub xattrs: Vec<(String, Vec<u8>)>,
}

impl Entry {
    /// An entry owned by root with the mode that is usual for its kind.
    pub fn new(name: &str, kind: EntryKind) -> Self {
        let mode = match kind {
            EntryKind::Dir => 0o755,
            EntryKind::Symlink(_) => 0o777,
            EntryKind::File(_)
            | EntryKind::Hardlink(_)
            | EntryKind::Fifo
            | EntryKind::CharDevice(..)
            | EntryKind::BlockDevice(..) => 0o644,
        };
        Self {
            name: name.to_owned(),
            kind,
            mode,
            uid: 0,
            gid: 0,
            mtime: 1_700_000_000,
            xattrs: Vec::new(),
        }
    }

    /// The same entry with these permission bits.
    #[must_use]
    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    /// The same entry with this owner and group.
    #[must_use]
    pub fn owner(mut self, uid: u64, gid: u64) -> Self {
        (self.uid, self.gid) = (uid, gid);
        self
    }

    /// The same entry with one more extended attribute.
    #[must_use]
    pub fn xattr(mut self, name: &str, value: &[u8]) -> Self {
        self.xattrs.push((name.to_owned(), value.to_vec()));
        self
    }

    fn tar_type(&self) -> EntryType {
        match self.kind {
            EntryKind::File(_) => EntryType::Regular,
            EntryKind::Dir => EntryType::Directory,
            EntryKind::Symlink(_) => EntryType::Symlink,
            EntryKind::Hardlink(_) => EntryType::Link,
            EntryKind::Fifo => EntryType::Fifo,
            EntryKind::CharDevice(..) => EntryType::Char,
            EntryKind::BlockDevice(..) => EntryType::Block,
        }
    }

    fn link_target(&self) -> Option<&str> {
        match &self.kind {
            EntryKind::Symlink(target) | EntryKind::Hardlink(target) => Some(target),
            EntryKind::File(_)
            | EntryKind::Dir
            | EntryKind::Fifo
            | EntryKind::CharDevice(..)
            | EntryKind::BlockDevice(..) => None,
        }
    }

    fn content(&self) -> &[u8] {
        if let EntryKind::File(bytes) = &self.kind {
            bytes
        } else {
            &[]
        }
    }

    /// What does not fit into the fixed header fields, as pax records.
    fn pax_records(&self) -> Vec<(String, Vec<u8>)> {
        let mut records = Vec::new();
        if self.name.len() > NAME_FIELD {
            records.push(("path".to_owned(), self.name.clone().into_bytes()));
        }
        if let Some(target) = self
            .link_target()
            .filter(|target| target.len() > NAME_FIELD)
        {
            records.push(("linkpath".to_owned(), target.as_bytes().to_vec()));
        }
        for (name, value) in &self.xattrs {
            records.push((format!("SCHILY.xattr.{name}"), value.clone()));
        }
        records
    }

    fn header(&self) -> Header {
        let mut header = Header::new_ustar();
        header.set_entry_type(self.tar_type());
        header.set_mode(self.mode);
        header.set_uid(self.uid);
        header.set_gid(self.gid);
        header.set_mtime(self.mtime);
        header.set_size(self.content().len() as u64);
        if let EntryKind::CharDevice(major, minor) | EntryKind::BlockDevice(major, minor) =
            self.kind
        {
            header
                .set_device_major(major)
                .expect("a ustar header has device numbers");
            header
                .set_device_minor(minor)
                .expect("a ustar header has device numbers");
        }
        // Not set_path(): that one refuses the names that hostile archives have.
        let fields = header.as_old_mut();
        copy_truncated(&mut fields.name, self.name.as_bytes());
        if let Some(target) = self.link_target() {
            copy_truncated(&mut fields.linkname, target.as_bytes());
        }
        header.set_cksum();
        header
    }
}

/// Bytes in the name and link name fields of a tar header.
const NAME_FIELD: usize = 100;

fn copy_truncated(field: &mut [u8], bytes: &[u8]) {
    let len = bytes.len().min(field.len());
    field[..len].copy_from_slice(&bytes[..len]);
}

/// A layer under construction: tar entries in order, and how they are packed.
#[derive(Clone, Debug, Default)]
pub struct Layer {
    entries: Vec<Entry>,
    raw_tar: Option<Bytes>,
    compression: Compression,
    media_type: Option<String>,
}

/// A finished layer: the packed bytes and the digest of the tar stream inside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuiltLayer {
    /// The packed bytes, what a registry serves.
    pub packed: Bytes,
    /// `sha256:<hex>` of the unpacked tar stream.
    pub diff_id: String,
    /// How `packed` was packed.
    pub compression: Compression,
    /// The media type to announce instead of the one that follows from `compression`.
    pub media_type: Option<String>,
}

impl Layer {
    /// A layer without entries, packed with gzip.
    pub fn new() -> Self {
        Self::default()
    }

    /// A layer whose tar stream is `bytes`, whatever they are.
    pub fn from_tar(bytes: impl Into<Bytes>) -> Self {
        Self {
            raw_tar: Some(bytes.into()),
            ..Self::default()
        }
    }

    /// `/bin/busybox` of this machine with a link for every applet, and the directories and
    /// account files that programs expect. The busybox must be a static one.
    pub fn busybox() -> Self {
        let program = fs_err::read("/bin/busybox")
            .expect("tests need /bin/busybox (apt install busybox-static)");
        let list = Command::new("/bin/busybox")
            .arg("--list")
            .output()
            .expect("busybox --list");
        let mut applets: Vec<_> = String::from_utf8_lossy(&list.stdout)
            .lines()
            .map(str::to_owned)
            .collect();
        applets.sort();

        let mut layer = Self::new();
        for dir in [
            "bin", "dev", "etc", "home", "proc", "run", "sys", "usr", "usr/bin", "var", "var/lib",
        ] {
            layer = layer.dir(dir, 0o755);
        }
        layer = layer
            .dir("root", 0o700)
            .dir("tmp", 0o1777)
            .entry(executable("bin/busybox", program));
        for applet in applets.iter().filter(|applet| applet.as_str() != "busybox") {
            layer = layer.entry(Entry::new(
                &format!("bin/{applet}"),
                EntryKind::Hardlink("bin/busybox".to_owned()),
            ));
        }
        layer
            .file("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n")
            .file("etc/group", "root:x:0:\nextra:x:2000:user\nuser:x:1000:\nnogroup:x:65534:\n")
            .entry(Entry::new("home/user", EntryKind::Dir).owner(1000, 1000))
    }

    /// Adds any entry.
    #[must_use]
    pub fn entry(mut self, entry: Entry) -> Self {
        self.entries.push(entry);
        self
    }

    /// Adds a regular file with mode 0644.
    #[must_use]
    pub fn file(self, name: &str, content: impl Into<Vec<u8>>) -> Self {
        self.entry(Entry::new(name, EntryKind::File(content.into())))
    }

    /// Adds a regular file with mode 0755.
    #[must_use]
    pub fn program(self, name: &str, content: impl Into<Vec<u8>>) -> Self {
        self.entry(executable(name, content))
    }

    /// Adds a directory.
    #[must_use]
    pub fn dir(self, name: &str, mode: u32) -> Self {
        self.entry(Entry::new(name, EntryKind::Dir).mode(mode))
    }

    /// Adds a symbolic link.
    #[must_use]
    pub fn symlink(self, name: &str, target: &str) -> Self {
        self.entry(Entry::new(name, EntryKind::Symlink(target.to_owned())))
    }

    /// Adds a hard link.
    #[must_use]
    pub fn hardlink(self, name: &str, target: &str) -> Self {
        self.entry(Entry::new(name, EntryKind::Hardlink(target.to_owned())))
    }

    /// Adds the marker that removes `path` of the layers below.
    #[must_use]
    pub fn whiteout(self, path: &str) -> Self {
        let (parent, name) = path
            .rsplit_once('/')
            .map_or(("", path), |(parent, name)| (parent, name));
        let separator = if parent.is_empty() { "" } else { "/" };
        self.file(&format!("{parent}{separator}.wh.{name}"), "")
    }

    /// Adds the marker that hides everything the layers below have in `dir`.
    #[must_use]
    pub fn opaque(self, dir: &str) -> Self {
        self.file(&format!("{dir}/.wh..wh..opq"), "")
    }

    /// Packs the layer this way.
    #[must_use]
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    /// Announces this media type instead of the one that follows from format and compression.
    #[must_use]
    pub fn media_type(mut self, media_type: &str) -> Self {
        self.media_type = Some(media_type.to_owned());
        self
    }

    /// The uncompressed tar stream.
    pub fn tar(&self) -> Bytes {
        if let Some(raw) = &self.raw_tar {
            return raw.clone();
        }
        let mut archive = tar::Builder::new(Vec::new());
        for entry in &self.entries {
            let records = entry.pax_records();
            if !records.is_empty() {
                archive
                    .append_pax_extensions(
                        records
                            .iter()
                            .map(|(key, value)| (key.as_str(), value.as_slice())),
                    )
                    .expect("writing to memory");
            }
            archive
                .append(&entry.header(), entry.content())
                .expect("writing to memory");
        }
        archive.into_inner().expect("writing to memory").into()
    }

    /// Writes the tar stream and packs it.
    pub fn build(&self) -> BuiltLayer {
        let tar = self.tar();
        let packed = match self.compression {
            Compression::Plain => tar.clone(),
            Compression::Gzip => gzip(&tar).into(),
            Compression::GzipMembers => {
                let third = tar.len().div_ceil(3).max(1);
                tar.chunks(third).flat_map(gzip).collect::<Vec<_>>().into()
            }
            Compression::Zstd => zstd::stream::encode_all(&tar[..], 3)
                .expect("zstd in memory")
                .into(),
        };
        BuiltLayer {
            packed,
            diff_id: sha256(&tar),
            compression: self.compression,
            media_type: self.media_type.clone(),
        }
    }
}

fn executable(name: &str, content: impl Into<Vec<u8>>) -> Entry {
    Entry::new(name, EntryKind::File(content.into())).mode(0o755)
}

/// One gzip member; flate2 leaves time and host out of the header, so equal input gives equal bytes.
fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("gzip in memory");
    encoder.finish().expect("gzip in memory")
}
