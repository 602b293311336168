//! Putting right what a dead rocker left: the first thing that every command does.
//!
//! Cheap when all is well: one query, and one flock for each container that runs.

use rocker_db::{ContainerRow, DbError, ExitRecord, IntentKind, OwnerLock};
use rocker_types::{ContainerId, ContainerStatus};

use crate::EngineError;
use crate::clock::now_ns;
use crate::engine::Engine;

/// The exit code of a container whose end nobody saw.
const STATE_LOST: i32 = 255;

impl Engine {
    /// Finishes or undoes the work of owners that are dead. What cannot be put right now stays
    /// recorded for the next command and for `system check`; it does not stop this one.
    pub(crate) fn recover(&mut self) -> Result<(), EngineError> {
        for id in self.live.owned_containers()? {
            if let Err(error) = self.recover_if_dead(&id) {
                tracing::warn!(container = id.short(), %error, "cannot put right what a dead rocker left");
            }
        }
        if self.live.sweep_wanted()? {
            self.sweep()?;
        }
        Ok(())
    }

    /// What `recover` failed to put right, for `system check`.
    pub(crate) fn recover_loudly(&mut self) -> Result<Vec<EngineError>, EngineError> {
        let mut failures = Vec::new();
        for id in self.live.owned_containers()? {
            failures.extend(self.recover_if_dead(&id).err());
        }
        self.sweep()?;
        Ok(failures)
    }

    /// Recovers one container unless somebody owns it.
    fn recover_if_dead(&mut self, id: &ContainerId) -> Result<(), EngineError> {
        let path = self.layout.container_lock(id);
        if OwnerLock::is_held(&path) {
            return Ok(());
        }
        let Some(lock) = OwnerLock::try_take(&path)? else {
            return Ok(());
        };
        // by now somebody else may have done it
        let row = match self.live.container(id) {
            Ok(row) => row,
            Err(DbError::NoSuchContainer(_)) => {
                lock.retire();
                return Ok(());
            }
            Err(e) => return Err(e.into()),
        };
        let intents = self.live.intents_of(id)?;
        if !row.state.status.is_active()
            && intents.is_empty()
            && row.state.status != ContainerStatus::Removing
        {
            return Ok(());
        }
        tracing::debug!(container = id.short(), status = %row.state.status, "its owner died: undoing");
        let is_going = intents
            .iter()
            .any(|intent| intent.kind == IntentKind::Removal)
            || row.state.status == ContainerStatus::Removing;
        self.teardown(id)?;
        if is_going || !row.kept || never_was(&row) {
            self.forget(&row)?;
            lock.retire();
            return Ok(());
        }
        if row.state.status.is_active() {
            let tx = self.live.begin()?;
            tx.record_exit(id, &state_lost())?;
            tx.commit()?;
        }
        self.write_down(id)
    }

    /// Whether the container `id` is on its way out; waits for its end if so. For who wants its
    /// name.
    pub(crate) fn is_on_its_way_out(&mut self, id: &str) -> Result<bool, EngineError> {
        let Ok(id) = id.parse::<ContainerId>() else {
            return Ok(false);
        };
        let row = match self.live.container(&id) {
            Ok(row) => row,
            Err(DbError::NoSuchContainer(_)) => return Ok(true),
            Err(e) => return Err(e.into()),
        };
        let ends = match row.state.status {
            ContainerStatus::Removing => true,
            ContainerStatus::Exited | ContainerStatus::Created => {
                !row.kept && row.state.finished_ns.is_some()
            }
            ContainerStatus::Running
            | ContainerStatus::Restarting
            | ContainerStatus::Paused
            | ContainerStatus::Dead => false,
        };
        if !ends {
            return Ok(false);
        }
        let path = self.layout.container_lock(&id);
        let waited = OwnerLock::take_within(&path, crate::containers::BUSY_PATIENCE)?;
        drop(waited);
        self.recover_if_dead(&id)?;
        Ok(self.live.container(&id).is_err())
    }
}

/// A container that died between its first record and its first start: nobody was told its
/// id, and its name must be free again.
fn never_was(row: &ContainerRow) -> bool {
    row.state.status == ContainerStatus::Created && !row.durable
}

fn state_lost() -> ExitRecord {
    ExitRecord {
        status: ContainerStatus::Exited,
        exit_code: STATE_LOST,
        oom_killed: false,
        error: "its monitor was killed".into(),
        finished_ns: now_ns(),
    }
}
