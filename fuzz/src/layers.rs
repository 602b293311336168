//! The tar of a layer.

use std::collections::{BTreeMap, HashSet};
use std::io::Read as _;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, statat};

use super::ground::on_ground;
use super::tape;

/// Any tar, with its checksums put right: the layer comes back byte for byte, and has the
/// files that the tar crate sees.
pub fn layer(data: &[u8]) {
    let tar = tape::mended(data);
    on_ground(|ground| {
        let Some(layer) = ground.unpack(&tar) else {
            return;
        };
        ground.commit(vec![layer], |id, directory| {
            if !is_packed(&tar) {
                ground.assert_tar(id, &tar);
                if let Some(files) = files_for_tar(&tar) {
                    assert_files(&files, directory);
                }
            }
        });
    });
}

/// The records of a pax header: a byte that chooses what they describe, then the records.
pub fn pax(data: &[u8]) {
    const KINDS: [(u8, u8); 6] = [
        (b'x', b'0'),
        (b'x', b'5'),
        (b'x', b'2'),
        (b'x', b'1'),
        (b'g', b'0'),
        (b'x', b'L'),
    ];
    let Some((first, records)) = data.split_first() else {
        return;
    };
    let (header, member) = KINDS[usize::from(*first) % KINDS.len()];
    let content = if matches!(member, b'0' | b'L') {
        &b"1\n0\n4\nsome content\0"[..]
    } else {
        b""
    };
    let mut tar = Vec::new();
    tape::append(&mut tar, b'0', b"first", b"", b"1");
    tape::append(&mut tar, header, b"PaxHeaders/x", b"", records);
    tape::append(&mut tar, member, b"second", b"first", content);
    tape::append(&mut tar, b'0', b"third", b"", b"3");
    tape::finish(&mut tar);
    layer(&tar);
}

/// Whether rocker takes it for something compressed.
fn is_packed(data: &[u8]) -> bool {
    data.starts_with(&[0x1f, 0x8b]) || data.starts_with(&[0x28, 0xb5, 0x2f, 0xfd])
}

/// The content of each file as the tar crate reads the archive; `None` where names depend on
/// one another and the crate is no judge.
fn files_for_tar(tar: &[u8]) -> Option<BTreeMap<Vec<u8>, Vec<u8>>> {
    let mut files = BTreeMap::new();
    for entry in tar::Archive::new(tar).entries().ok()? {
        let mut entry = entry.ok()?;
        let kind = entry.header().entry_type();
        let name = entry.path_bytes().into_owned();
        let plain = |part: &[u8]| !matches!(part, b"" | b"." | b"..") && !part.starts_with(b".wh.");
        if !is_judged(&mut entry) {
            return None;
        }
        let name = name.strip_suffix(b"/").unwrap_or(&name).to_vec();
        if !name.split(|byte| *byte == b'/').all(plain) {
            return None;
        }
        if kind.is_file() {
            let mut content = Vec::new();
            entry.read_to_end(&mut content).ok()?;
            files.insert(name, content);
        } else if !kind.is_dir() {
            return None;
        }
    }
    Some(files)
}

/// Whether the crate reads the entry as GNU tar and Go do. It does not know pax sparse files,
/// star's prefix, other versions of ustar than 00, and pax values that are empty, have a newline
/// or replace an earlier one.
fn is_judged(entry: &mut tar::Entry<'_, &[u8]>) -> bool {
    let header = entry.header().as_bytes();
    let is_ustar = header[257..263] == *b"ustar\0";
    if header[508..] == *b"tar\0" || is_ustar && header[263..265] != *b"00" {
        return false;
    }
    let Ok(records) = entry.pax_extensions() else {
        return false;
    };
    let mut keys = HashSet::new();
    records.into_iter().flatten().all(|record| {
        record.is_ok_and(|record| {
            let key = record.key_bytes();
            let is_plain = !key.starts_with(b"GNU.sparse.") && !record.value_bytes().is_empty();
            is_plain && keys.insert(key.to_vec())
        })
    })
}

/// A file of the archive may have given way to a directory of that name, never to other content.
fn assert_files(files: &BTreeMap<Vec<u8>, Vec<u8>>, directory: &Path) {
    use std::os::unix::ffi::OsStrExt as _;
    for (name, content) in files {
        let path = directory.join(std::ffi::OsStr::from_bytes(name));
        let Ok(stat) = statat(CWD, &path, AtFlags::SYMLINK_NOFOLLOW) else {
            // it was below a directory that gave way to a file
            continue;
        };
        if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile {
            let found = fs_err::read(&path).expect("a file of the layer");
            assert!(
                found == *content,
                "{path:?} has {} bytes, not {}",
                found.len(),
                content.len()
            );
        }
    }
    assert_known(directory, directory, files);
}

/// There is no file that the tar crate does not see.
fn assert_known(root: &Path, directory: &Path, files: &BTreeMap<Vec<u8>, Vec<u8>>) {
    use std::os::unix::ffi::OsStrExt as _;
    for entry in fs_err::read_dir(directory).expect("a directory of the layer") {
        let entry = entry.expect("an entry of a directory of the layer");
        if entry.file_type().expect("its type").is_dir() {
            assert_known(root, &entry.path(), files);
        } else {
            let path = entry.path();
            let name = path.strip_prefix(root).expect("a path below the layer");
            assert!(files.contains_key(name.as_os_str().as_bytes()), "{name:?}");
        }
    }
}
