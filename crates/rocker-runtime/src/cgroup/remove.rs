//! Taking a cgroup's directories away.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::control;
use super::create::{Cgroup, Member};
use super::error::CgroupRemoveError;
use super::wait::{Pauses, Waited, processes, until_empty};

/// How long dying processes may take to leave. One that waits uninterruptibly in the kernel
/// takes longer, and the cgroup with it.
const PATIENCE: Duration = Duration::from_secs(5);

impl Cgroup {
    /// Removes the cgroup in every hierarchy, with the sessions below it, and the common parent
    /// if this was the last of its children. What is gone already is no error, so it may be
    /// repeated.
    ///
    /// Kills nobody ([`Self::kill_all`] does) but waits up to five seconds for the dying.
    ///
    /// # Errors
    ///
    /// [`CgroupRemoveError::Populated`] when processes stay; then nothing is removed.
    pub fn remove(&self) -> Result<(), CgroupRemoveError> {
        self.remove_within(PATIENCE)
    }

    /// [`Self::remove`], waiting no longer than `patience` for the dying.
    ///
    /// # Errors
    ///
    /// As [`Self::remove`].
    pub fn remove_within(&self, patience: Duration) -> Result<(), CgroupRemoveError> {
        let deadline = Instant::now() + patience;
        if let Some(tracking) = self.tracking() {
            wait_for_the_dying(tracking, deadline)?;
        }
        let mut outcome = Ok(());
        // The tracking directory goes last: as long as it is there the rest can be found.
        for member in self.members.iter().rev().filter(|member| member.owned) {
            outcome = outcome.and(remove_tree(&member.directory, deadline));
            if !self.name.is_session() {
                // Other containers may live in it, or have removed it just now.
                let _ = control::remove_directory(&member.parent);
            }
        }
        outcome
    }

    /// Removes those sessions of this container, by name, that are `over` and that no process is
    /// left in: whoever started them could not.
    pub(crate) fn remove_sessions(&self, over: impl Fn(&str) -> bool) {
        let Some(tracking) = self.tracking() else {
            return;
        };
        let entries = fs_err::read_dir(&tracking.directory).into_iter().flatten();
        for entry in entries.flatten() {
            if entry.file_name().to_str().is_some_and(&over) {
                let _ = control::remove_directory(&entry.path());
            }
        }
    }
}

fn wait_for_the_dying(member: &Member, deadline: Instant) -> Result<(), CgroupRemoveError> {
    match until_empty(member, deadline) {
        Ok(Waited::Done) => Ok(()),
        Ok(Waited::TimedOut) => Err(populated(&member.directory)),
        Err(source) => Err(CgroupRemoveError::Look {
            path: member.directory.clone(),
            source: source.into(),
        }),
    }
}

fn populated(path: &Path) -> CgroupRemoveError {
    let pids = processes(path).unwrap_or_default();
    CgroupRemoveError::Populated {
        path: path.to_owned(),
        pids: pids.iter().map(|pid| pid.as_raw_nonzero().get()).collect(),
    }
}

/// Removes a directory and those below it, children first.
fn remove_tree(path: &Path, deadline: Instant) -> Result<(), CgroupRemoveError> {
    // A process is off the lists of v1 a moment before it is out of its cgroups.
    let mut pauses = Pauses::until(deadline);
    loop {
        match control::remove_directory(path) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(Errno::BUSY | Errno::NOTEMPTY) => {}
            Err(source) => {
                return Err(CgroupRemoveError::Remove {
                    path: path.to_owned(),
                    source: source.into(),
                });
            }
        }
        match control::child_directories(path) {
            Ok(children) => {
                for child in &children {
                    remove_tree(child, deadline)?;
                }
                if !children.is_empty() {
                    continue;
                }
            }
            Err(Errno::NOENT | Errno::NODEV) => return Ok(()),
            Err(source) => {
                return Err(CgroupRemoveError::Look {
                    path: path.to_owned(),
                    source: source.into(),
                });
            }
        }
        if pauses.pause() == Waited::TimedOut {
            return Err(populated(path));
        }
    }
}
