//! `rm`.

use std::path::Path;
use std::time::Duration;

use rocker_db::{ContainerRow, DbError, EndRequest, Intent, IntentKind, OwnerLock};
use rocker_types::{ContainerQuery, ContainerStatus, Signal, VolumeName};

use super::signal::StopTimeout;
use super::start::BUSY_PATIENCE;
use crate::EngineError;
use crate::crash::{self, CrashPoint};
use crate::engine::Engine;

/// How to remove.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RemoveOptions {
    /// Kill it if it runs; a missing container is a success.
    pub force: bool,
    /// Delete its anonymous volumes too.
    pub volumes: bool,
}

impl Engine {
    /// Removes a container; everything of it is gone when this returns, but for its interface if the
    /// kernel is still taking that away.
    ///
    /// # Errors
    ///
    /// [`EngineError::StillRunning`] without `force`.
    pub fn remove(
        &mut self,
        query: &ContainerQuery,
        options: RemoveOptions,
    ) -> Result<(), EngineError> {
        let row = match self.live.find(query) {
            Ok(row) => row,
            Err(DbError::NoSuchContainer(_)) if options.force => return Ok(()),
            Err(e) => return Err(e.into()),
        };
        let active = row.state.status.is_active();
        if active && !options.force {
            return Err(EngineError::StillRunning {
                container: row.name.to_string(),
            });
        }
        // one that somebody is just starting is not active yet
        if active || (options.force && OwnerLock::is_held(&self.layout.container_lock(&row.id))) {
            let at_once = StopTimeout::After(Duration::ZERO);
            self.end(&row, at_once, Some(Signal::KILL), EndRequest::Stop)?;
        }
        self.remove_stopped(&row, options)
    }

    fn remove_stopped(
        &mut self,
        row: &ContainerRow,
        options: RemoveOptions,
    ) -> Result<(), EngineError> {
        let path = self.layout.container_lock(&row.id);
        let busy = || EngineError::Busy {
            container: row.name.to_string(),
        };
        let lock = OwnerLock::take_within(&path, BUSY_PATIENCE)?.ok_or_else(busy)?;
        let row = match self.live.container(&row.id) {
            Ok(row) => row,
            // --rm, or another rm was faster
            Err(DbError::NoSuchContainer(_)) => {
                return Ok(());
            }
            Err(e) => return Err(e.into()),
        };
        if row.state.status.is_active() {
            return Err(EngineError::StillRunning {
                container: row.name.to_string(),
            });
        }
        if !self.live.intents_of(&row.id)?.is_empty() {
            // what could not be undone before: with its row it would be lost to all
            self.take_away(&row.id)?;
        }
        let volumes = if options.volumes || !row.kept {
            self.anonymous_volumes(&row)
        } else {
            Vec::new()
        };
        let tx = self.live.begin()?;
        tx.set_status(&row.id, ContainerStatus::Removing)?;
        tx.intend(&row.id, &removal_with(&volumes))?;
        tx.commit()?;
        crash::point(CrashPoint::RemoveAfterIntent);
        if has_written(&self.layout.container(&row.id)) {
            let directory = self.layout.container(&row.id);
            self.discard(&directory)?;
        }
        self.forget_with(&row, &volumes)?;
        drop(lock);
        Ok(())
    }
}

/// Whether there may be much to delete.
fn has_written(container: &Path) -> bool {
    fs_err::read_dir(container.join("upper")).is_ok_and(|mut upper| upper.next().is_some())
}

/// What is recorded before a removal: the volumes that go too, for whoever has to finish it.
fn removal_with(volumes: &[VolumeName]) -> Intent {
    let names: Vec<_> = volumes.iter().map(VolumeName::as_str).collect();
    Intent {
        kind: IntentKind::Removal,
        resource: names.join(" "),
    }
}

/// The volumes that a recorded removal takes along; `None` if none is recorded.
pub(crate) fn volumes_of_removal(intents: &[Intent]) -> Option<Vec<VolumeName>> {
    let removal = intents
        .iter()
        .find(|intent| intent.kind == IntentKind::Removal)?;
    let names = removal.resource.split_whitespace();
    Some(names.filter_map(|name| name.parse().ok()).collect())
}
