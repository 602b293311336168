//! Reads a small text file of an image without being trapped by it.
//!
//! `/etc/passwd` of an image may be a FIFO (opening it blocks for ever), a device node (opening
//! it acts on the host), a link out of the image, or a sparse file of terabytes
//! (CVE-2024-9676, CVE-2025-4437 and more).

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::process::{At, InitFailure, InitStep};
use crate::rootfs::Root;

/// No honest file of this kind is larger.
const MAX_BYTES: usize = 1024 * 1024;

/// procfs, sysfs, cgroup and cgroup2, from `linux/magic.h`: what is read there is the host's, and
/// reading may act (`/proc/kmsg` is consumed by it).
const KERNEL_FILE_SYSTEMS: [u64; 4] = [0x9fa0, 0x6265_6572, 0x0027_e0eb, 0x6367_7270];

/// A directory with a name for each open descriptor of this process.
///
/// It is opened from the *host's* procfs before the container's root is entered: a file is
/// looked at first, without being opened, and then opened by descriptor, not by name again.
#[derive(Debug)]
pub(crate) struct ImageFileReader {
    own_descriptors: OwnedFd,
}

impl ImageFileReader {
    /// To be called while `/proc` is still the host's.
    pub(crate) fn prepare() -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let own_descriptors = rustix::fs::open("/proc/self/fd", flags, Mode::empty())?;
        Ok(Self { own_descriptors })
    }

    /// The file's text; a missing file is an empty one.
    pub(crate) fn read(&self, root: &Root, path: &str) -> Result<String, InitFailure> {
        let refuse = |why: &str| {
            Err(InitFailure::refusal(
                InitStep::ReadUsers,
                format!("{path}: {why}"),
            ))
        };
        let file = match root.resolve(path) {
            Ok(file) => file,
            Err(error) if is_absent(&error) => return Ok(String::new()),
            Err(error) => return Err(error).at(InitStep::ReadUsers, path),
        };
        let stat = rustix::fs::fstat(&file).at(InitStep::ReadUsers, path)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return refuse("it is not a regular file");
        }
        let file_system = rustix::fs::fstatfs(&file).at(InitStep::ReadUsers, path)?;
        if KERNEL_FILE_SYSTEMS.contains(&u64::try_from(file_system.f_type).unwrap_or(0)) {
            return refuse("it leads to a file of the kernel's");
        }
        let text = self.read_bounded(&file).at(InitStep::ReadUsers, path)?;
        if text.len() > MAX_BYTES {
            return refuse("it is larger than 1 MiB");
        }
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// At most one byte more than is allowed.
    fn read_bounded(&self, file: &OwnedFd) -> io::Result<Vec<u8>> {
        let name = file.as_raw_fd().to_string();
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.own_descriptors, name, flags, Mode::empty())?;
        let mut text = Vec::with_capacity(4096);
        while text.len() <= MAX_BYTES {
            let room = text.capacity() - text.len();
            if room == 0 {
                text.reserve(text.len());
            }
            let spare = rustix::buffer::spare_capacity(&mut text);
            match rustix::io::read(&file, spare) {
                Ok(0) => break,
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(text)
    }
}

fn is_absent(error: &io::Error) -> bool {
    let absent = [Errno::NOENT, Errno::NOTDIR].map(|errno| Some(errno.raw_os_error()));
    absent.contains(&error.raw_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{CWD, mkdirat, mknodat, symlinkat};

    fn root_with(make: impl FnOnce(&std::path::Path)) -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        mkdirat(CWD, dir.path().join("etc"), Mode::RWXU).unwrap();
        make(&dir.path().join("etc/passwd"));
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(dir.path(), flags, Mode::empty()).unwrap();
        (dir, Root::new(fd))
    }

    fn read(root: &Root) -> Result<String, InitFailure> {
        ImageFileReader::prepare()
            .unwrap()
            .read(root, "/etc/passwd")
    }

    #[test]
    fn a_plain_file_is_read_whole_and_a_missing_one_is_empty() {
        let text = "root:x:0:0:root:/root:/bin/sh\n".repeat(2000);
        let (_dir, root) = root_with(|path| fs_err::write(path, &text).unwrap());
        assert_eq!(read(&root).unwrap(), text);
        let (_dir, root) = root_with(|_| {});
        assert_eq!(read(&root).unwrap(), "");
    }

    #[test]
    fn traps_are_refused_at_once() {
        let fifo = |path: &std::path::Path| {
            mknodat(CWD, path, FileType::Fifo, Mode::RWXU, 0).unwrap();
        };
        let directory = |path: &std::path::Path| mkdirat(CWD, path, Mode::RWXU).unwrap();
        let sparse = |path: &std::path::Path| {
            let file = fs_err::File::create(path).unwrap();
            file.set_len(2 << 30).unwrap();
        };
        let loops = |path: &std::path::Path| symlinkat("/proc/self/fd/0", CWD, path).unwrap();
        let traps: [&dyn Fn(&std::path::Path); 3] = [&fifo, &directory, &sparse];
        for (number, trap) in traps.iter().enumerate() {
            let (_dir, root) = root_with(trap);
            assert!(read(&root).is_err(), "trap {number}");
        }
        // Inside this root there is no /proc: the link leads nowhere, and not to the host's.
        let (_dir, root) = root_with(loops);
        assert_eq!(read(&root).unwrap(), "");
    }
}
