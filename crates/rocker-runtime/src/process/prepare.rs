//! What happens on the host before a clone: decisions, and descriptors to open.

use std::io;
use std::os::fd::OwnedFd;

use rocker_types::CapabilitySet;
use rustix::process::DumpableBehavior;

use super::error::CreateError;
use crate::cgroup::{Cgroup, CgroupPlan, Version};
use crate::executable;
use crate::init::{ContainerPlan, Launch};
use crate::plan::{CgroupMount, PlanError, Sysctl, plan_mounts};
use crate::rootfs::{Blueprint, OverlayPlan, RootSource, Writable};
use crate::seccomp;
use crate::spec::{ContainerSpec, RootfsSpec, StdioFds};

/// A container's plan before anything of it exists.
#[derive(Debug)]
pub(super) struct Draft {
    blueprint: Blueprint,
    launch: Launch,
    hostname: Option<String>,
    sysctls: Vec<Sysctl>,
    oom_score_adj: Option<i32>,
    seccomp: Option<seccomp::Program>,
    init: bool,
}

impl Draft {
    /// Decides everything and touches nothing.
    pub(super) fn new(
        spec: &ContainerSpec,
        cgroups: &CgroupPlan,
        available: CapabilitySet,
    ) -> Result<Self, CreateError> {
        let launch = plan_launch(&spec.process, available)?;
        let (steps, sources) =
            plan_mounts(spec, cgroup_mounts(cgroups)).map_err(CreateError::Plan)?;
        let sysctls = spec
            .sysctls
            .iter()
            .map(|(name, value)| Sysctl::plan(name, value, &spec.network))
            .collect::<Result<_, _>>()
            .map_err(CreateError::Plan)?;
        Ok(Self {
            blueprint: Blueprint {
                root: root_source(&spec.rootfs),
                sources,
                steps,
                terminal: spec.process.terminal,
            },
            launch,
            hostname: checked_hostname(spec.hostname.as_deref()).map_err(CreateError::Plan)?,
            sysctls,
            oom_score_adj: spec.process.oom_score_adj,
            seccomp: seccomp::compile(spec.security.seccomp, spec.process.capabilities),
            init: spec.process.init,
        })
    }

    /// Opens what init needs of the host.
    pub(super) fn finish(
        self,
        cgroup: &Cgroup,
        netns: Option<OwnedFd>,
    ) -> Result<ContainerPlan, CreateError> {
        let reaper = self.init.then(executable::protected).transpose();
        Ok(ContainerPlan {
            blueprint: self.blueprint,
            launch: self.launch,
            entry: cgroup.entry().map_err(CreateError::Cgroup)?,
            netns,
            hostname: self.hostname,
            sysctls: self.sysctls,
            oom_score_adj: self.oom_score_adj,
            seccomp: self.seccomp,
            reaper: reaper.map_err(CreateError::Executable)?,
        })
    }
}

/// Plans a process and refuses capabilities that this host cannot give.
pub(super) fn plan_launch(
    spec: &crate::spec::ProcessSpec,
    available: CapabilitySet,
) -> Result<Launch, CreateError> {
    let launch = Launch::plan(spec, available).map_err(CreateError::Plan)?;
    let missing = launch.missing_capabilities(available);
    if missing.is_empty() {
        return Ok(launch);
    }
    let names = missing.join(" ");
    Err(CreateError::CapabilityMissing { names })
}

fn root_source(rootfs: &RootfsSpec) -> RootSource {
    match rootfs {
        RootfsSpec::Overlay {
            lowers,
            upper,
            work,
            volatile,
            ..
        } => RootSource::Overlay(OverlayPlan {
            lowers: lowers.clone(),
            writable: Some(Writable {
                upper: upper.clone(),
                work: work.clone(),
                volatile: *volatile,
            }),
        }),
        RootfsSpec::Directory { path, .. } => RootSource::Directory(path.clone()),
    }
}

/// Where the container finds its own cgroups: on pure v2 the one on /sys/fs/cgroup itself, else
/// each in a directory that is called like the host's mount.
fn cgroup_mounts(plan: &CgroupPlan) -> Vec<CgroupMount> {
    let pure = plan.hierarchies.len() == 1
        && plan.hierarchies.iter().all(|hierarchy| {
            hierarchy.version == Version::V2 && hierarchy.mount.ends_with("sys/fs/cgroup")
        });
    let name = |path: &std::path::Path| Some(path.file_name()?.to_str()?.to_owned());
    let mount = |hierarchy: &crate::cgroup::HierarchyPlan| CgroupMount {
        directory: hierarchy.directory.clone(),
        name: if pure { None } else { name(&hierarchy.mount) },
    };
    plan.hierarchies.iter().map(mount).collect()
}

fn checked_hostname(name: Option<&str>) -> Result<Option<String>, PlanError> {
    let Some(name) = name else {
        return Ok(None);
    };
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    if name.is_empty() || name.len() > 64 || !name.bytes().all(plain) {
        let name = name.to_owned();
        return Err(PlanError::Hostname { name });
    }
    Ok(Some(name.to_owned()))
}

/// What this process could hand on: its bounding set, which also bounds what it holds.
pub(super) fn available_capabilities() -> Result<CapabilitySet, CreateError> {
    let sets = rustix::thread::capabilities(None)
        .map_err(|source| failed("capabilities", source.into()))?;
    let mut bounding = 0_u64;
    for number in 0..64_u32 {
        let one = rustix::thread::CapabilitySet::from_bits_retain(1 << number);
        match rustix::thread::capability_is_in_bounding_set(one) {
            Ok(true) => bounding |= 1 << number,
            Ok(false) => {}
            Err(_) => break,
        }
    }
    Ok(CapabilitySet::from_bits(bounding & sets.permitted.bits()))
}

/// A container never gets the caller's own terminal: it could type into it (TIOCSTI).
pub(super) fn refuse_terminals(stdio: &StdioFds) -> Result<(), CreateError> {
    if stdio.borrow().into_iter().any(rustix::termios::isatty) {
        return Err(CreateError::TerminalAsStream);
    }
    Ok(())
}

/// From here to execve no process of a container can look into this one or its children, but
/// with CAP_SYS_PTRACE of the host (CVE-2016-9962).
pub(super) fn hide_from_debuggers() -> Result<(), CreateError> {
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(|source| failed("the process (dumpable)", source.into()))
}

/// An error of the clone itself.
pub(super) fn clone_error(source: io::Error) -> CreateError {
    if source.raw_os_error() == Some(rustix::io::Errno::INVAL.raw_os_error())
        && rocker_sys::process::ensure_single_threaded().is_err()
    {
        CreateError::Threads(source)
    } else {
        CreateError::Clone(source)
    }
}

/// An error of preparing something.
pub(super) fn failed(what: &'static str, source: io::Error) -> CreateError {
    CreateError::Prepare { what, source }
}
