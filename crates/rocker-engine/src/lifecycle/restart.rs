//! Watching a running container, and starting it again when its policy says so.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rocker_db::ExitRecord;
use rocker_net::{HostInterface, PortForwarder};
use rocker_runtime::{ExitStatus, Running};
use rocker_types::{ContainerStatus, Signal};
use rustix::event::{PollFd, PollFlags, Timespec};

use super::start::{self, Live};
use super::{EndNote, Watch, finish};
use crate::EngineError;
use crate::clock::now_ns;
use crate::control::Accepted;
use crate::crash::{self, CrashPoint};
use crate::engine::Engine;
use crate::monitor::{Companion, Ended, InputEnd, STALL_LIMIT, Supervision};

/// Wait before the first restart; doubled for each further one.
const FIRST_DELAY: Duration = Duration::from_millis(100);
/// The longest wait.
const LONGEST_DELAY: Duration = Duration::from_secs(60);
/// Of those who connect between two runs, as many stay connected; the others ask again at once.
const MAX_WAITING: usize = 64;
/// A container that ran this long starts to count anew.
const HEALTHY_AFTER: Duration = Duration::from_secs(10);

/// What a container's end leaves for when nobody waits for it any more.
#[derive(Debug, Default)]
pub(super) struct Afterwards {
    /// The clients that do not know of the end yet.
    pub(super) ended: Option<Ended>,
    /// What the container had on the bridge.
    pub(super) interface: Option<HostInterface>,
    /// Open, where the run directory may be deleted before the bridge is gone.
    pub(super) engine: Option<Engine>,
}

/// Watches until the container has ended and will not be started again.
pub(super) fn until_the_end(
    watch: &Watch,
    live: Live,
    client: Option<OwnedFd>,
) -> Result<Afterwards, EngineError> {
    let mut delay = FIRST_DELAY;
    let (mut live, mut client) = (live, client);
    loop {
        let began = Instant::now();
        let mut restarts = live.restarts;
        let (afterwards, again) = watch_once(watch, live, client.take())?;
        if !again {
            return Ok(afterwards);
        }
        let Afterwards {
            ended, interface, ..
        } = afterwards;
        if let Err(error) = interface.map_or(Ok(()), HostInterface::remove) {
            tracing::debug!(%error, "the next start meets the interface by its name");
        }
        if let Some(mut ended) = ended {
            // whoever reads nothing must not keep the container from its next run
            ended.linger_for(STALL_LIMIT);
        }
        delay = if began.elapsed() >= HEALTHY_AFTER {
            FIRST_DELAY
        } else {
            delay
        };
        live = loop {
            if !rest(watch, delay)? {
                return Ok(Afterwards::default());
            }
            delay = (delay * 2).min(LONGEST_DELAY);
            restarts = restarts.saturating_add(1);
            let mut engine = Engine::open_as_is(&watch.layout)?;
            match start::start(&mut engine, watch, restarts) {
                Ok(next) => break next,
                Err(error) => {
                    if !finish::failed_restart(&mut engine, watch, &error, restarts)? {
                        return Ok(Afterwards::default());
                    }
                }
            }
        };
    }
}

/// Streams until the end, records it, tells it, and takes away what was made for this run.
/// Returns what is left to do, and whether the policy wants another run.
fn watch_once(
    watch: &Watch,
    live: Live,
    client: Option<OwnedFd>,
) -> Result<(Afterwards, bool), EngineError> {
    let Live {
        running,
        streams,
        mut forwarder,
        interface,
        mut log,
        restarts,
        engine,
    } = live;
    let companion = forwarder.as_mut().map(companion).transpose()?;
    let pidfd = running
        .pidfd()
        .try_clone_to_owned()
        .map_err(|source| EngineError::Pipe { source })?;
    let mut signal = |signal: Signal| {
        // the program may be gone by now, which the client learns anyway
        let _ = running.signal(signal);
    };
    let ended = Supervision {
        pidfd: pidfd.as_fd(),
        signal: &mut signal,
        streams,
        input_end: if watch.definition.stdin_once {
            InputEnd::WithFirstClient
        } else {
            InputEnd::WithContainer
        },
        log: Some(&mut log),
        listener: Some(&watch.listener),
        first_client: client,
        companion,
    }
    .supervise();
    crash::point(CrashPoint::MonitorAfterExit);

    let mut ended = ended.ok();
    let mut exit = reap(watch, running)?;
    let recorded = record(engine, watch, &mut exit, restarts);
    crash::point(CrashPoint::MonitorAfterExitRecord);
    if recorded.is_err() {
        EndNote::leave(&watch.layout, &watch.id, &exit);
    }
    if let Some(ended) = &mut ended {
        let _ = ended.tell_exit(exit.exit_code);
        crash::point(CrashPoint::MonitorAfterTellExit);
    }
    if recorded.is_err()
        && let Some(ended) = &mut ended
    {
        ended.linger_for(STALL_LIMIT);
    }
    let (mut engine, again) = recorded?;
    engine.undo_ports_and_cgroup(&watch.id)?;
    // held until the rules are gone: nobody else can publish the ports before
    drop(forwarder);
    let afterwards = Afterwards {
        ended,
        interface,
        engine: Some(engine),
    };
    Ok((afterwards, again))
}

/// Forwards published ports while the container's streams are watched.
fn companion(forwarder: &mut PortForwarder) -> Result<Companion<'_>, EngineError> {
    let fd = forwarder
        .as_fd()
        .try_clone_to_owned()
        .map_err(|source| EngineError::Pipe { source })?;
    Ok(Companion {
        fd,
        drive: Box::new(move || forwarder.drive()),
    })
}

/// How it ended.
fn reap(watch: &Watch, running: Running) -> Result<ExitRecord, EngineError> {
    let (status, cgroup) = running.reap().map_err(|source| EngineError::Reap {
        container: watch.name.clone(),
        source,
    })?;
    let code = status.shell_code();
    let killed = matches!(status, ExitStatus::Signal(Signal::KILL)) || code == 137;
    Ok(ExitRecord {
        status: ContainerStatus::Exited,
        exit_code: code,
        oom_killed: killed && cgroup.oom_kills().is_ok_and(|kills| kills > 0),
        error: String::new(),
        finished_ns: Some(now_ns()),
    })
}

/// Records the end, unless it is that of one run of several; `true` if the policy wants another.
fn record(
    engine: Option<Engine>,
    watch: &Watch,
    exit: &mut ExitRecord,
    restarts: u32,
) -> Result<(Engine, bool), EngineError> {
    let mut engine = match engine {
        Some(engine) => engine,
        None => Engine::open_as_is(&watch.layout)?,
    };
    let again = watch
        .definition
        .restart
        .restarts_after(exit.exit_code, restarts)
        && !engine.live.stop_requested(&watch.id)?;
    if again {
        exit.status = ContainerStatus::Restarting;
    }
    let tx = engine.live.begin()?;
    tx.record_exit(&watch.id, exit)?;
    tx.commit()?;
    Ok((engine, again))
}

/// Waits `delay`, or until somebody who connects has asked for the end. `true` to go on.
fn rest(watch: &Watch, delay: Duration) -> Result<bool, EngineError> {
    let end = Instant::now() + delay;
    let mut waiting = Vec::new();
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let stop = || -> Result<bool, EngineError> {
            Ok(Engine::open_as_is(&watch.layout)?
                .live
                .stop_requested(&watch.id)?)
        };
        if stop()? {
            finish::stopped_while_resting(&watch.layout, &watch.id)?;
            return Ok(false);
        }
        if left.is_zero() {
            return Ok(true);
        }
        let mut polled = [PollFd::new(&watch.listener, PollFlags::IN)];
        match rustix::event::poll(&mut polled, Timespec::try_from(left).ok().as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => {
                return Err(EngineError::Pipe {
                    source: errno.into(),
                });
            }
        }
        // Whoever connects while nothing runs is hung up on, and looks at the database: when the
        // rest is over, so that `wait` has something to wait for.
        loop {
            match watch.listener.accept() {
                Ok(Accepted::Client(link)) if waiting.len() < MAX_WAITING => waiting.push(link),
                Ok(Accepted::Client(_) | Accepted::Refused) => {}
                Ok(Accepted::Nobody) | Err(_) => break,
            }
        }
    }
}
