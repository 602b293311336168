//! Taking away what a run made, and letting go of the container.

use std::path::PathBuf;

use rocker_db::{ExitRecord, OwnerLock};
use rocker_types::{ContainerId, ContainerStatus, Layout};
use serde::{Deserialize, Serialize};

use super::Watch;
use crate::EngineError;
use crate::clock::now_ns;
use crate::engine::Engine;

/// How a container ended, for who finds its run directory: written where the databases do not take
/// it, because a later rocker has changed them or they are damaged.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct EndNote {
    exit_code: i32,
    oom_killed: bool,
    finished_ns: Option<i64>,
}

impl EndNote {
    pub(super) fn leave(layout: &Layout, id: &ContainerId, exit: &ExitRecord) {
        let note = Self {
            exit_code: exit.exit_code,
            oom_killed: exit.oom_killed,
            finished_ns: exit.finished_ns,
        };
        let written = serde_json::to_vec(&note)
            .map_err(std::io::Error::from)
            .and_then(|text| fs_err::write(path(layout, id), text));
        if let Err(error) = written {
            tracing::debug!(%error, "nobody will know how the container ended");
        }
    }

    /// That of a monitor that is gone; `None` if it left none.
    pub(crate) fn find(layout: &Layout, id: &ContainerId) -> Option<ExitRecord> {
        let text = fs_err::read(path(layout, id)).ok()?;
        let note: Self = serde_json::from_slice(&text).ok()?;
        Some(ExitRecord {
            status: ContainerStatus::Exited,
            exit_code: note.exit_code,
            oom_killed: note.oom_killed,
            error: String::new(),
            finished_ns: note.finished_ns,
        })
    }
}

fn path(layout: &Layout, id: &ContainerId) -> PathBuf {
    layout.run_dir(id).join("ended.json")
}

/// The container could not be started at all: everything is undone and the reason recorded.
pub(super) fn never_started(
    engine: &mut Engine,
    id: &ContainerId,
    error: &EngineError,
) -> Result<(), EngineError> {
    let row = engine.live.container(id)?;
    let tx = engine.live.begin()?;
    // a container that ran before stays what it was, with this start's reason
    let status = if row.state.status == ContainerStatus::Exited {
        ContainerStatus::Exited
    } else {
        ContainerStatus::Created
    };
    tx.record_exit(id, &failure(status, error))?;
    tx.commit()?;
    engine.take_away(id)?;
    if row.kept {
        // written down first: who finds nothing recorded any more takes it as settled
        engine.write_down(id)?;
        engine.release(id)
    } else {
        engine.release(id)?;
        engine.forget(&row)
    }
}

/// A restart failed: the run's parts are undone. `true` when the policy goes on trying after
/// so many.
pub(super) fn failed_restart(
    engine: &mut Engine,
    watch: &Watch,
    error: &EngineError,
    restarts: u32,
) -> Result<bool, EngineError> {
    let code = i32::from(error.run_exit_code());
    let again = watch.definition.restart.restarts_after(code, restarts);
    let status = if again {
        ContainerStatus::Restarting
    } else {
        ContainerStatus::Exited
    };
    let tx = engine.live.begin()?;
    tx.record_exit(&watch.id, &failure(status, error))?;
    tx.count_restarts(&watch.id, restarts)?;
    tx.commit()?;
    engine.undo_network_and_cgroup(&watch.id)?;
    Ok(again)
}

fn failure(status: ContainerStatus, error: &EngineError) -> ExitRecord {
    ExitRecord {
        status,
        exit_code: i32::from(error.run_exit_code()),
        oom_killed: false,
        error: crate::report::MonitorFailure::of(error).text(),
        finished_ns: Some(now_ns()),
    }
}

/// A person stopped the container between two runs: how the last one ended stands.
pub(super) fn stopped_while_resting(layout: &Layout, id: &ContainerId) -> Result<(), EngineError> {
    let mut engine = Engine::open_as_is(layout)?;
    let tx = engine.live.begin()?;
    tx.set_status(id, ContainerStatus::Exited)?;
    Ok(tx.commit()?)
}

/// The end, when the run itself is undone: the run directory goes, address and ports are free,
/// and a `--rm` container is forgotten unless it ended only to be started again. The lock is
/// let go last.
pub(super) fn let_go(
    engine: &mut Engine,
    id: &ContainerId,
    lock: OwnerLock,
) -> Result<(), EngineError> {
    engine.remove_run_dir(id)?;
    let row = engine.live.container(id)?;
    if row.kept {
        engine.write_down(id)?;
        engine.release(id)?;
    } else if engine.live.restart_requested(id)? {
        let tx = engine.live.begin()?;
        tx.stand_by(id)?;
        tx.commit()?;
        engine.release(id)?;
    } else {
        engine.release(id)?;
        engine.forget(&row)?;
    }
    drop(lock);
    Ok(())
}
