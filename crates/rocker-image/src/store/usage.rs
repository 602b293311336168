//! What a directory takes on disk.

use std::collections::HashSet;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use rocker_types::DiffId;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat, fstat, openat, statat};
use rustix::io::Errno;

use super::merged::open_directory;
use super::recipe::{attic_name, recipe_name};
use super::record::record_name;
use super::unpack::join;
use super::view::entries;
use super::{Store, StoreError};

/// Bytes that `path` and everything below it take on disk, as du(1) counts them: blocks, not
/// lengths, and a file with several names once. Nothing is followed, and no other file system
/// entered. What is not there takes nothing, and what vanishes meanwhile does not count.
///
/// # Errors
///
/// Whatever the kernel says about a directory that cannot be read.
pub fn disk_usage(path: &Path) -> io::Result<u64> {
    let stat = match statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(0),
        result => result?,
    };
    if kind(&stat) != FileType::Directory {
        return Ok(blocks(&stat));
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let root = openat(CWD, path, flags, Mode::empty())?;
    let device = fstat(&root)?.st_dev;
    let mut bytes = blocks(&stat);
    let mut counted = HashSet::new();
    let mut directories = vec![Vec::new()];
    while let Some(directory) = directories.pop() {
        let found = open_directory(root.as_fd(), &directory).and_then(|open| entries(&open));
        let found = match found {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => continue,
            result => result?,
        };
        for (name, stat) in found.into_iter().filter(|(_, stat)| stat.st_dev == device) {
            let is_directory = kind(&stat) == FileType::Directory;
            if is_directory || stat.st_nlink == 1 || counted.insert(stat.st_ino) {
                bytes += blocks(&stat);
            }
            if is_directory {
                directories.push(join(&directory, &name));
            }
        }
    }
    Ok(bytes)
}

impl Store {
    /// Bytes that a layer takes on disk, with what lies beside it.
    ///
    /// # Errors
    ///
    /// [`StoreError::Access`] if it cannot be read.
    pub fn layer_disk_usage(&self, layer: &DiffId) -> Result<u64, StoreError> {
        let companions = [record_name(layer), recipe_name(layer), attic_name(layer)];
        let companions = companions.map(|name| self.layout().layers().join(name));
        let all = [self.layer_dir(layer)].into_iter().chain(companions);
        let used = all.map(|path| disk_usage(&path).map_err(StoreError::access("measure", path)));
        used.sum()
    }
}

fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

fn blocks(stat: &Stat) -> u64 {
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
            truncate -s 1G hole; d=deep; for i in $(seq 1 200); do d=$d/some-longer-name; done; mkdir -p $d; echo x > $d/leaf
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
