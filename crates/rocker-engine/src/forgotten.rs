//! What is left of runs that no row knows of, because the database of running things is a new one:
//! after a boot, where there is nothing, or after the old one was damaged or deleted.
//!
//! Intents went with it, but their names derive from the ids of containers, and those are there
//! once more: as run directories, locks and directories of containers.

use std::collections::BTreeSet;

use rocker_db::OwnerLock;
use rocker_runtime::cgroup::{Cgroup, CgroupLayout, CgroupName};
use rocker_types::ContainerId;

use crate::EngineError;
use crate::engine::Engine;
use crate::network;
use crate::sweep::ids_in;

impl Engine {
    /// Takes away what the dead left of their runs. What cannot be taken away now is met by its
    /// container's next start; it stops nobody.
    pub(crate) fn take_away_forgotten(&mut self) {
        for id in self.forgotten() {
            if let Err(error) = self.take_away_of_dead(&id) {
                tracing::warn!(container = id.short(), %error, "cannot take away what a dead rocker left");
            }
        }
        if let Err(error) = network::sweep_forgotten(&self.layout) {
            tracing::warn!(%error, "cannot take away what a dead rocker left");
        }
    }

    /// Containers of this installation of which there may be more than files. There may be cgroups
    /// of other installations, which are none of ours.
    fn forgotten(&self) -> BTreeSet<ContainerId> {
        let with_cgroup = CgroupLayout::detect().map(|layout| Cgroup::containers(&layout));
        let with_cgroup = with_cgroup.unwrap_or_default();
        let mut ids: BTreeSet<ContainerId> = ids_in(&self.layout.containers())
            .into_iter()
            .filter(|id| with_cgroup.contains(id))
            .collect();
        ids.extend(ids_in(self.layout.runroot()));
        ids.extend(ids_in(&self.layout.locks()));
        ids
    }

    fn take_away_of_dead(&mut self, id: &ContainerId) -> Result<(), EngineError> {
        let path = self.layout.container_lock(id);
        if OwnerLock::is_held(&path) {
            return Ok(());
        }
        if !path.exists() && self.has_processes(id) {
            // somebody has deleted the locks too, and so this may be one whose monitor lives
            tracing::warn!(
                container = id.short(),
                "it runs, and no row knows of it: end its processes"
            );
            return Ok(());
        }
        let Some(_lock) = OwnerLock::try_take(&path)? else {
            return Ok(());
        };
        if self.live.container(id).is_ok() {
            // another process has read the rows of kept containers by now, and made this one
            return Ok(());
        }
        self.take_away(id)?;
        rocker_net::remove_interface_of(id).map_err(|source| EngineError::NetworkLeft { source })
    }
    fn has_processes(&self, id: &ContainerId) -> bool {
        let pids = CgroupLayout::detect()
            .map(|layout| Cgroup::open(&layout, &CgroupName::new(id)))
            .map(|cgroup| cgroup.pids());
        matches!(pids, Ok(Ok(pids)) if !pids.is_empty())
    }
}
