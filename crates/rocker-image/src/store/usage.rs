//! What a directory takes on disk.

use std::collections::HashSet;
use std::ffi::CStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rocker_types::DiffId;
use rustix::fs::{AtFlags, CWD, FileType, Mode, RawDir, Stat, fstat, openat, statat};
use rustix::io::Errno;

use super::merged::open_directory;
use super::recipe::{attic_name, recipe_name};
use super::record::{Record, record_name};
use super::root::OPEN_DIRECTORY;
use super::unpack::join;
use super::{Store, StoreError};

/// How deep directories are held open before a subtree is gone through from the top.
const MAX_DEPTH: usize = 32;

/// As much of a directory as the kernel shows at a time.
const ENTRIES_BYTES: usize = 16 << 10;

/// Bytes that `path` and everything below it take on disk, as du(1) counts them: blocks, not
/// lengths, and a file with several names once. Nothing is followed, and no other file system
/// entered. What is not there takes nothing, and what vanishes meanwhile does not count.
///
/// # Errors
///
/// Whatever the kernel says about a directory that cannot be read.
pub fn disk_usage(path: &Path) -> io::Result<u64> {
    usage_at(CWD, path)
}

/// The same of what is at `path` as seen from `directory`.
pub(super) fn usage_at(
    directory: BorrowedFd<'_>,
    path: impl rustix::path::Arg + Copy,
) -> io::Result<u64> {
    let stat = match statat(directory, path, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(0),
        result => result?,
    };
    if !is_directory(&stat) {
        return Ok(blocks(&stat));
    }
    let root = match openat(directory, path, OPEN_DIRECTORY, Mode::empty()) {
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(0),
        result => result?,
    };
    let mut walk = Walk {
        bytes: blocks(&stat),
        device: fstat(&root)?.st_dev,
        counted: HashSet::new(),
        deep: Vec::new(),
        buffer: vec![MaybeUninit::uninit(); ENTRIES_BYTES],
    };
    walk.enter(&root, &mut Vec::new(), 0)?;
    while let Some(mut path) = walk.deep.pop() {
        match open_directory(root.as_fd(), &path) {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
            open => walk.enter(&open?, &mut path, 0)?,
        }
    }
    Ok(walk.bytes)
}

/// What was counted so far.
struct Walk {
    bytes: u64,
    device: u64,
    /// Files with several names.
    counted: HashSet<u64>,
    /// Directories that lie too deep to be entered from where they were found.
    deep: Vec<Vec<u8>>,
    buffer: Vec<MaybeUninit<u8>>,
}

impl Walk {
    /// Counts what is below `directory`, which is at `path` and so many directories deep in those
    /// that are open.
    fn enter(
        &mut self,
        directory: &OwnedFd,
        path: &mut Vec<u8>,
        depth: usize,
    ) -> Result<(), Errno> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let below = self.count(directory, &mut buffer);
        self.buffer = buffer;
        for name in below? {
            let above = path.len();
            *path = join(path, &name);
            if depth == MAX_DEPTH {
                self.deep.push(path.clone());
            } else {
                match openat(directory, name.as_slice(), OPEN_DIRECTORY, Mode::empty()) {
                    Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                    open => self.enter(&open?, path, depth + 1)?,
                }
            }
            path.truncate(above);
        }
        Ok(())
    }

    /// Counts what is in `directory` and names the directories in it.
    fn count(
        &mut self,
        directory: &OwnedFd,
        buffer: &mut [MaybeUninit<u8>],
    ) -> Result<Vec<Vec<u8>>, Errno> {
        let mut below = Vec::new();
        let mut entries = RawDir::new(directory, buffer);
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            if let Some(stat) = self.look(directory, name)? {
                self.bytes += blocks(&stat);
                if is_directory(&stat) {
                    below.push(name.to_bytes().to_vec());
                }
            }
        }
        Ok(below)
    }

    /// What is there that has not been counted.
    fn look(&mut self, directory: &OwnedFd, name: &CStr) -> Result<Option<Stat>, Errno> {
        let stat = match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(None),
            stat => stat?,
        };
        let is_new = is_directory(&stat) || stat.st_nlink == 1 || self.counted.insert(stat.st_ino);
        Ok(Some(stat).filter(|stat| is_new && stat.st_dev == self.device))
    }
}

impl Store {
    /// Bytes that a layer takes on disk, with what lies beside it. Most were measured when they
    /// were unpacked.
    ///
    /// # Errors
    ///
    /// [`StoreError::Access`] if it cannot be read.
    pub fn layer_disk_usage(&self, layer: &DiffId) -> Result<u64, StoreError> {
        if let Ok(record) = Record::load(self, layer)
            && let Some(bytes) = self.measured(layer, &record)?
        {
            return Ok(bytes);
        }
        let (directory, record) = (layer.hex().to_owned(), record_name(layer));
        let parts = [directory, record, recipe_name(layer), attic_name(layer)];
        parts.iter().map(|name| self.usage_of(name)).sum()
    }

    /// The same if whoever unpacked it has measured it.
    pub(super) fn measured(
        &self,
        layer: &DiffId,
        record: &Record,
    ) -> Result<Option<u64>, StoreError> {
        let Some(bytes) = record.disk_bytes else {
            return Ok(None);
        };
        Ok(Some(bytes + self.usage_of(&record_name(layer))?))
    }

    fn usage_of(&self, name: &str) -> Result<u64, StoreError> {
        let path = || self.layout().layers().join(name);
        usage_at(self.layers_fd(), name)
            .map_err(|source| StoreError::access("measure", path())(source))
    }
}

fn is_directory(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

/// Bytes that a file takes on disk.
pub(super) fn blocks(stat: &Stat) -> u64 {
    stat.st_blocks.cast_unsigned().saturating_mul(512)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn it_agrees_with_du_about_holes_links_and_depth() {
        let dir = tempfile::tempdir().unwrap();
        let script = "mkdir -p a/b/c; seq 1 100000 > a/file; ln a/file a/b/again; ln -s /usr outside
            truncate -s 1G hole; d=deep; for i in $(seq 1 200); do d=$d/some-longer-name; done; mkdir -p $d; echo x > $d/leaf; ln $d/leaf a/leaf
            for i in $(seq 1 200); do echo $i > a/b/c/$i; done";
        let mut shell = Command::new("sh");
        let made = shell.args(["-ec", script]).current_dir(dir.path()).status();
        assert!(made.unwrap().success());

        let du = Command::new("du")
            .args(["-s", "-B1"])
            .arg(dir.path())
            .output()
            .unwrap();
        let du = String::from_utf8(du.stdout).unwrap();
        let expected: u64 = du.split_whitespace().next().unwrap().parse().unwrap();

        assert_eq!(disk_usage(dir.path()).unwrap(), expected);
        assert_eq!(disk_usage(&dir.path().join("nothing")).unwrap(), 0);
    }
}
