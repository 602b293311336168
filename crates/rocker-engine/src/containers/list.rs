//! `ps`.

use std::net::Ipv4Addr;

use rocker_types::{ContainerId, ContainerName, ContainerStatus, PublishedPort};

use crate::EngineError;
use crate::definition::Definition;
use crate::engine::Engine;

/// One container as `ps` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerSummary {
    /// Its id.
    pub id: ContainerId,
    /// Its name.
    pub name: ContainerName,
    /// How it stands; a container whose init is dead is never `Running`.
    pub status: ContainerStatus,
    /// Its exit code, when it has ended.
    pub exit_code: i32,
    /// Nanoseconds since 1970.
    pub created_ns: i64,
    /// When it last started.
    pub started_ns: Option<i64>,
    /// When it last ended.
    pub finished_ns: Option<i64>,
    /// How often its policy restarted it.
    pub restarts: u32,
    /// Host pid of its init.
    pub pid: Option<i32>,
    /// Its address on the bridge.
    pub address: Option<Ipv4Addr>,
    /// The ports that it publishes now.
    pub ports: Vec<PublishedPort>,
    /// The rest.
    pub definition: Definition,
}

impl Engine {
    /// Containers, newest first: all, or those that run.
    ///
    /// # Errors
    ///
    /// What the database says.
    pub fn containers(&self, all: bool) -> Result<Vec<ContainerSummary>, EngineError> {
        let mut summaries = Vec::new();
        for row in self.live.containers()? {
            if row.is_on_its_way_out() || (!all && !row.state.status.is_active()) {
                continue;
            }
            let definition = self.definition(&row)?;
            let is_active = row.state.status.is_active();
            summaries.push(ContainerSummary {
                status: row.state.status,
                exit_code: row.state.exit_code,
                created_ns: row.created_ns,
                started_ns: row.state.started_ns,
                finished_ns: row.state.finished_ns,
                restarts: row.state.restarts,
                pid: row.state.init.map(|(pid, _)| pid),
                address: if is_active {
                    self.live.address_of(&row.id)?
                } else {
                    None
                },
                ports: if is_active {
                    self.live.ports_of(&row.id)?
                } else {
                    Vec::new()
                },
                id: row.id,
                name: row.name,
                definition,
            });
        }
        Ok(summaries)
    }
}
