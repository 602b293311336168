//! The host's side of a start.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rocker_sys::clone::{Child, Namespaces, clone_process};
use rustix::fs::{Mode, OFlags};

use super::error::{CreateError, StartError};
use super::init_process::InitProcess;
use super::prepare::{self, available_capabilities, refuse_terminals};
use super::running::Running;
use super::sync::{FromInit, HostEnd, channel};
use crate::cgroup::{self, Cgroup, CgroupLayout};
use crate::executable;
use crate::init::{ContainerPlan, run_container};
use crate::spec::{ContainerSpec, NetworkNamespace, StdioFds};

/// Init exists in its own namespaces, assembles its file system and waits at the gate; no
/// user code has run. Dropping this kills it; [`Created::abort`] also removes its cgroup.
#[derive(Debug)]
pub struct Created {
    // Before the channel: init must be dead before it could see the channel close.
    init: InitProcess,
    channel: HostEnd,
    netns: OwnedFd,
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
    executable::verify().map_err(CreateError::Executable)?;
    refuse_terminals(&stdio)?;
    let stdio = stdio
        .above_the_first_three()
        .map_err(|source| prepare::failed("standard streams", source))?;
    let wanted = &spec.cgroup;
    let cgroup_plan = cgroup::plan(layout, &wanted.name, &wanted.limits, &wanted.devices)
        .map_err(CreateError::Cgroup)?;
    let available = available_capabilities()?;
    let draft = prepare::Draft::new(spec, &cgroup_plan, available)?;
    let netns = match &spec.network {
        NetworkNamespace::Path(path) => Some(open_netns(path)?),
        NetworkNamespace::New | NetworkNamespace::Host => None,
    };
    let cgroup = Cgroup::create(&cgroup_plan).map_err(CreateError::Cgroup)?;
    let made = draft
        .finish(&cgroup, netns)
        .and_then(|plan| spawn(spec, &plan, stdio));
    match made {
        Ok((init, channel, netns)) => Ok(Created {
            init,
            channel,
            netns,
            cgroup,
        }),
        Err(error) => {
            // The first error counts; what may be left is found by its name later.
            let _ = cgroup.remove();
            Err(error)
        }
    }
}

fn open_netns(path: &Path) -> Result<OwnedFd, CreateError> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).map_err(|source| CreateError::OpenNetns {
        path: path.to_owned(),
        source: source.into(),
    })
}

fn namespaces(network: &NetworkNamespace) -> Namespaces {
    let base = Namespaces::MOUNT
        .and(Namespaces::UTS)
        .and(Namespaces::IPC)
        .and(Namespaces::PID);
    match network {
        NetworkNamespace::New => base.and(Namespaces::NETWORK),
        NetworkNamespace::Host | NetworkNamespace::Path(_) => base,
    }
}

fn spawn(
    spec: &ContainerSpec,
    plan: &ContainerPlan,
    stdio: StdioFds,
) -> Result<(InitProcess, HostEnd, OwnedFd), CreateError> {
    let (host, init) = channel().map_err(|source| prepare::failed("a socket pair", source))?;
    prepare::hide_from_debuggers()?;
    let mut handed_over = Some((stdio, init));
    let child = clone_process(
        namespaces(&spec.network),
        plan.entry.clone_into(),
        |in_child| match handed_over.take() {
            Some((stdio, init)) => run_container(plan, stdio, &init, in_child),
            None => 125,
        },
    )
    .map_err(prepare::clone_error)?;
    // The child has copies of these; ours would keep the socket from reading as closed.
    drop(handed_over);
    let netns = netns_of(spec, plan, &child);
    let mut init = InitProcess::new(child);
    match netns {
        Ok(netns) => Ok((init, host, netns)),
        Err(source) => Err(failed_early(&mut init, &host, source)),
    }
}

/// Why the namespaces of a new init cannot be had: most likely it is dead already, and has
/// said why.
fn failed_early(init: &mut InitProcess, host: &HostEnd, source: std::io::Error) -> CreateError {
    match host.receive() {
        Ok(FromInit::Failed(failure)) => CreateError::Init(StartError::Init(failure)),
        Ok(FromInit::EndOfFile) => CreateError::Init(died(init)),
        Ok(FromInit::Ready { .. }) | Err(_) => {
            prepare::failed("the network namespace's descriptor", source)
        }
    }
}

fn netns_of(spec: &ContainerSpec, plan: &ContainerPlan, child: &Child) -> std::io::Result<OwnedFd> {
    let open = |path: String| {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        rustix::fs::open(path, flags, Mode::empty()).map_err(Into::into)
    };
    match (&spec.network, &plan.netns) {
        (_, Some(existing)) => existing.try_clone(),
        (NetworkNamespace::Host, None) => open("/proc/self/ns/net".to_owned()),
        (NetworkNamespace::New | NetworkNamespace::Path(_), None) => {
            rocker_sys::namespace::network_of(child.pidfd.as_fd())
                .or_else(|_| open(format!("/proc/{}/ns/net", child.pid)))
        }
    }
}

impl Created {
    /// Init, as the host numbers it.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.init.pid()
    }

    /// The container's network namespace, where `rocker-net` attaches its end of the pair.
    #[must_use]
    pub fn netns(&self) -> BorrowedFd<'_> {
        self.netns.as_fd()
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
    /// [`StartError`]; init is collected and the cgroup removed then.
    pub fn start(mut self) -> Result<Running, StartError> {
        match self.open_gate() {
            Ok((start_time_ticks, terminal)) => {
                let pid = self.init.pid();
                let pidfd = self.init.release().ok_or_else(gone)?;
                Ok(Running {
                    pid,
                    start_time_ticks,
                    pidfd,
                    terminal,
                    cgroup: self.cgroup,
                })
            }
            Err(error) => {
                self.abort();
                Err(error)
            }
        }
    }

    fn open_gate(&mut self) -> Result<(u64, Option<OwnedFd>), StartError> {
        let start_time =
            rocker_sys::process::start_time_ticks(self.init.pid()).map_err(StartError::Channel)?;
        let terminal = match self.channel.receive().map_err(StartError::Channel)? {
            FromInit::Ready { mut fds, .. } => fds.pop(),
            FromInit::Failed(failure) => return Err(StartError::Init(failure)),
            FromInit::EndOfFile => return Err(died(&mut self.init)),
        };
        // If init died at the gate, what it said before is still to be read.
        let opened = self.channel.go();
        match self.channel.receive().map_err(StartError::Channel)? {
            FromInit::EndOfFile if opened.is_ok() => Ok((start_time, terminal)),
            FromInit::Failed(failure) => Err(StartError::Init(failure)),
            FromInit::EndOfFile | FromInit::Ready { .. } => Err(died(&mut self.init)),
        }
    }

    /// Kills init, collects it and removes its cgroup.
    pub fn abort(self) {
        drop(self.init);
        let _ = self.cgroup.remove();
    }
}

fn gone() -> StartError {
    StartError::Died {
        status: "collected already".to_owned(),
    }
}

/// What is known of a process that ended without a word.
pub(super) fn died(process: &mut InitProcess) -> StartError {
    let status = match process.collect() {
        Ok(status) => status.to_string(),
        Err(error) => error.to_string(),
    };
    StartError::Died { status }
}
