//! From the host's root to the container's.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::CWD;
use rustix::mount::{MoveMountFlags, UnmountFlags, move_mount, unmount};

use super::Assembly;
use crate::process::{At, InitFailure, InitStep};

/// Attaches the new root on top of the old one. Absolute paths still lead to the host until
/// [`Assembly::enter`]: a path that starts at `/` starts below what is mounted there.
///
/// Before Linux 6.15 nothing can be mounted inside a detached tree, so this comes first.
pub(super) fn attach_over_old_root(root: BorrowedFd<'_>) -> Result<(), InitFailure> {
    let by_fd = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    move_mount(root, "", CWD, "/", by_fd).at(InitStep::MountRootfs, "attaching")
}

impl Assembly {
    /// Makes the container's root the root of this process and drops the host's.
    pub(crate) fn enter(&self) -> Result<(), InitFailure> {
        rustix::process::fchdir(self.root.as_fd()).at(InitStep::PivotRoot, "entering")?;
        // With both names the same directory, the old root ends up on top of the new one,
        // and no directory in the image is needed to hold it. See pivot_root(2), NOTES.
        rustix::process::pivot_root(".", ".").at(InitStep::PivotRoot, "pivot_root")?;
        unmount(".", UnmountFlags::DETACH).at(InitStep::PivotRoot, "dropping the old root")?;
        rustix::process::chdir("/").at(InitStep::PivotRoot, "chdir")
    }

    /// Changes into the working directory and makes sure that it lies in the container
    /// (CVE-2024-21626).
    pub(crate) fn enter_working_directory(&self, path: &str) -> Result<(), InitFailure> {
        enter_working_directory(&self.root, path)
    }
}

/// See [`Assembly::enter_working_directory`]; also for exec sessions.
pub(crate) fn enter_working_directory(root: &super::Root, path: &str) -> Result<(), InitFailure> {
    let refused = || InitFailure::refusal(InitStep::RefuseWorkingDirectory, path);
    let directory = root.resolve(path).map_err(|error| {
        if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) {
            return refused();
        }
        InitFailure {
            step: InitStep::WorkingDirectory,
            object: path.to_owned(),
            source: Some(error),
        }
    })?;
    rustix::process::fchdir(&directory).at(InitStep::WorkingDirectory, path)?;
    let cwd = rustix::process::getcwd(Vec::new()).at(InitStep::WorkingDirectory, path)?;
    // The kernel writes "(unreachable)/…" for a directory outside of the root.
    if cwd.to_bytes().starts_with(b"/") {
        Ok(())
    } else {
        Err(refused())
    }
}
