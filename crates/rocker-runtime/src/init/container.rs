//! The first process of a container, from clone to execve.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rocker_sys::clone::InChild;
use rocker_sys::execute::{StringVector, execute_fd};
use rustix::fs::{Mode, OFlags};
use rustix::process::Signal;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::credentials::{self, Provisional};
use super::launch::Launch;
use super::program::Program;
use super::streams::Streams;
use crate::cgroup::CgroupEntry;
use crate::plan::Sysctl;
use crate::process::{At, InitEnd, InitFailure, InitStep};
use crate::reaper;
use crate::rootfs::{Assembly, Blueprint};
use crate::seccomp;
use crate::spec::StdioFds;
use crate::users::ImageFileReader;

/// Everything that the child needs, made before the clone.
#[derive(Debug)]
pub(crate) struct ContainerPlan {
    pub(crate) blueprint: Blueprint,
    pub(crate) launch: Launch,
    pub(crate) entry: CgroupEntry,
    /// An existing network namespace to join.
    pub(crate) netns: Option<OwnedFd>,
    pub(crate) hostname: Option<String>,
    pub(crate) sysctls: Vec<Sysctl>,
    pub(crate) oom_score_adj: Option<i32>,
    pub(crate) seccomp: Option<seccomp::Program>,
    /// rocker's own protected binary, when it stays as pid 1.
    pub(crate) reaper: Option<OwnedFd>,
}

/// The life of the child. Returns its exit status, which nobody reads: the failure has been
/// told through the socket.
pub(crate) fn run_container(
    plan: &ContainerPlan,
    stdio: StdioFds,
    channel: &InitEnd,
    in_child: &InChild,
) -> u8 {
    match become_container(plan, stdio, channel, in_child) {
        Ok(never) => match never {},
        Err(Ended::Failed(failure)) => channel.failed(&failure),
        Err(Ended::Abandoned) => {}
    }
    125
}

/// Why init did not become the program.
#[derive(Debug)]
pub(super) enum Ended {
    Failed(InitFailure),
    /// The host's side went away.
    Abandoned,
}

impl From<InitFailure> for Ended {
    fn from(failure: InitFailure) -> Self {
        Self::Failed(failure)
    }
}

fn become_container(
    plan: &ContainerPlan,
    stdio: StdioFds,
    channel: &InitEnd,
    in_child: &InChild,
) -> Result<std::convert::Infallible, Ended> {
    keep_only(plan, &stdio, channel, in_child)?;
    rocker_sys::signal::reset_all().at(InitStep::Signals, "")?;
    // Nodes and directories below are made with exactly the modes that are asked for.
    rustix::process::umask(Mode::empty());
    enter_namespaces(plan)?;
    // While /proc is the host's and /proc/self is us.
    let reader = ImageFileReader::prepare().at(InitStep::ReadUsers, "/proc/self/fd")?;
    set_oom_score(plan.oom_score_adj)?;

    let mut assembly = Assembly::build(&plan.blueprint)?;
    if let Some(hostname) = &plan.hostname {
        rustix::system::sethostname(hostname.as_bytes()).at(InitStep::Hostname, hostname)?;
    }
    let (late, early): (Vec<_>, Vec<_>) = plan.sysctls.iter().partition(|s| s.needs_network());
    write_sysctls(&assembly, &early)?;
    assembly.enter()?;

    let identity = plan.launch.identify(&assembly.root, &reader)?;
    assembly.enter_working_directory(&plan.launch.cwd)?;
    plan.launch.apply_limits()?;
    let (streams, master) = Streams::choose(assembly.terminal.take(), stdio);
    streams.give_to(identity.uid)?;
    streams.become_the_first_three()?;
    streams.lead_session()?;
    let (program, env) = plan.launch.program(&identity);

    let told: Vec<BorrowedFd<'_>> = master.iter().map(AsFd::as_fd).collect();
    if !late.is_empty() {
        // These wait for the network, so everything after them does too.
        die_with_caller()?;
        pass_gate(channel, &told)?;
        write_sysctls(&assembly, &late)?;
    }
    let provisional = credentials::assume(&identity, &plan.launch.rights)?;
    die_with_caller()?;
    if late.is_empty() {
        channel
            .ready(0, &told)
            .at(InitStep::Stdio, "telling the host")?;
    }
    drop(master);
    drop(assembly);
    drop(reader);
    confine(plan.seccomp.as_ref(), &provisional)?;
    if late.is_empty() && !channel.wait_for_go() {
        return Err(Ended::Abandoned);
    }
    Err(execute(plan, channel, &program, &env, in_child).into())
}

/// Closes what the host's process had open and the container has no business with.
fn keep_only(
    plan: &ContainerPlan,
    stdio: &StdioFds,
    channel: &InitEnd,
    in_child: &InChild,
) -> Result<(), InitFailure> {
    let mut keep = stdio.borrow().to_vec();
    keep.push(channel.as_fd());
    keep.extend(plan.entry.join_files().iter().map(AsFd::as_fd));
    keep.extend(plan.entry.clone_into());
    keep.extend(plan.netns.iter().map(AsFd::as_fd));
    keep.extend(plan.reaper.iter().map(AsFd::as_fd));
    in_child
        .close_all_but(&keep)
        .at(InitStep::Stdio, "closing descriptors")
}

/// Has the kernel kill this process when its caller ends, which must still be there when it is
/// next asked to open the gate. A change of user takes the wish back, and so does a program that
/// changes its user or is set-user-ID (`PR_SET_PDEATHSIG` in prctl(2)).
pub(super) fn die_with_caller() -> Result<(), InitFailure> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .at(InitStep::Signals, "parent death")
}

/// Joins the cgroups and hides what lies above them, then joins a network if one was named.
fn enter_namespaces(plan: &ContainerPlan) -> Result<(), InitFailure> {
    join_cgroups(&plan.entry)?;
    rocker_sys::namespace::unshare_cgroup().at(InitStep::Namespace, "cgroup")?;
    if let Some(netns) = &plan.netns {
        move_into_link_name_space(netns.as_fd(), Some(LinkNameSpaceType::Network))
            .at(InitStep::Namespace, "net")?;
    }
    Ok(())
}

/// Enters the v1 cgroups from inside: 40 times as fast as being moved from outside.
pub(super) fn join_cgroups(entry: &CgroupEntry) -> Result<(), InitFailure> {
    for file in entry.join_files() {
        rustix::io::write(file, b"0").at(InitStep::JoinCgroup, "")?;
    }
    Ok(())
}

/// Writes this process's own `oom_score_adj`, through the host's procfs.
pub(super) fn set_oom_score(score: Option<i32>) -> Result<(), InitFailure> {
    let Some(score) = score else {
        return Ok(());
    };
    let path = "/proc/self/oom_score_adj";
    let file = rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty());
    let file = file.at(InitStep::OomScore, &score.to_string())?;
    rustix::io::write(&file, score.to_string().as_bytes())
        .map(drop)
        .at(InitStep::OomScore, &score.to_string())
}

/// Writes settings through the private handle on the container's own /proc/sys.
fn write_sysctls(assembly: &Assembly, sysctls: &[&Sysctl]) -> Result<(), InitFailure> {
    use rustix::fs::ResolveFlags;
    if sysctls.is_empty() {
        return Ok(());
    }
    let directory = assembly.sysctl_directory()?;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS;
    for sysctl in sysctls {
        let name = &sysctl.path;
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let file = rustix::fs::openat2(directory, name.as_str(), flags, Mode::empty(), resolve)
            .at(InitStep::Sysctl, name)?;
        rustix::io::write(&file, sysctl.value.as_bytes()).at(InitStep::Sysctl, name)?;
    }
    Ok(())
}

fn pass_gate(channel: &InitEnd, fds: &[BorrowedFd<'_>]) -> Result<(), Ended> {
    channel
        .ready(0, fds)
        .at(InitStep::Stdio, "telling the host")?;
    if channel.wait_for_go() {
        Ok(())
    } else {
        Err(Ended::Abandoned)
    }
}

/// Loads the filter and gives up what only that needed.
pub(super) fn confine(
    filter: Option<&seccomp::Program>,
    provisional: &Provisional,
) -> Result<(), InitFailure> {
    if let Some(filter) = filter {
        filter.load().at(InitStep::Seccomp, "")?;
    }
    credentials::settle(provisional)
}

/// Becomes the program, or rocker's own reaper that starts it.
fn execute(
    plan: &ContainerPlan,
    channel: &InitEnd,
    program: &Program,
    env: &StringVector,
    in_child: &InChild,
) -> InitFailure {
    let Some(own_binary) = &plan.reaper else {
        return program.execute(env);
    };
    // The reaper tells through this descriptor whether the program could be started.
    let survive = rustix::io::fcntl_setfd(channel.as_fd(), rustix::io::FdFlags::empty());
    if let Err(failure) = survive.at(InitStep::Stdio, "telling the host") {
        return failure;
    }
    let argv = reaper::arguments(channel.as_fd(), program.argv());
    // Executed anew, it has nothing of the host's process in its memory. That needs a static
    // binary that the user may execute; any other goes on as it is, where only a container
    // with CAP_SYS_PTRACE could look into it.
    let _ = execute_fd(own_binary.as_fd(), &argv, env);
    let own = channel.duplicate().and_then(|own| {
        in_child.close_all_but(&[own.as_fd()])?;
        Ok(own)
    });
    match own.at(InitStep::Stdio, "closing descriptors") {
        Ok(own) => rocker_sys::process::exit_now(reaper::run(program, env, own).into()),
        Err(failure) => failure,
    }
}
