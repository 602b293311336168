//! Killing every process of a cgroup, however fast they fork.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::Pid;

use super::control;
use super::create::{Cgroup, Member};
use super::error::CgroupKillError;
use super::freeze::{look_error, request_freeze, thaw};
use super::plan::Version;
use super::wait::{kill, pidfds, processes};

/// How long to wait for all to stand still before killing those that do not.
const FREEZE_PATIENCE: Duration = Duration::from_millis(200);

/// How many passes over the list of processes are made. One is enough when they are frozen;
/// otherwise each pass kills every parent that could have made new ones.
const PASSES: usize = 1_000;

impl Cgroup {
    /// Sends SIGKILL to every process of the cgroup and of the sessions below it, frozen ones
    /// included. When it returns, all that were there and all that they forked are dying;
    /// [`Self::remove`] waits for the end. A cgroup that does not exist has no processes.
    ///
    /// On v2 the kernel does it at once (`cgroup.kill`, Linux 5.14). Else all are frozen first
    /// so that the list of them is complete, killed, and thawed so that they can die.
    ///
    /// # Errors
    ///
    /// [`CgroupKillError`]. A process outside of the cgroup is never signalled.
    pub fn kill_all(&self) -> Result<(), CgroupKillError> {
        let Some(member) = self.tracking() else {
            return Ok(());
        };
        if member.version == Version::V2 {
            let file = member.directory.join("cgroup.kill");
            match control::write(&file, "1") {
                Ok(()) | Err(Errno::NODEV) => return Ok(()),
                // Linux before 5.14, or the cgroup is gone: both end well below.
                Err(Errno::NOENT) => {}
                Err(source) => {
                    return Err(CgroupKillError::Write {
                        path: file,
                        value: "1",
                        source: source.into(),
                    });
                }
            }
        }
        self.kill_one_by_one(member)
    }

    fn kill_one_by_one(&self, member: &Member) -> Result<(), CgroupKillError> {
        let freezer = self.freezer();
        match freezer {
            // Not all stand still in time when one waits in the kernel; none of those that do
            // can fork, and one that comes back stops before it can.
            Some(freezer) => drop(request_freeze(freezer, Instant::now() + FREEZE_PATIENCE)?),
            None => self.forbid_forks(),
        }
        let killed = kill_listed(member);
        let thawed = freezer.map_or(Ok(()), thaw);
        killed.and(thawed)
    }

    /// Without a freezer, a process limit of nothing stops a fork bomb from running ahead.
    fn forbid_forks(&self) {
        for member in self.members.iter().filter(|member| member.owned) {
            // Where there is no such file the passes below must do.
            let _ = control::write(&member.directory.join("pids.max"), "0");
        }
    }
}

/// Passes over the list until nothing new is in it.
fn kill_listed(member: &Member) -> Result<(), CgroupKillError> {
    let look = |source: Errno| look_error(&member.directory, source);
    let mut signalled: HashSet<Pid> = HashSet::new();
    for _ in 0..PASSES {
        for (pid, pidfd) in pidfds(&member.directory).map_err(look)? {
            kill(&pidfd).map_err(|source| CgroupKillError::Signal {
                pid: pid.as_raw_nonzero().get(),
                source: source.into(),
            })?;
            signalled.insert(pid);
        }
        let left = processes(&member.directory).map_err(look)?;
        if left.iter().all(|pid| signalled.contains(pid)) {
            return Ok(());
        }
    }
    Err(CgroupKillError::Multiplying {
        path: member.directory.clone(),
    })
}
