//! A program that joins a running container.
//!
//! Two processes: the first is the host's in every way but one after the other gives all of
//! that up — cgroup, namespaces, user, capabilities — and only then starts the second, which is
//! the first that processes of the container can see. So there is no descriptor of the host's to
//! find in it even for a container that may trace its neighbours (CVE-2016-9962). Its memory is
//! a copy of the caller's until execve: to a container with `CAP_SYS_PTRACE` the caller's
//! environment is no secret.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rocker_sys::clone::InChild;
use rocker_sys::execute::StringVector;
use rustix::fs::{Mode, OFlags};
use rustix::thread::{ThreadNameSpaceType, move_into_thread_name_spaces};

use super::container::{Ended, confine, die_with_caller, join_cgroups, set_oom_score};
use super::credentials;
use super::launch::Launch;
use super::program::Program;
use super::streams::Streams;
use crate::cgroup::CgroupEntry;
use crate::process::{At, InitEnd, InitFailure, InitStep};
use crate::rootfs::{Root, Terminal, enter_working_directory};
use crate::seccomp;
use crate::spec::{Attachment, StdioFds, WindowSize};
use crate::users::ImageFileReader;

/// Everything that the session's processes need, made before the clone.
#[derive(Debug)]
pub(crate) struct SessionPlan {
    pub(crate) launch: Launch,
    pub(crate) entry: CgroupEntry,
    /// The container's init.
    pub(crate) target: OwnedFd,
    pub(crate) terminal: Option<WindowSize>,
    pub(crate) oom_score_adj: Option<i32>,
    pub(crate) seccomp: Option<seccomp::Program>,
    pub(crate) attachment: Attachment,
}

/// From `linux/magic.h`.
const DEVPTS_SUPER_MAGIC: u64 = 0x1cd1;

/// The life of the first process. It ends when the second is on its way.
pub(crate) fn run_session(
    plan: &SessionPlan,
    stdio: StdioFds,
    channel: &InitEnd,
    in_child: &InChild,
) -> u8 {
    match join_and_start(plan, stdio, channel, in_child) {
        Ok(()) => 0,
        Err(failure) => {
            channel.failed(&failure);
            125
        }
    }
}

fn join_and_start(
    plan: &SessionPlan,
    stdio: StdioFds,
    channel: &InitEnd,
    in_child: &InChild,
) -> Result<(), InitFailure> {
    keep_only(plan, &stdio, channel, in_child)?;
    rocker_sys::signal::reset_all().at(InitStep::Signals, "")?;
    rustix::process::umask(Mode::empty());
    join_cgroups(&plan.entry)?;
    let reader = ImageFileReader::prepare().at(InitStep::ReadUsers, "/proc/self/fd")?;
    set_oom_score(plan.oom_score_adj)?;
    enter_namespaces(plan.target.as_fd())?;

    let root = Root::of_this_process().at(InitStep::Namespace, "/")?;
    let identity = plan.launch.identify(&root, &reader)?;
    drop(reader);
    enter_working_directory(&root, &plan.launch.cwd)?;
    plan.launch.apply_limits()?;
    let terminal = plan
        .terminal
        .map(|size| open_terminal(&root, size))
        .transpose()?;
    let (streams, master) = Streams::choose(terminal, stdio);
    streams.give_to(identity.uid)?;
    let (program, env) = plan.launch.program(&identity);
    let provisional = credentials::assume(&identity, &plan.launch.rights)?;
    confine(plan.seccomp.as_ref(), &provisional)?;
    drop(root);

    // The process that the container can see is made with its own streams already: ours are the
    // host's terminal or files.
    streams.become_the_first_three()?;
    let mut keep = streams.descriptors();
    keep.push(channel.as_fd());
    keep.extend(master.iter().map(AsFd::as_fd));
    in_child
        .close_all_but(&keep)
        .at(InitStep::Stdio, "closing descriptors")?;
    let second = Second {
        streams: &streams,
        program: &program,
        env: &env,
        channel,
        attachment: plan.attachment,
    };
    let child = in_child
        .clone_sibling(|_| second.run())
        .at(InitStep::Fork, "")?;
    let mut told: Vec<BorrowedFd<'_>> = vec![child.pidfd.as_fd()];
    told.extend(master.iter().map(AsFd::as_fd));
    channel
        .ready(child.pid, &told)
        .at(InitStep::Stdio, "telling the host")
}

fn keep_only(
    plan: &SessionPlan,
    stdio: &StdioFds,
    channel: &InitEnd,
    in_child: &InChild,
) -> Result<(), InitFailure> {
    let mut keep = stdio.borrow().to_vec();
    keep.push(channel.as_fd());
    keep.extend(plan.entry.join_files().iter().map(AsFd::as_fd));
    keep.extend(plan.entry.clone_into());
    keep.push(plan.target.as_fd());
    in_child
        .close_all_but(&keep)
        .at(InitStep::Stdio, "closing descriptors")
}

/// All of the container's namespaces at once, or none.
fn enter_namespaces(target: BorrowedFd<'_>) -> Result<(), InitFailure> {
    let all = ThreadNameSpaceType::MOUNT
        | ThreadNameSpaceType::CONTROL_GROUP
        | ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME
        | ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION
        | ThreadNameSpaceType::PROCESS_ID
        | ThreadNameSpaceType::NETWORK;
    move_into_thread_name_spaces(target, all).at(InitStep::Namespace, "of the container")
}

/// A terminal from the container's own devpts. The container may have replaced names in its
/// /dev; a mount point it cannot move away, and that this is a devpts is looked at.
fn open_terminal(root: &Root, size: WindowSize) -> Result<Terminal, InitFailure> {
    let path = "/dev/pts";
    let refused = || InitFailure::refusal(InitStep::Terminal, "/dev/pts is no devpts");
    let pts = root
        .resolve_without_links(path)
        .at(InitStep::Terminal, path)?;
    let kind = rustix::fs::fstatfs(&pts).at(InitStep::Terminal, path)?;
    if u64::try_from(kind.f_type) != Ok(DEVPTS_SUPER_MAGIC) {
        return Err(refused());
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let pts = rustix::fs::openat(&pts, ".", flags, Mode::empty()).at(InitStep::Terminal, path)?;
    Terminal::open(pts.as_fd(), size)
}

/// The process that becomes the program.
struct Second<'a> {
    streams: &'a Streams,
    program: &'a Program,
    env: &'a StringVector,
    channel: &'a InitEnd,
    attachment: Attachment,
}

impl Second<'_> {
    fn run(&self) -> u8 {
        match self.become_program() {
            Ok(never) => match never {},
            Err(Ended::Failed(failure)) => self.channel.failed(&failure),
            Err(Ended::Abandoned) => {}
        }
        125
    }

    fn become_program(&self) -> Result<std::convert::Infallible, Ended> {
        if self.attachment == Attachment::DiesWithCaller {
            die_with_caller()?;
        }
        self.streams.lead_session()?;
        if !self.channel.wait_for_go() {
            return Err(Ended::Abandoned);
        }
        Err(self.program.execute(self.env).into())
    }
}
