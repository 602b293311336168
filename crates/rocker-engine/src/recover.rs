//! Putting right what a dead rocker left: the first thing that every command does.
//!
//! Cheap when all is well: one query, and one flock for each container that runs.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rocker_db::{ContainerRow, DbError, ExitRecord, OwnerLock};
use rocker_types::{ContainerId, ContainerQuery, ContainerStatus};

use crate::EngineError;
use crate::clock::now_ns;
use crate::engine::Engine;
use crate::lifecycle::{EndNote, LINGER_LOCK};

/// The exit code of a container whose end nobody saw.
pub(crate) const STATE_LOST: i32 = 255;

impl Engine {
    /// Finishes or undoes the work of owners that are dead. What cannot be put right now stays
    /// recorded for the next command and for `system check`; it does not stop this one.
    pub(crate) fn recover(&mut self) -> Result<(), EngineError> {
        for id in self.perhaps_owned()? {
            if let Err(error) = self.recover_if_dead(&id) {
                tracing::warn!(container = id.short(), %error, "cannot put right what a dead rocker left");
            }
        }
        let swept = match self.live.sweep_wanted()? {
            Some(_) => self.sweep(),
            None => Ok(()),
        };
        for error in [swept, self.remove_idle_bridge()]
            .into_iter()
            .filter_map(Result::err)
        {
            if matches!(&error, EngineError::Db(error) if error.is_damage()) {
                // whoever needs the database says so, and what to do
                tracing::debug!(%error, "cannot tidy up now");
            } else {
                tracing::warn!(%error, "cannot tidy up now");
            }
        }
        Ok(())
    }

    /// As [`recover`](Self::recover) where something failed already: that is what the user is to
    /// read, not what fails for the same reason now.
    pub(crate) fn recover_after(&mut self, failure: &EngineError) {
        if let Err(error) = self.recover() {
            tracing::warn!(%error, after = %failure, "cannot put right what a failed command left");
        }
    }

    /// The bridge of a monitor that was killed while it lingered.
    fn remove_idle_bridge(&mut self) -> Result<(), EngineError> {
        if !self.live.bridge_may_be_idle()? {
            return Ok(());
        }
        let path = self.layout.locks().join(LINGER_LOCK);
        match OwnerLock::try_alone(&path)? {
            Some(_alone) => self.let_bridge_go(),
            None => Ok(()),
        }
    }

    /// What `recover` failed to put right, for `system check`.
    pub(crate) fn recover_loudly(&mut self) -> Result<Vec<EngineError>, EngineError> {
        let mut failures = Vec::new();
        for id in self.perhaps_owned()? {
            failures.extend(self.recover_if_dead(&id).err());
        }
        failures.extend(self.sweep().err());
        failures.extend(self.remove_idle_bridge().err());
        Ok(failures)
    }

    /// Containers that have work under way by their rows, and those with a lock file: who died
    /// before the first record left nothing else.
    fn perhaps_owned(&self) -> Result<BTreeSet<ContainerId>, EngineError> {
        let mut ids: BTreeSet<ContainerId> = self.live.owned_containers()?.into_iter().collect();
        let locks = self.layout.locks();
        let entries = fs_err::read_dir(&locks).map_err(EngineError::file("list", &locks))?;
        for entry in entries.filter_map(Result::ok) {
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            match name.parse::<ContainerId>() {
                Ok(id) => drop(ids.insert(id)),
                Err(_) => {
                    if let Err(error) = self.release_held(name) {
                        tracing::warn!(lock = name, %error, "cannot let a container go on");
                    }
                }
            }
        }
        Ok(ids)
    }

    /// Recovers one container unless somebody owns it.
    fn recover_if_dead(&mut self, id: &ContainerId) -> Result<(), EngineError> {
        let path = self.layout.container_lock(id);
        if OwnerLock::is_held(&path) {
            return Ok(());
        }
        let Some(_lock) = OwnerLock::try_take(&path)? else {
            return Ok(());
        };
        self.put_right(id)
    }

    /// Finishes or undoes what a dead owner of the container left. The caller holds its lock.
    pub(crate) fn put_right(&mut self, id: &ContainerId) -> Result<(), EngineError> {
        // by now somebody else may have done it
        let row = match self.live.container(id) {
            Ok(row) => row,
            Err(DbError::NoSuchContainer(_)) => return self.forget_intents(id),
            Err(e) => return Err(e.into()),
        };
        let intents = self.live.intents_of(id)?;
        let is_settled = !row.state.status.is_active() && intents.is_empty();
        if is_settled && !row.is_on_its_way_out() && !never_was(&row) {
            return Ok(());
        }
        tracing::debug!(container = id.short(), status = %row.state.status, "its owner died: undoing");
        if let Some(volumes) = crate::containers::volumes_of_removal(&intents) {
            // the intent stays to the last, because it says which volumes go
            self.take_away(id)?;
            return self.forget_with(&row, &volumes);
        }
        let noted = EndNote::find(&self.layout, id).filter(|_| row.state.status.is_active());
        if let Some(exit) = &noted {
            // the note goes with the run directory
            let tx = self.live.begin()?;
            tx.record_exit(id, exit)?;
            tx.commit()?;
        }
        self.take_away(id)?;
        if !row.kept || never_was(&row) {
            return self.forget(&row);
        }
        if row.state.status == ContainerStatus::Removing {
            return self.forget_with(&row, &[]);
        }
        if row.state.status.is_active() && noted.is_none() {
            let tx = self.live.begin()?;
            tx.record_exit(id, &state_lost())?;
            tx.commit()?;
        }
        self.write_down(id)?;
        self.release(id)
    }

    /// Takes away what is recorded for a container that is not.
    fn forget_intents(&mut self, id: &ContainerId) -> Result<(), EngineError> {
        if self.live.intents_of(id)?.is_empty() {
            return Ok(());
        }
        self.take_away(id)?;
        self.release(id)
    }

    /// Whether the container called `name` does not hold its ports any longer; waits for that
    /// if it has ended. Its exit code was told before its ports were free.
    pub(crate) fn has_freed_its_ports(&mut self, name: &str) -> Result<bool, EngineError> {
        let query = ContainerQuery::new(name);
        let end = Instant::now() + crate::containers::BUSY_PATIENCE;
        loop {
            let row = match self.live.find(&query) {
                Ok(row) => row,
                Err(DbError::NoSuchContainer(_)) => return Ok(true),
                Err(e) => return Err(e.into()),
            };
            if self.live.ports_of(&row.id)?.is_empty() {
                return Ok(true);
            }
            // one that is being started is active in a moment
            if row.state.status.is_active() || Instant::now() >= end {
                return Ok(false);
            }
            let path = self.layout.container_lock(&row.id);
            if let Some(lock) = OwnerLock::take_within(&path, Duration::from_millis(2))? {
                self.put_right(&row.id)?;
                drop(lock);
                return Ok(self.live.ports_of(&row.id)?.is_empty());
            }
        }
    }

    /// Whether the container `id` is on its way out; waits for its end if so. For who wants its
    /// name, its image or its volume.
    pub(crate) fn is_on_its_way_out(&mut self, id: &str) -> Result<bool, EngineError> {
        let Ok(id) = id.parse::<ContainerId>() else {
            return Ok(false);
        };
        let row = match self.live.container(&id) {
            Ok(row) => row,
            Err(DbError::NoSuchContainer(_)) => return Ok(true),
            Err(e) => return Err(e.into()),
        };
        if !row.is_on_its_way_out() {
            return Ok(false);
        }
        let path = self.layout.container_lock(&id);
        let waited = OwnerLock::take_within(&path, crate::containers::BUSY_PATIENCE)?;
        drop(waited);
        self.recover_if_dead(&id)?;
        Ok(self.live.container(&id).is_err())
    }

    /// Waits for the end of `--rm` containers that are on their way out, so that what they used
    /// is not called in use. Their exit code was told before their last parts were gone.
    pub(crate) fn wait_for_outgoing(
        &mut self,
        concerns: impl Fn(&ContainerRow) -> bool,
    ) -> Result<(), EngineError> {
        let rows = self.live.containers()?;
        for row in rows
            .iter()
            .filter(|row| row.is_on_its_way_out() && concerns(row))
        {
            self.is_on_its_way_out(row.id.as_str())?;
        }
        Ok(())
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
        finished_ns: Some(now_ns()),
    }
}
