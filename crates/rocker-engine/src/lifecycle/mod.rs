//! The monitor's own life: start a container, watch it, record its end, take everything away,
//! and perhaps start it again.
//!
//! ```text
//!   rocker run / start                      monitor (this module)
//!   claims name, address, ports, intents
//!   spawns, hands over the lock ──────────▶ own session
//!                                           files in the run directory, ports bound
//!                                           clone: init mounts, meanwhile veth and rules
//!                                           gate opened, program runs
//!                                           recorded, live; kept ones also durable
//!                               ◀────────── Started (or Failed, after everything was undone)
//!                                           … streams, log, control socket …
//!                                           exit recorded, then told to every client
//!                                           published ports, cgroup gone
//!                                           (restart policy: back to the ports)
//!                                           run directory gone; lease, name, lock released
//!                                           veth gone, idle bridge gone: nobody waits for it
//! ```
//!
//! The container's lock is held from the first line to the last but one: who finds it free and
//! the intents there knows that the owner died. A container does not outlive its monitor: init
//! asks the kernel to be killed with it, because nobody would be left to read its output or
//! to know how it ended. Where the program has taken that back by changing its user, the next
//! rocker command ends it.

pub(crate) mod files;
mod finish;
mod restart;
pub(crate) mod spec;
mod start;

use restart::Afterwards;

pub(crate) use files::VOLATILE_MARK;
pub(crate) use finish::EndNote;

use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::time::Duration;

use rocker_db::OwnerLock;
use rocker_net::HostInterface;
use rocker_runtime::cgroup::{CgroupLayout, leave_callers_cgroup};
use rocker_types::{ContainerId, Layout};

use crate::EngineError;
use crate::control::ControlListener;
use crate::crash::{self, CrashPoint};
use crate::definition::Definition;
use crate::engine::Engine;
use crate::monitor::STALL_LIMIT;
use crate::report::{self, MonitorFailure, Report};

/// How long the last monitor leaves the idle bridge standing: making it anew costs the next
/// container two milliseconds, and taking it down would make that container wait for fifty.
const LINGER: Duration = Duration::from_millis(500);

/// Shared by the monitors that may take the bridge away; free when all of them are dead.
pub(crate) const LINGER_LOCK: &str = "bridge";

/// What the command line handed over.
struct Orders {
    layout: Layout,
    id: ContainerId,
    lock: OwnerLock,
    report: OwnedFd,
    client: Option<OwnedFd>,
}

/// What stays the same from start to restart.
pub(crate) struct Watch {
    layout: Layout,
    id: ContainerId,
    /// The container's name, for messages.
    name: String,
    definition: Definition,
    kept: bool,
    listener: ControlListener,
    /// What the container's processes are given back; the monitor itself is spared longer.
    oom_score_adj: Option<i32>,
}

/// The whole life of a monitor. `arguments` are the words after
/// [`MONITOR_WORD`](crate::MONITOR_WORD); nobody but rocker itself calls it.
#[must_use]
pub fn monitor_main(arguments: &[String]) -> ExitCode {
    let Some(orders) = parse(arguments) else {
        return ExitCode::from(2);
    };
    let _ = rustix::thread::set_name(c"rocker-monitor");
    // a monitor that a signal ends takes its container along; init unblocks what is its own
    let _ = rocker_sys::signal::block_all();
    // in the caller's session the monitor would die with the caller's terminal
    let _ = rustix::process::setsid();
    // and a file system could not be unmounted because somebody once stood there
    let _ = rustix::process::chdir("/");
    if let Ok(cgroups) = CgroupLayout::detect() {
        leave_callers_cgroup(&cgroups);
    }
    match watch(orders) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::debug!(%error, "the monitor failed");
            ExitCode::FAILURE
        }
    }
}

fn parse(arguments: &[String]) -> Option<Orders> {
    let [root, runroot, id, fds @ ..] = arguments else {
        return None;
    };
    let mut fds = fds.iter().map(|fd| {
        fd.parse()
            .ok()
            .and_then(|fd| rocker_sys::inherited::take(fd).ok())
    });
    let layout = Layout::new(root, runroot);
    let id: ContainerId = id.parse().ok()?;
    let lock = OwnerLock::inherited(fds.next()??, layout.container_lock(&id));
    let report = fds.next()??;
    let client = match fds.next() {
        Some(client) => Some(client?),
        None => None,
    };
    Some(Orders {
        layout,
        id,
        lock,
        report,
        client,
    })
}

fn watch(orders: Orders) -> Result<(), EngineError> {
    let layout = orders.layout.clone();
    // whoever finds this free knows that no monitor will take an idle bridge away
    let lingers = OwnerLock::share(&layout.locks().join(LINGER_LOCK));
    let afterwards = run(orders);
    // From here on nothing waits for this process, so it may wait: for the kernel, for another
    // container that wants the bridge, and for the client in the foreground, which may have
    // stopped reading.
    let Afterwards {
        ended,
        interface,
        engine,
    } = match afterwards {
        Ok(afterwards) => afterwards,
        Err(error) => {
            let gone = Engine::open_as_is(&layout)
                .and_then(|mut engine| engine.leave_bridge(None, LINGER));
            return gone.and(Err(error));
        }
    };
    let engine = engine.map_or_else(|| Engine::open_as_is(&layout), Ok);
    let gone = engine.and_then(|mut engine| engine.leave_bridge(interface, LINGER));
    drop(lingers);
    if let Some(ended) = ended {
        ended.linger();
    }
    gone
}

/// From the first start to the release of the lock.
fn run(orders: Orders) -> Result<Afterwards, EngineError> {
    let Orders {
        layout,
        id,
        lock,
        report,
        client,
    } = orders;
    let mut engine = match Engine::open_as_is(&layout) {
        Ok(engine) => engine,
        Err(error) => {
            report::send(report, &Report::Failed(MonitorFailure::of(&error)));
            return Err(error);
        }
    };
    let first = prepare(&mut engine, &id).and_then(|watch| {
        let live = start::start(&mut engine, &watch, 0)?;
        Ok((watch, live))
    });
    let (watch, mut live) = match first {
        Ok(first) => first,
        Err(error) => {
            // what cannot be undone now is met by the next command; the reason is told anyway
            let undone = finish::never_started(&mut engine, &id, &error);
            report::send(report, &Report::Failed(MonitorFailure::of(&error)));
            drop(lock);
            return undone.and(Err(error));
        }
    };
    // The databases' caches are the better part of a monitor's memory, and it may live long. Only
    // where somebody waits for the end in the foreground they stay open: it is told sooner.
    live.engine = client.is_some().then_some(engine);
    report::send(report, &Report::Started);
    crash::point(CrashPoint::MonitorAfterReport);
    let mut afterwards = restart::until_the_end(&watch, live, client)?;
    let mut engine = match afterwards.engine.take() {
        Some(engine) => engine,
        None => Engine::open_as_is(&layout)?,
    };
    if let Err(error) = finish::let_go(&mut engine, &id, lock) {
        let gone = afterwards.interface.map_or(Ok(()), HostInterface::remove);
        return gone
            .map_err(|source| EngineError::NetworkLeft { source })
            .and(Err(error));
    }
    afterwards.engine = Some(engine);
    crash::point(CrashPoint::MonitorAfterLetGo);
    if let Some(ended) = &mut afterwards.ended {
        // the socket has no name any more: nobody comes after these
        ended.let_in(&watch.listener);
        ended.linger_for(STALL_LIMIT);
    }
    Ok(afterwards)
}

/// Everything that is made once, before the first start.
fn prepare(engine: &mut Engine, id: &ContainerId) -> Result<Watch, EngineError> {
    crash::point(CrashPoint::MonitorBeforeFiles);
    let row = engine.live.container(id)?;
    let definition = engine.definition(&row)?;
    let layout = engine.layout.clone();
    files::make_directories(&layout, id, &definition)?;
    // overlayfs refuses what was mounted `volatile` before, because the machine may have gone
    // down since; then the live database would not know the container
    engine.remove_tree(&layout.container(id).join(VOLATILE_MARK))?;
    let path = layout.run_dir(id).join(crate::CONTROL_SOCKET);
    let listener = ControlListener::bind(&path).map_err(|source| EngineError::Listen { source })?;
    crash::point(CrashPoint::MonitorAfterFiles);
    Ok(Watch {
        layout,
        id: id.clone(),
        name: row.name.to_string(),
        definition,
        kept: row.kept,
        listener,
        oom_score_adj: spare_me(),
    })
}

/// Asks the kernel to kill the monitor last; returns what the container gets instead.
fn spare_me() -> Option<i32> {
    const PATH: &str = "/proc/self/oom_score_adj";
    let inherited = fs_err::read_to_string(PATH).ok()?.trim().parse().ok()?;
    // needs CAP_SYS_RESOURCE, which some hosts do not give: then nothing has changed
    fs_err::write(PATH, "-999").ok().map(|()| inherited)
}
