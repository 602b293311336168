//! `stop`, `kill`, `restart`.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rocker_db::{ContainerRow, DbError, EndRequest, OwnerLock};
use rocker_runtime::cgroup::{Cgroup, CgroupLayout, CgroupName};
use rocker_types::{ContainerQuery, ContainerStatus, Signal};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags};

use super::start::{BUSY_PATIENCE, StartMode, Started};
use crate::EngineError;
use crate::control::Session;
use crate::crash::{self, CrashPoint};
use crate::engine::Engine;

/// How long `stop` waits before it kills, unless told otherwise; docker's number.
pub const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a killed container may take to end: more means a process that waits in the
/// kernel, which no signal ends.
const KILL_PATIENCE: Duration = Duration::from_secs(10);

/// How long `stop` waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopTimeout {
    /// Then it kills.
    After(Duration),
    /// It never kills (`-t -1`).
    Never,
}

impl Engine {
    /// Asks a container to end, and kills it when it has not after `timeout`. Stopping one
    /// that does not run is a success. Everything that it used is free when this returns.
    ///
    /// # Errors
    ///
    /// [`EngineError::WillNotEnd`] when not even SIGKILL helps.
    pub fn stop(
        &mut self,
        query: &ContainerQuery,
        timeout: StopTimeout,
        signal: Option<Signal>,
    ) -> Result<(), EngineError> {
        let row = self.live.find(query)?;
        self.end(&row, timeout, signal, EndRequest::Stop)
    }

    /// Sends a signal to a running container's init. SIGKILL also suspends the restart policy.
    ///
    /// # Errors
    ///
    /// [`EngineError::NotRunning`].
    pub fn kill(&mut self, query: &ContainerQuery, signal: Signal) -> Result<(), EngineError> {
        let row = self.live.find(query)?;
        let not_running = || EngineError::NotRunning {
            container: row.name.to_string(),
        };
        let init = open_init(&row).ok_or_else(not_running)?;
        if signal == Signal::KILL
            || Some(signal) == self.definition(&row).ok().map(|d| d.stop_signal)
        {
            self.request(&row, EndRequest::Stop)?;
        }
        match send(&init, signal) {
            Ok(()) => Ok(()),
            Err(rustix::io::Errno::SRCH) => Err(not_running()),
            Err(e) => Err(EngineError::Signal {
                container: row.name.to_string(),
                source: e.into(),
            }),
        }
    }

    /// Stops a container if it runs, and starts it; one that goes with its end stays for that.
    ///
    /// # Errors
    ///
    /// As [`stop`](Self::stop) and [`start`](Self::start).
    pub fn restart(
        &mut self,
        query: &ContainerQuery,
        timeout: StopTimeout,
        signal: Option<Signal>,
    ) -> Result<Started, EngineError> {
        let row = self.live.find(query)?;
        self.end(&row, timeout, signal, EndRequest::Restart)?;
        // by its id: somebody else may have removed it and taken its name
        let again = ContainerQuery::new(row.id.as_str());
        self.start(&again, StartMode::Detached)
    }

    /// Ends a container and waits until its owner has let go of it. One that is just being
    /// started is ended as soon as it runs.
    pub(crate) fn end(
        &mut self,
        row: &ContainerRow,
        timeout: StopTimeout,
        signal: Option<Signal>,
        request: EndRequest,
    ) -> Result<(), EngineError> {
        self.request(row, request)?;
        crash::point(CrashPoint::StopAfterRequest);
        let signal = match signal {
            Some(signal) => signal,
            None => self.definition(row)?.stop_signal,
        };
        let path = self.layout.container_lock(&row.id);
        let control = self.layout.run_dir(&row.id).join(crate::CONTROL_SOCKET);
        let mut deadline = Instant::now() + BUSY_PATIENCE;
        loop {
            let row = match self.live.container(&row.id) {
                Ok(row) => row,
                Err(DbError::NoSuchContainer(_)) => return Ok(()),
                Err(e) => return Err(e.into()),
            };
            if !row.state.stop_requested {
                // somebody has begun to start it meanwhile
                self.request(&row, request)?;
            }
            if self.end_running(&row, timeout, signal)? {
                deadline = Instant::now() + BUSY_PATIENCE;
            }
            if row.state.status == ContainerStatus::Restarting {
                Session::knock(&control);
            }
            if let Some(lock) = OwnerLock::take_within(&path, Duration::from_millis(50))? {
                drop(lock);
                // a monitor that was killed meanwhile has undone nothing
                return self.recover();
            }
            if Instant::now() >= deadline {
                return Err(EngineError::Busy {
                    container: row.name.to_string(),
                });
            }
        }
    }

    fn request(&mut self, row: &ContainerRow, request: EndRequest) -> Result<(), EngineError> {
        let tx = self.live.begin()?;
        tx.request_end(&row.id, request)?;
        Ok(tx.commit()?)
    }

    /// Signals init, waits, kills; `false` when there is no init to end.
    fn end_running(
        &self,
        row: &ContainerRow,
        timeout: StopTimeout,
        signal: Signal,
    ) -> Result<bool, EngineError> {
        let running = matches!(
            row.state.status,
            ContainerStatus::Running | ContainerStatus::Paused
        );
        let Some(init) = running.then(|| open_init(row)).flatten() else {
            return Ok(false);
        };
        let asked = send(&init, signal).is_ok();
        crash::point(CrashPoint::StopAfterSignal);
        let ended = match timeout {
            StopTimeout::After(timeout) => asked && wait_for_exit(&init, Some(timeout)),
            StopTimeout::Never => wait_for_exit(&init, None),
        };
        if !ended {
            self.kill_everything(row, &init)?;
        }
        Ok(true)
    }

    fn kill_everything(&self, row: &ContainerRow, init: &OwnedFd) -> Result<(), EngineError> {
        let layout = CgroupLayout::detect().map_err(|source| EngineError::Cgroups { source })?;
        let cgroup = Cgroup::open(&layout, &CgroupName::new(&row.id));
        if let Err(error) = cgroup.kill_all() {
            tracing::debug!(%error, "falling back to killing init, which takes its namespace along");
        }
        let _ = send(init, Signal::KILL);
        if wait_for_exit(init, Some(KILL_PATIENCE)) {
            Ok(())
        } else {
            Err(EngineError::WillNotEnd {
                container: row.name.to_string(),
                waited: KILL_PATIENCE,
            })
        }
    }

    /// Until the monitor is done, its work undone and its lock free.
    pub(crate) fn wait_until_let_go(&mut self, row: &ContainerRow) -> Result<(), EngineError> {
        let path = self.layout.container_lock(&row.id);
        match OwnerLock::take_within(&path, BUSY_PATIENCE)? {
            Some(lock) => drop(lock),
            None => {
                return Err(EngineError::Busy {
                    container: row.name.to_string(),
                });
            }
        }
        // a monitor that was killed meanwhile has undone nothing
        self.recover()
    }
}

/// A handle on the container's init, if it is alive and the one that was recorded: a pid
/// alone could belong to a stranger by now.
pub(crate) fn open_init(row: &ContainerRow) -> Option<OwnedFd> {
    let (pid, start) = row.state.init?;
    open_process(pid, start)
}

pub(super) fn open_process(pid: i32, start_time_ticks: u64) -> Option<OwnedFd> {
    let fd = rustix::process::pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
    // read after opening: while the fd is open the pid cannot be reused
    let stat = rocker_sys::process::ProcessStat::read(pid).ok()?;
    (stat.is_alive() && stat.start_time_ticks == start_time_ticks).then_some(fd)
}

pub(crate) fn send(process: &OwnedFd, signal: Signal) -> Result<(), rustix::io::Errno> {
    rocker_sys::process::send_signal(process.as_fd(), signal.number())
        .map_err(|e| rustix::io::Errno::from_io_error(&e).unwrap_or(rustix::io::Errno::IO))
}

/// Waits until the process has ended; `false` when it has not in time.
fn wait_for_exit(process: &OwnedFd, patience: Option<Duration>) -> bool {
    let end = patience.map(|patience| Instant::now() + patience);
    loop {
        let left = end.map(|end| end.saturating_duration_since(Instant::now()));
        let timeout = left.and_then(|left| Timespec::try_from(left).ok());
        match rustix::event::poll(&mut [PollFd::new(process, PollFlags::IN)], timeout.as_ref()) {
            Ok(ready) => return ready > 0,
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return false,
        }
    }
}
