//! Files that have their name once they are complete.

use std::ffi::OsString;
use std::io;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};

use fs_err::os::unix::fs::OpenOptionsExt as _;
use fs_err::{File, OpenOptions};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat, openat};
use rustix::io::Errno;

/// A file that is being written. Until [`finish`](Self::finish) what was there before stays,
/// and if we die nothing is left.
#[derive(Debug)]
pub(crate) struct OutputFile {
    file: File,
    name: Name,
}

#[derive(Debug)]
enum Name {
    /// A pipe or a device, which is written as it is.
    Keep,
    /// The file has none yet.
    Give(PathBuf),
    /// The file has this one, on file systems where every file has one.
    Change { from: PathBuf, to: PathBuf },
}

impl OutputFile {
    /// Begins a file with this mode, of which the umask takes its part.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub(crate) fn create(path: &Path, mode: Mode) -> io::Result<Self> {
        // what a link leads to is replaced, not the link
        let path = fs_err::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let is_special = fs_err::metadata(&path).is_ok_and(|found| !found.is_file());
        if is_special {
            let file = OpenOptions::new().write(true).open(&path)?;
            return Ok(Self {
                file,
                name: Name::Keep,
            });
        }
        let directory = directory_of(&path);
        let flags = OFlags::WRONLY | OFlags::TMPFILE | OFlags::CLOEXEC;
        match openat(CWD, directory, flags, mode) {
            Ok(file) => Ok(Self {
                file: File::from_parts(std::fs::File::from(file), &path),
                name: Name::Give(path),
            }),
            Err(Errno::OPNOTSUPP | Errno::ISDIR) => {
                let from = beside(&path);
                let mut options = OpenOptions::new();
                options.write(true).create_new(true).mode(mode.bits());
                Ok(Self {
                    file: options.open(&from)?,
                    name: Name::Change { from, to: path },
                })
            }
            Err(errno) => Err(errno.into()),
        }
    }

    pub(crate) fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Puts the file on disk and gives it its name.
    ///
    /// # Errors
    ///
    /// What the kernel says; what had the name before has it still.
    pub(crate) fn finish(self) -> io::Result<()> {
        match self.name {
            Name::Keep => Ok(()),
            Name::Give(path) => {
                self.file.sync_all()?;
                let open = format!("/proc/self/fd/{}", self.file.file().as_raw_fd());
                match linkat(CWD, &open, CWD, &path, AtFlags::SYMLINK_FOLLOW) {
                    Err(Errno::EXIST) => {
                        let from = beside(&path);
                        linkat(CWD, &open, CWD, &from, AtFlags::SYMLINK_FOLLOW)?;
                        replace(&from, &path)?;
                    }
                    result => result?,
                }
                File::open(directory_of(&path))?.sync_all()
            }
            Name::Change { from, to } => {
                self.file.sync_all()?;
                replace(&from, &to)?;
                File::open(directory_of(&to))?.sync_all()
            }
        }
    }

    /// Leaves everything as it was.
    pub(crate) fn discard(self) {
        if let Name::Change { from, .. } = &self.name {
            // it is ours alone, and there is nobody to tell if it stays
            drop(fs_err::remove_file(from));
        }
    }
}

fn directory_of(path: &Path) -> &Path {
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    parent.unwrap_or(Path::new("."))
}

fn replace(from: &Path, to: &Path) -> io::Result<()> {
    fs_err::rename(from, to).inspect_err(|_| drop(fs_err::remove_file(from)))
}

/// A hidden name in the same directory that nobody else uses.
fn beside(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}", std::process::id()));
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn the_name_comes_last_and_replaces_what_had_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        for content in ["one", "two"] {
            let before = fs_err::read_to_string(&path).ok();
            let mut output = OutputFile::create(&path, Mode::RUSR | Mode::WUSR).unwrap();
            output.file().write_all(content.as_bytes()).unwrap();
            assert_eq!(fs_err::read_to_string(&path).ok(), before);
            output.finish().unwrap();
            assert_eq!(fs_err::read_to_string(&path).unwrap(), content);
        }
        OutputFile::create(&path, Mode::RUSR).unwrap().discard();
        let names = fs_err::read_dir(dir.path()).unwrap().count();
        assert_eq!(
            (names, fs_err::read_to_string(&path).unwrap()),
            (1, "two".into())
        );
    }

    #[test]
    fn devices_are_written_as_they_are() {
        let mut output = OutputFile::create(Path::new("/dev/null"), Mode::WUSR).unwrap();
        output.file().write_all(b"x").unwrap();
        output.finish().unwrap();
    }
}
