//! Stopping every process of a cgroup where it is, and letting them run on.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::control;
use super::create::{Cgroup, Member};
use super::error::CgroupKillError;
use super::plan::Version;
use super::wait::{Pauses, Waited, until_event};

/// How long a process may take to reach a point where it can be frozen. Only one that waits
/// uninterruptibly in the kernel takes longer than an instant.
const PATIENCE: Duration = Duration::from_secs(5);

impl Cgroup {
    /// Freezes every process of the cgroup and returns when all stand still.
    ///
    /// # Errors
    ///
    /// [`CgroupKillError::NotFrozen`] when one does not stop within five seconds; all run on
    /// then. [`CgroupKillError::NoFreezer`] on v1 without that controller.
    pub fn freeze(&self) -> Result<(), CgroupKillError> {
        let member = self.freezer().ok_or(CgroupKillError::NoFreezer)?;
        match request_freeze(member, Instant::now() + PATIENCE)? {
            Waited::Done => Ok(()),
            Waited::TimedOut => {
                thaw(member)?;
                Err(CgroupKillError::NotFrozen {
                    path: member.directory.clone(),
                })
            }
        }
    }

    /// Lets the processes of a frozen cgroup run on.
    ///
    /// # Errors
    ///
    /// [`CgroupKillError`] when the kernel does not take the order.
    pub fn thaw(&self) -> Result<(), CgroupKillError> {
        thaw(self.freezer().ok_or(CgroupKillError::NoFreezer)?)
    }

    /// Whether the cgroup is frozen, or on its way there.
    ///
    /// # Errors
    ///
    /// [`CgroupKillError::Look`] when the state cannot be read.
    pub fn is_frozen(&self) -> Result<bool, CgroupKillError> {
        let Some(member) = self.freezer() else {
            return Ok(false);
        };
        let state = match member.version {
            Version::V1 => control::read(&member.directory.join("freezer.state")),
            Version::V2 => control::read(&member.directory.join("cgroup.freeze")),
        };
        let state = state.map_err(|source| look_error(&member.directory, source))?;
        Ok(!matches!(state.trim(), "THAWED" | "0"))
    }

    /// The member that can freeze: the v2 directory, or the one in the v1 freezer. A session
    /// of `exec` is frozen with its container, so only an own directory counts.
    pub(super) fn freezer(&self) -> Option<&Member> {
        self.tracking().filter(|member| match member.version {
            Version::V2 => true,
            Version::V1 => member.directory.join("freezer.state").exists(),
        })
    }
}

/// Orders the freeze and waits for it.
pub(super) fn request_freeze(
    member: &Member,
    deadline: Instant,
) -> Result<Waited, CgroupKillError> {
    match member.version {
        Version::V2 => {
            order(&member.directory.join("cgroup.freeze"), "1")?;
            until_event(&member.directory, "frozen 1", deadline)
                .map_err(|source| look_error(&member.directory, source))
        }
        Version::V1 => freeze_v1(&member.directory, deadline),
    }
}

/// The v1 freezer finishes while its state is read, and says nothing by itself.
fn freeze_v1(directory: &Path, deadline: Instant) -> Result<Waited, CgroupKillError> {
    let state = directory.join("freezer.state");
    order(&state, "FROZEN")?;
    let mut pauses = Pauses::until(deadline);
    loop {
        match control::read(&state) {
            Ok(text) if text.trim() == "FROZEN" => return Ok(Waited::Done),
            Err(Errno::NODEV | Errno::NOENT) => return Ok(Waited::Done),
            Ok(_) => {}
            Err(source) => return Err(look_error(directory, source)),
        }
        if pauses.pause() == Waited::TimedOut {
            return Ok(Waited::TimedOut);
        }
    }
}

/// Lets the processes run on.
pub(super) fn thaw(member: &Member) -> Result<(), CgroupKillError> {
    match member.version {
        Version::V2 => order(&member.directory.join("cgroup.freeze"), "0"),
        Version::V1 => order(&member.directory.join("freezer.state"), "THAWED"),
    }
}

/// Writes to a control file; that the cgroup is gone is as good as done.
pub(super) fn order(path: &Path, value: &'static str) -> Result<(), CgroupKillError> {
    match control::write(path, value) {
        Ok(()) | Err(Errno::NOENT | Errno::NODEV) => Ok(()),
        Err(source) => Err(CgroupKillError::Write {
            path: path.to_owned(),
            value,
            source: source.into(),
        }),
    }
}

pub(super) fn look_error(directory: &Path, source: Errno) -> CgroupKillError {
    CgroupKillError::Look {
        path: directory.to_owned(),
        source: source.into(),
    }
}
