//! The files of a log while another process writes and renames them.

use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{AtFlags, Mode, OFlags, inotify};
use rustix::io::Errno;

use super::LogFiles;

/// An open file of the log. Its name may change, its identity does not.
#[derive(Debug)]
pub(super) struct Generation {
    pub(super) file: OwnedFd,
    identity: Identity,
}

/// Device and inode.
type Identity = (u64, u64);

/// The log's directory.
#[derive(Debug)]
pub(super) struct LogDirectory {
    fd: OwnedFd,
    files: LogFiles,
}

impl LogDirectory {
    pub(super) fn open(files: LogFiles) -> Result<Self, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(files.directory(), flags, Mode::empty())?;
        Ok(Self { fd, files })
    }

    /// Whether `generation` is the file that is being written; true too while there is none.
    pub(super) fn is_current(&self, generation: &Generation) -> Result<bool, Errno> {
        match self.identity(0) {
            Ok(identity) => Ok(identity == generation.identity),
            Err(Errno::NOENT) => Ok(true),
            Err(errno) => Err(errno),
        }
    }

    /// All files of the log, the oldest first.
    ///
    /// The writer may rename them in the meantime, so what was opened is compared with what the
    /// names mean afterwards. A rotation takes microseconds and needs thousands of lines to come
    /// about: a few tries are plenty, and what the last one found is whole files in any case.
    pub(super) fn snapshot(&self) -> Result<Vec<Generation>, Errno> {
        const TRIES: usize = 20;
        let mut found = Vec::new();
        for _ in 0..TRIES {
            let ages = self.ages()?;
            let Some(opened) = self.open_all(&ages)? else {
                continue;
            };
            let unchanged = ages.iter().zip(&opened).all(|(&age, generation)| {
                self.identity(age)
                    .is_ok_and(|identity| identity == generation.identity)
            });
            let done = unchanged && self.ages()? == ages;
            found = opened;
            if done {
                break;
            }
        }
        Ok(found)
    }

    /// The files that came after `generation`, the oldest first.
    pub(super) fn successors(&self, generation: &Generation) -> Result<Vec<Generation>, Errno> {
        let mut all = self.snapshot()?;
        let position = all
            .iter()
            .position(|other| other.identity == generation.identity);
        Ok(match position {
            Some(at) => all.split_off(at + 1),
            // It was removed: the writer is more than a whole log ahead of us.
            None => all,
        })
    }

    /// Which rotations have a file, the oldest first.
    fn ages(&self) -> Result<Vec<u32>, Errno> {
        let mut ages = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.fd)? {
            ages.extend(self.files.age(entry?.file_name().to_bytes()));
        }
        ages.sort_unstable_by(|a, b| b.cmp(a));
        Ok(ages)
    }

    /// `None` if one is gone already.
    fn open_all(&self, ages: &[u32]) -> Result<Option<Vec<Generation>>, Errno> {
        let mut opened = Vec::with_capacity(ages.len());
        for &age in ages {
            let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            match rustix::fs::openat(&self.fd, self.files.name(age), flags, Mode::empty()) {
                Ok(file) => {
                    let stat = rustix::fs::fstat(&file)?;
                    opened.push(Generation {
                        file,
                        identity: (stat.st_dev, stat.st_ino),
                    });
                }
                Err(Errno::NOENT) => return Ok(None),
                Err(errno) => return Err(errno),
            }
        }
        Ok(Some(opened))
    }

    fn identity(&self, age: u32) -> Result<Identity, Errno> {
        let stat = rustix::fs::statat(&self.fd, self.files.name(age), AtFlags::SYMLINK_NOFOLLOW)?;
        Ok((stat.st_dev, stat.st_ino))
    }
}

/// Waits for the writer.
#[derive(Debug)]
pub(super) struct Watch {
    inotify: OwnedFd,
    /// Readable when the writer is gone.
    writer: OwnedFd,
}

/// Why [`Watch::wait`] returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Woken {
    /// Something was written or renamed.
    Changed,
    /// The writer is gone.
    Ended,
    /// The time was up.
    Timeout,
}

impl Watch {
    /// Must be made before the first look at the directory, so that no change is missed.
    pub(super) fn new(files: &LogFiles, writer: OwnedFd) -> Result<Self, Errno> {
        use inotify::{CreateFlags, WatchFlags};
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let what =
            WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVED_FROM | WatchFlags::ONLYDIR;
        inotify::add_watch(&inotify, files.directory(), what)?;
        Ok(Self { inotify, writer })
    }

    pub(super) fn wait(&self, timeout: Option<Timespec>) -> Result<Woken, Errno> {
        let mut polled = [
            PollFd::new(&self.inotify, PollFlags::IN),
            PollFd::new(&self.writer, PollFlags::IN),
        ];
        let ready = loop {
            match rustix::event::poll(&mut polled, timeout.as_ref()) {
                Err(Errno::INTR) => (),
                other => break other?,
            }
        };
        let writer_gone = !polled[1].revents().is_empty();
        // Emptied before the files are read: what happens after this wakes us again.
        self.drain()?;
        Ok(match ready {
            0 => Woken::Timeout,
            _ if writer_gone => Woken::Ended,
            _ => Woken::Changed,
        })
    }

    /// Takes all notices. What they say does not matter: the files are looked at in any case.
    fn drain(&self) -> Result<(), Errno> {
        let mut buffer = [MaybeUninit::<u8>::uninit(); 4096];
        loop {
            match rustix::io::read(&self.inotify, &mut buffer[..]) {
                Ok(_) | Err(Errno::INTR) => (),
                Err(Errno::AGAIN) => return Ok(()),
                Err(errno) => return Err(errno),
            }
        }
    }
}
