//! Crash points: places where a killed rocker would leave something behind.
//!
//! With the cargo feature `crash-points`, `ROCKER_CRASH_AT=<name>` ends the process with
//! SIGKILL at that point, and a test walks all of them: whatever the point, one more
//! rocker command must leave nothing behind. Without the feature nothing is compiled in.
//!
//! `<name>,<file>` first writes the number of the dying process to that file, so that a test knows
//! that the crash really came, and whose it was: that of a monitor shows in no exit code.

/// Where a crash can be ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "each name says before or after which step it stands"
)]
pub enum CrashPoint {
    RunBeforeClaim,
    RunAfterClaim,
    RunAfterVolumes,
    RunAfterSpawn,
    CreateAfterInsert,
    CreateAfterDurable,
    MonitorBeforeFiles,
    MonitorAfterFiles,
    MonitorAfterPorts,
    MonitorAfterCreate,
    MonitorAfterNetwork,
    MonitorAfterStart,
    MonitorAfterRecord,
    MonitorAfterDurable,
    MonitorAfterReport,
    MonitorAfterExit,
    MonitorAfterExitRecord,
    MonitorAfterTellExit,
    TeardownAfterNetwork,
    TeardownAfterCgroup,
    TeardownAfterRunDir,
    TeardownAfterRelease,
    MonitorAfterLetGo,
    StopAfterRequest,
    StopAfterSignal,
    RemoveAfterIntent,
    RemoveAfterDurable,
    RemoveAfterDirectory,
    RemoveAfterVolumes,
    RemoveAfterDelete,
    PullAfterIntent,
    PullAfterCommit,
    PullAfterRecord,
    RmiAfterRecord,
    RmiAfterLayers,
    MountAfterDirectory,
    MountAfterMount,
    UnmountAfterUnmount,
    UnmountAfterDirectory,
    ImportAfterCommit,
    LoadAfterCommit,
    LoadAfterRecord,
    SaveAfterNote,
    SaveAfterLayers,
    CommitAfterPause,
    CommitAfterLayer,
    VolumeAfterRecord,
    VolumeRemoveAfterRecord,
    TrashBeforeEmpty,
}

impl CrashPoint {
    /// Every point, in the order in which a container meets them.
    pub const ALL: [Self; 49] = {
        use CrashPoint::*;
        [
            RunBeforeClaim,
            RunAfterClaim,
            RunAfterVolumes,
            RunAfterSpawn,
            CreateAfterInsert,
            CreateAfterDurable,
            MonitorBeforeFiles,
            MonitorAfterFiles,
            MonitorAfterPorts,
            MonitorAfterCreate,
            MonitorAfterNetwork,
            MonitorAfterStart,
            MonitorAfterRecord,
            MonitorAfterDurable,
            MonitorAfterReport,
            MonitorAfterExit,
            MonitorAfterExitRecord,
            MonitorAfterTellExit,
            TeardownAfterNetwork,
            TeardownAfterCgroup,
            TeardownAfterRunDir,
            TeardownAfterRelease,
            MonitorAfterLetGo,
            StopAfterRequest,
            StopAfterSignal,
            RemoveAfterIntent,
            RemoveAfterDurable,
            RemoveAfterDirectory,
            RemoveAfterVolumes,
            RemoveAfterDelete,
            PullAfterIntent,
            PullAfterCommit,
            PullAfterRecord,
            RmiAfterRecord,
            RmiAfterLayers,
            MountAfterDirectory,
            MountAfterMount,
            UnmountAfterUnmount,
            UnmountAfterDirectory,
            ImportAfterCommit,
            LoadAfterCommit,
            LoadAfterRecord,
            SaveAfterNote,
            SaveAfterLayers,
            CommitAfterPause,
            CommitAfterLayer,
            VolumeAfterRecord,
            VolumeRemoveAfterRecord,
            TrashBeforeEmpty,
        ]
    };

    /// The name for `ROCKER_CRASH_AT`: words in lower case joined by `-`.
    #[must_use]
    pub fn name(self) -> String {
        let mut name = String::new();
        for c in format!("{self:?}").chars() {
            if c.is_ascii_uppercase() && !name.is_empty() {
                name.push('-');
            }
            name.push(c.to_ascii_lowercase());
        }
        name
    }
}

/// Dies here if that was ordered.
#[cfg(feature = "crash-points")]
pub(crate) fn point(point: CrashPoint) {
    let Ok(order) = std::env::var("ROCKER_CRASH_AT") else {
        return;
    };
    let (name, mark) = order.split_once(',').unwrap_or((&order, ""));
    if name != point.name() {
        return;
    }
    let pid = rustix::process::getpid();
    if !mark.is_empty() {
        // without the mark, or if the signal cannot be sent, the test says that nothing came
        let _ = fs_err::write(mark, pid.as_raw_nonzero().to_string());
    }
    let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
}

/// Nothing, and nothing is left of it in the binary.
#[cfg(not(feature = "crash-points"))]
pub(crate) fn point(_: CrashPoint) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_point_has_a_name_of_its_own() {
        let mut names: Vec<_> = CrashPoint::ALL.iter().map(|point| point.name()).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), CrashPoint::ALL.len());
        assert_eq!(
            CrashPoint::TeardownAfterRunDir.name(),
            "teardown-after-run-dir"
        );
    }
}
