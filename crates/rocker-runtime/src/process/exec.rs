//! Another program in a running container.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use rocker_sys::clone::{Child, Namespaces, clone_process};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::create::died;
use super::error::{CreateError, ExecError, StartError};
use super::init_process::InitProcess;
use super::prepare::{self, available_capabilities, plan_launch, refuse_terminals};
use super::running::Running;
use super::sync::{FromInit, HostEnd, channel};
use crate::cgroup::{Cgroup, CgroupLayout};
use crate::executable;
use crate::init::{SessionPlan, run_session};
use crate::seccomp;
use crate::spec::{ExecSpec, StdioFds};

/// Starts a program in all namespaces of a running container, in a child of its cgroup.
///
/// Returns once `execve` has succeeded. The program is a child of this process.
///
/// # Errors
///
/// [`ExecError`]; nothing is left behind then.
pub fn exec(spec: &ExecSpec, layout: &CgroupLayout, stdio: StdioFds) -> Result<Running, ExecError> {
    executable::verify()
        .map_err(CreateError::Executable)
        .map_err(ExecError::Create)?;
    refuse_terminals(&stdio).map_err(ExecError::Create)?;
    let stdio = stdio
        .above_the_first_three()
        .map_err(|source| ExecError::Create(prepare::failed("standard streams", source)))?;
    let available = available_capabilities().map_err(ExecError::Create)?;
    let launch = plan_launch(&spec.process, available).map_err(ExecError::Create)?;
    let target = open_target(spec)?;
    let cgroup = session_cgroup(spec, layout)?;
    let plan = SessionPlan {
        launch,
        entry: match cgroup.entry() {
            Ok(entry) => entry,
            Err(error) => return Err(undo(&cgroup, CreateError::Cgroup(error))),
        },
        target,
        terminal: spec.process.terminal,
        oom_score_adj: spec.process.oom_score_adj,
        seccomp: seccomp::compile(spec.seccomp, spec.process.capabilities),
        attachment: spec.attachment,
    };
    let (first, host) = match spawn(&plan, stdio) {
        Ok(spawned) => spawned,
        Err(error) => return Err(undo(&cgroup, error)),
    };
    match open_gate(first, &host) {
        Ok(session) => Ok(Running {
            pid: session.pid,
            start_time_ticks: session.start_time_ticks,
            pidfd: session.pidfd,
            terminal: session.terminal,
            cgroup,
        }),
        Err(error) => {
            let _ = cgroup.remove();
            Err(ExecError::Start(error))
        }
    }
}

fn undo(cgroup: &Cgroup, error: CreateError) -> ExecError {
    // The first error counts; what may be left is found by its name later.
    let _ = cgroup.remove();
    ExecError::Create(error)
}

/// The container's init by pidfd, and proof that it is the one that was meant: once it is open
/// the number cannot be given to another process behind our back.
fn open_target(spec: &ExecSpec) -> Result<OwnedFd, ExecError> {
    let pid = spec.target_pid;
    let gone = || ExecError::NotRunning { pid };
    let number = Pid::from_raw(pid).ok_or_else(gone)?;
    let target = pidfd_open(number, PidfdFlags::empty()).map_err(|_| gone())?;
    if rocker_sys::process::is_alive(pid, spec.start_time_ticks) {
        Ok(target)
    } else {
        Err(gone())
    }
}

/// Numbers the sessions of this process.
static SESSIONS: AtomicU32 = AtomicU32::new(0);

/// What the names of sessions begin with; the number of the process that starts it follows.
const SESSION_PREFIX: &str = "exec-";

/// Whether the process that started a session of this name is gone. A detached session's
/// is, so its cgroup is removed by whom comes next.
fn is_orphaned(session: &str) -> bool {
    session
        .strip_prefix(SESSION_PREFIX)
        .and_then(|rest| rest.split('-').next())
        .is_some_and(|pid| !Path::new("/proc").join(pid).exists())
}

fn session_cgroup(spec: &ExecSpec, layout: &CgroupLayout) -> Result<Cgroup, ExecError> {
    let number = SESSIONS.fetch_add(1, Ordering::Relaxed);
    let session = format!("{SESSION_PREFIX}{}-{number}", std::process::id());
    let name = spec
        .cgroup
        .session(&session)
        .map_err(|source| prepare::failed("the session's name", std::io::Error::other(source)))
        .map_err(ExecError::Create)?;
    let container = Cgroup::open(layout, &spec.cgroup);
    container.remove_sessions(|other| other == session || is_orphaned(other));
    container
        .create_session(&name)
        .map_err(CreateError::Cgroup)
        .map_err(ExecError::Create)
}

fn spawn(plan: &SessionPlan, stdio: StdioFds) -> Result<(InitProcess, HostEnd), CreateError> {
    let (host, init) = channel().map_err(|source| prepare::failed("a socket pair", source))?;
    prepare::hide_from_debuggers()?;
    let mut handed_over = Some((stdio, init));
    let child =
        clone_process(
            Namespaces::NONE,
            plan.entry.clone_into(),
            |in_child| match handed_over.take() {
                Some((stdio, init)) => run_session(plan, stdio, &init, in_child),
                None => 125,
            },
        )
        .map_err(prepare::clone_error)?;
    drop(handed_over);
    Ok((InitProcess::new(child), host))
}

/// A program that runs in the container.
struct Session {
    pid: i32,
    start_time_ticks: u64,
    pidfd: OwnedFd,
    terminal: Option<OwnedFd>,
}

fn open_gate(mut first: InitProcess, host: &HostEnd) -> Result<Session, StartError> {
    let (pid, mut fds) = match host.receive().map_err(StartError::Channel)? {
        FromInit::Ready { pid, fds } => (pid, fds.into_iter()),
        FromInit::Failed(failure) => return Err(StartError::Init(failure)),
        FromInit::EndOfFile => return Err(died(&mut first)),
    };
    let Some(pidfd) = fds.next() else {
        return Err(died(&mut first));
    };
    let terminal = fds.next();
    let mut second = InitProcess::new(Child { pid, pidfd });
    // The first process has done its part; it ends by itself.
    first.collect().map_err(StartError::Channel)?;
    let start_time_ticks =
        rocker_sys::process::start_time_ticks(pid).map_err(StartError::Channel)?;
    let opened = host.go();
    match host.receive().map_err(StartError::Channel)? {
        FromInit::EndOfFile if opened.is_ok() => {}
        FromInit::Failed(failure) => return Err(StartError::Init(failure)),
        FromInit::EndOfFile | FromInit::Ready { .. } => return Err(died(&mut second)),
    }
    match second.release() {
        Some(pidfd) => Ok(Session {
            pid,
            start_time_ticks,
            pidfd,
            terminal,
        }),
        None => Err(StartError::Died {
            status: "collected already".to_owned(),
        }),
    }
}
