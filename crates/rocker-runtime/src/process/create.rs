//! The host's side of a start.

use std::os::fd::BorrowedFd;

use super::error::{CreateError, StartError};
use super::running::Running;
use crate::cgroup::{Cgroup, CgroupLayout};
use crate::spec::{ContainerSpec, StdioFds};

/// Init exists in its own namespaces, assembles its file system and waits at the gate; no
/// user code has run. Dropping this kills it; [`Created::abort`] also removes its cgroup.
#[derive(Debug)]
pub struct Created {
    cgroup: Cgroup,
}

/// Clones a process into the container's namespaces and cgroup.
///
/// Returns as soon as the process exists: the caller attaches the network while init mounts.
/// What goes wrong in init is reported by [`Created::start`].
///
/// # Errors
///
/// [`CreateError`]; nothing is left behind then.
pub fn create(
    spec: &ContainerSpec,
    layout: &CgroupLayout,
    stdio: StdioFds,
) -> Result<Created, CreateError> {
    let _ = (spec, layout, stdio);
    todo!()
}

impl Created {
    /// Init, as the host numbers it.
    #[must_use]
    pub fn pid(&self) -> i32 {
        todo!()
    }

    /// The container's network namespace, where `rocker-net` attaches its end of the pair.
    #[must_use]
    pub fn netns(&self) -> BorrowedFd<'_> {
        todo!()
    }

    /// The container's cgroup.
    #[must_use]
    pub fn cgroup(&self) -> &Cgroup {
        &self.cgroup
    }

    /// Waits for init to be ready, opens the gate and returns once `execve` has succeeded.
    ///
    /// # Errors
    ///
    /// [`StartError`]; init is reaped and the cgroup removed then.
    pub fn start(self) -> Result<Running, StartError> {
        todo!()
    }

    /// Kills init, reaps it and removes its cgroup.
    pub fn abort(self) {
        todo!()
    }
}
