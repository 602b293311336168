//! What is on disk, as text that can be compared.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, lgetxattr, llistxattr, readlinkat};

/// Every file below `root` by its path: type, mode, owner, times, content, links, xattrs.
pub(crate) fn listing(root: &Path) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    let mut inodes = BTreeMap::new();
    walk(root, root, &mut files, &mut inodes);
    files
}

/// Only the paths and their types.
pub(crate) fn names(root: &Path) -> Vec<String> {
    let files = listing(root);
    files
        .iter()
        .map(|(path, line)| format!("{} {path}", &line[..1]))
        .collect()
}

fn walk(
    root: &Path,
    path: &Path,
    files: &mut BTreeMap<String, String>,
    inodes: &mut BTreeMap<u64, String>,
) {
    let name = path.strip_prefix(root).unwrap().as_os_str().as_bytes();
    let name = if name.is_empty() {
        ".".into()
    } else {
        name.escape_ascii().to_string()
    };
    files.insert(name.clone(), line(path, &name, inodes));
    if path.is_dir() && !path.is_symlink() {
        let mut children: Vec<_> = fs_err::read_dir(path)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        children.sort();
        children
            .iter()
            .for_each(|child| walk(root, child, files, inodes));
    }
}

fn line(path: &Path, name: &str, inodes: &mut BTreeMap<u64, String>) -> String {
    let meta = fs_err::symlink_metadata(path).unwrap();
    let kind = FileType::from_raw_mode(meta.mode());
    let (letter, content) = match kind {
        FileType::RegularFile => ("f", content(path, &meta)),
        FileType::Directory => ("d", String::new()),
        FileType::Symlink => (
            "l",
            readlinkat(CWD, path, Vec::new())
                .unwrap()
                .as_bytes()
                .escape_ascii()
                .to_string(),
        ),
        FileType::CharacterDevice => ("c", format!("{:#x}", meta.rdev())),
        FileType::BlockDevice => ("b", format!("{:#x}", meta.rdev())),
        FileType::Fifo => ("p", String::new()),
        FileType::Socket | FileType::Unknown => ("?", String::new()),
    };
    let first = inodes.entry(meta.ino()).or_insert_with(|| name.to_owned());
    let link = if first == name {
        String::new()
    } else {
        format!(" same as {first}")
    };
    // Links have no mode of their own.
    let mode = if kind == FileType::Symlink {
        0
    } else {
        meta.mode() & 0o7777
    };
    format!(
        "{letter} {mode:04o} {}:{} {}.{:09} [{content}] {}{link}",
        meta.uid(),
        meta.gid(),
        meta.mtime(),
        meta.mtime_nsec(),
        xattrs(path)
    )
}

/// Long content as its digest; with the size, and whether there are holes.
fn content(path: &Path, meta: &std::fs::Metadata) -> String {
    let holes = if meta.blocks() * 512 + 4096 < meta.size() {
        " with holes"
    } else {
        ""
    };
    if meta.size() > 1 << 20 && !holes.is_empty() {
        return format!("{} bytes{holes}", meta.size());
    }
    let bytes = fs_err::read(path).unwrap();
    if bytes.len() > 64 {
        return format!(
            "{} bytes {}{holes}",
            bytes.len(),
            super::support::sha256(&bytes)
        );
    }
    format!("{}{holes}", bytes.escape_ascii())
}

fn xattrs(path: &Path) -> String {
    let mut list = vec![0u8; 64 << 10];
    let length = llistxattr(path, &mut list).unwrap();
    let mut xattrs: Vec<String> = list[..length]
        .split(|b| *b == 0)
        .filter(|name| !name.is_empty())
        .map(|name| {
            let mut value = vec![0u8; 64 << 10];
            let length = lgetxattr(path, name, value.as_mut_slice()).unwrap();
            format!("{}={}", name.escape_ascii(), value[..length].escape_ascii())
        })
        .collect();
    xattrs.sort();
    xattrs.join(",")
}

/// Whether a path leads to something, links not followed.
pub(crate) fn exists(path: &Path) -> bool {
    rustix::fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW).is_ok()
}
