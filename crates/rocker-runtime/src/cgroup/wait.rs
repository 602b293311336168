//! Who is in a cgroup, and waiting until nobody is.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, Result};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::control;
use super::create::Member;
use super::plan::Version;

/// The first pause where the kernel offers nothing to wait for; doubled up to the longest.
const SHORTEST_PAUSE: Duration = Duration::from_micros(100);
const LONGEST_PAUSE: Duration = Duration::from_millis(20);

/// Whether a wait was over before its deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waited {
    Done,
    TimedOut,
}

/// The processes in `directory` and below; those in other pid namespaces do not count, and
/// directories that vanish meanwhile have none.
pub(super) fn processes(directory: &Path) -> Result<Vec<Pid>> {
    let own = control::read(&directory.join("cgroup.procs")).or_else(gone_is_default)?;
    let number = |line: &str| line.parse().ok().and_then(Pid::from_raw);
    let mut pids: Vec<Pid> = own.lines().filter_map(number).collect();
    for child in control::child_directories(directory).or_else(gone_is_default)? {
        pids.extend(processes(&child)?);
    }
    Ok(pids)
}

fn gone_is_default<T: Default>(error: Errno) -> Result<T> {
    match error {
        Errno::NOENT | Errno::NODEV => Ok(T::default()),
        _ => Err(error),
    }
}

/// Waits until no process is in the cgroup or below it. Zombies do not count: they are in no
/// cgroup's way.
pub(super) fn until_empty(member: &Member, deadline: Instant) -> Result<Waited> {
    match member.version {
        Version::V2 => until_event(&member.directory, "populated 0", deadline),
        Version::V1 => until_no_process(&member.directory, deadline),
    }
}

/// Waits until `cgroup.events` holds the line `wanted`. A cgroup that vanished has no events to
/// wait for.
pub(super) fn until_event(directory: &Path, wanted: &str, deadline: Instant) -> Result<Waited> {
    let path = directory.join("cgroup.events");
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let file = match rustix::fs::open(&path, flags, Mode::empty()) {
        Err(Errno::NOENT | Errno::NODEV) => return Ok(Waited::Done),
        opened => opened?,
    };
    loop {
        let mut buffer = [0; 256];
        // The read tells the kernel which state we know; the poll ends when there is a newer one.
        let length = match rustix::io::pread(&file, &mut buffer, 0) {
            Err(Errno::NODEV) => return Ok(Waited::Done),
            read => read?,
        };
        let text = String::from_utf8_lossy(&buffer[..length]);
        if text.lines().any(|line| line == wanted) {
            return Ok(Waited::Done);
        }
        if poll_until(&mut [PollFd::new(&file, PollFlags::PRI)], deadline)? == Waited::TimedOut {
            return Ok(Waited::TimedOut);
        }
    }
}

/// v1 tells nobody when a cgroup empties, so wait for each process in it.
fn until_no_process(directory: &Path, deadline: Instant) -> Result<Waited> {
    loop {
        let mut pidfds: Vec<OwnedFd> = Vec::new();
        for pid in processes(directory)? {
            match pidfd_open(pid, PidfdFlags::empty()) {
                Err(Errno::SRCH | Errno::INVAL) => {}
                opened => pidfds.push(opened?),
            }
        }
        if pidfds.is_empty() {
            return Ok(Waited::Done);
        }
        for pidfd in &pidfds {
            let mut ended = [PollFd::new(pidfd, PollFlags::IN)];
            if poll_until(&mut ended, deadline)? == Waited::TimedOut {
                return Ok(Waited::TimedOut);
            }
        }
    }
}

fn poll_until(fds: &mut [PollFd<'_>], deadline: Instant) -> Result<Waited> {
    let left = deadline.saturating_duration_since(Instant::now());
    let timeout = Timespec::try_from(left).map_err(|_| Errno::INVAL)?;
    match poll(fds, Some(&timeout)) {
        Ok(0) => Ok(Waited::TimedOut),
        Ok(_) | Err(Errno::INTR) => Ok(Waited::Done),
        Err(error) => Err(error),
    }
}

/// Pauses that grow, for the few things that the kernel does not announce.
#[derive(Debug)]
pub(super) struct Pauses {
    next: Duration,
    deadline: Instant,
}

impl Pauses {
    pub(super) const fn until(deadline: Instant) -> Self {
        Self {
            next: SHORTEST_PAUSE,
            deadline,
        }
    }

    /// Sleeps, unless the deadline has passed.
    pub(super) fn pause(&mut self) -> Waited {
        if Instant::now() >= self.deadline {
            return Waited::TimedOut;
        }
        std::thread::sleep(self.next);
        self.next = (self.next * 2).min(LONGEST_PAUSE);
        Waited::Done
    }
}

/// A descriptor of the process, which is then in the cgroup that `still_listed` looks at, or
/// dead: its number cannot come to mean another process.
pub(super) fn pidfds(directory: &Path) -> Result<Vec<(Pid, OwnedFd)>> {
    let mut opened = Vec::new();
    for pid in processes(directory)? {
        match pidfd_open(pid, PidfdFlags::empty()) {
            Err(Errno::SRCH | Errno::INVAL) => {}
            fd => opened.push((pid, fd?)),
        }
    }
    // A number read above may have been reused before it was opened. What is listed now and
    // was opened before is the same process, or the opened one is dead.
    let listed = processes(directory)?;
    opened.retain(|(pid, _)| listed.contains(pid));
    Ok(opened)
}

/// Borrowed for the callers that only signal.
pub(super) fn kill(pidfd: &OwnedFd) -> Result<()> {
    match rustix::process::pidfd_send_signal(pidfd.as_fd(), rustix::process::Signal::KILL) {
        Err(Errno::SRCH) => Ok(()),
        sent => sent,
    }
}
