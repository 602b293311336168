//! What there is to know about a directory tree, one line for each file: two trees are the same
//! if their listings are.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{lgetxattr, llistxattr};

use crate::image::sha256;

/// Room for the names, and for the value, of extended attributes.
const XATTR_BYTES: usize = 64 << 10;

/// Every file below `root` by its path there, escaped: type, mode, owner, time, and what belongs
/// to its type: length and digest of the content, target, device. Names of one file (hard links)
/// say which is the first of them. Extended attributes are told but for those of overlayfs, which
/// belong to the file system and not to the tree. The root itself has no line.
pub fn listing(root: &Path) -> BTreeMap<String, String> {
    let mut names: BTreeMap<(u64, u64), String> = BTreeMap::new();
    let mut lines = BTreeMap::new();
    let mut pending = vec![root.to_owned()];
    let mut found: Vec<PathBuf> = Vec::new();
    while let Some(directory) = pending.pop() {
        let entries = fs_err::read_dir(&directory).expect("a directory");
        for entry in entries {
            let entry = entry.expect("an entry");
            if entry.file_type().expect("a type").is_dir() {
                pending.push(entry.path());
            }
            found.push(entry.path());
        }
    }
    found.sort();
    for path in found {
        let metadata = fs_err::symlink_metadata(&path).expect("a file");
        let below = path.strip_prefix(root).expect("it is below the root");
        let name = below.as_os_str().as_bytes().escape_ascii().to_string();
        let mut line = describe(&path, &metadata);
        if !metadata.is_dir() && metadata.nlink() > 1 {
            let first = names.entry((metadata.dev(), metadata.ino()));
            let first = first.or_insert_with(|| name.clone());
            line.push_str(&format!(" same as {first}"));
        }
        lines.insert(name, line);
    }
    lines
}

/// The lines in which two listings differ, those of the first with `-`, of the second with `+`.
pub fn differences(
    one: &BTreeMap<String, String>,
    other: &BTreeMap<String, String>,
) -> Vec<String> {
    let missing =
        |mark: char, these: &BTreeMap<String, String>, those: &BTreeMap<String, String>| {
            let only = these
                .iter()
                .filter(|(name, line)| those.get(*name) != Some(*line));
            only.map(|(name, line)| format!("{name} {mark} {line}"))
                .collect::<Vec<_>>()
        };
    let mut lines = [missing('-', one, other), missing('+', other, one)].concat();
    lines.sort();
    lines
}

fn describe(path: &Path, metadata: &std::fs::Metadata) -> String {
    let kind = metadata.file_type();
    let what = if kind.is_file() {
        let bytes = fs_err::read(path).expect("a file");
        format!("file {} {}", bytes.len(), sha256(&bytes))
    } else if kind.is_symlink() {
        let target = fs_err::read_link(path).expect("a link").into_os_string();
        format!("link to {}", target.as_bytes().escape_ascii())
    } else if kind.is_dir() {
        "directory".to_owned()
    } else {
        let device = metadata.rdev();
        let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
        format!("node {:o} {major}:{minor}", metadata.mode() >> 12)
    };
    let mode = metadata.mode() & 0o7777;
    let (user, group) = (metadata.uid(), metadata.gid());
    let (seconds, nanos) = (metadata.mtime(), metadata.mtime_nsec());
    let attributes: String = attributes(path)
        .into_iter()
        .map(|(name, value)| format!(" {name}={}", value.escape_ascii()))
        .collect();
    format!("{what} {mode:04o} {user}:{group} {seconds}.{nanos:09}{attributes}")
}

fn attributes(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut names = vec![0; XATTR_BYTES];
    let length = llistxattr(path, &mut names).expect("names of extended attributes");
    let names = names[..length].split(|byte| *byte == 0);
    let names = names.filter(|name| !name.is_empty() && !name.starts_with(b"trusted.overlay."));
    let value = |name: &[u8]| {
        let mut value = vec![0; XATTR_BYTES];
        let name = OsString::from_vec(name.to_vec());
        let length = lgetxattr(path, name.as_os_str(), &mut value).expect("a value");
        value.truncate(length);
        (name.to_string_lossy().into_owned(), value)
    };
    names.map(value).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_differs_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let [one, other] = ["one", "other"].map(|name| directory.path().join(name));
        for tree in [&one, &other] {
            fs_err::create_dir_all(tree.join("d")).unwrap();
            fs_err::write(tree.join("d/f"), "1").unwrap();
            fs_err::hard_link(tree.join("d/f"), tree.join("linked")).unwrap();
            fs_err::os::unix::fs::symlink("a", tree.join("s")).unwrap();
        }
        let times = rustix::fs::Timestamps {
            last_access: rustix::fs::Timespec {
                tv_sec: 1,
                tv_nsec: 0,
            },
            last_modification: rustix::fs::Timespec {
                tv_sec: 1,
                tv_nsec: 5,
            },
        };
        let age = |tree: &Path| {
            for name in ["d", "d/f", "linked", "s"] {
                let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
                rustix::fs::utimensat(rustix::fs::CWD, tree.join(name), &times, flags).unwrap();
            }
        };
        age(&one);
        age(&other);
        assert_eq!(
            differences(&listing(&one), &listing(&other)),
            [] as [String; 0]
        );
        let changes: [(&str, &dyn Fn()); 5] = [
            ("d/f", &|| fs_err::write(other.join("d/f"), "2").unwrap()),
            ("linked", &|| {
                fs_err::remove_file(other.join("linked")).unwrap();
                fs_err::write(other.join("linked"), "2").unwrap();
            }),
            ("s", &|| {
                fs_err::remove_file(other.join("s")).unwrap();
                fs_err::os::unix::fs::symlink("b", other.join("s")).unwrap();
            }),
            ("d", &|| {
                let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
                fs_err::set_permissions(other.join("d"), mode).unwrap();
            }),
            ("more", &|| fs_err::write(other.join("more"), "").unwrap()),
        ];
        for (name, change) in changes {
            change();
            age(&other);
            let lines = differences(&listing(&one), &listing(&other));
            let told = lines
                .iter()
                .any(|line| line.starts_with(&format!("{name} ")));
            assert!(told, "{name}: {lines:#?}");
        }
    }
}
