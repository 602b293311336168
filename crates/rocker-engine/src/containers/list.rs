//! `ps`.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use rocker_db::{ContainerRow, DbError, OwnerLock};
use rocker_types::{ContainerId, ContainerName, ContainerStatus, PublishedPort};

use crate::EngineError;
use crate::definition::Definition;
use crate::engine::Engine;

/// How long a monitor may take from its container's death to the record of it.
const RECORDING_PATIENCE: Duration = Duration::from_secs(1);

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
    pub fn containers(&mut self, all: bool) -> Result<Vec<ContainerSummary>, EngineError> {
        let mut rows = Vec::new();
        for row in self.live.containers()? {
            rows.extend(self.if_really_so(row)?);
        }
        rows.retain(|row| all || row.state.status.is_active());
        self.summaries(rows)
    }

    /// All containers as they are recorded, newest first: nothing is waited for and nothing put
    /// right, so one whose owner was killed may be said to run.
    ///
    /// # Errors
    ///
    /// What the database says.
    pub fn containers_as_recorded(&self) -> Result<Vec<ContainerSummary>, EngineError> {
        self.summaries(self.live.containers()?)
    }

    fn summaries(&self, rows: Vec<ContainerRow>) -> Result<Vec<ContainerSummary>, EngineError> {
        let addresses = self.live.addresses()?;
        let mut ports = self.live.ports()?;
        let mut summaries = Vec::new();
        for row in rows.into_iter().filter(|row| !row.is_on_its_way_out()) {
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
                address: addresses.get(&row.id).copied().filter(|_| is_active),
                ports: ports
                    .remove(&row.id)
                    .filter(|_| is_active)
                    .unwrap_or_default(),
                id: row.id,
                name: row.name,
                definition,
            });
        }
        Ok(summaries)
    }

    /// A row that says "running" is believed only while its init is alive. Otherwise its
    /// monitor is just writing down the end, or was killed too; a moment later the row says
    /// which. `None` if it is gone by then.
    fn if_really_so(&mut self, row: ContainerRow) -> Result<Option<ContainerRow>, EngineError> {
        let is_dead = |(pid, start)| !rocker_sys::process::is_alive(pid, start);
        let id = row.id.clone();
        let mut row = Some(row);
        let end = Instant::now() + RECORDING_PATIENCE;
        while let Some(so_far) = row.take_if(|row| {
            row.state.status == ContainerStatus::Running && row.state.init.is_some_and(is_dead)
        }) {
            if Instant::now() >= end {
                return Ok(Some(so_far));
            }
            let freed =
                OwnerLock::take_within(&self.layout.container_lock(&id), Duration::from_millis(1))?;
            if freed.is_some() {
                drop(freed);
                self.recover()?;
            }
            row = match self.live.container(&id) {
                Ok(row) => Some(row),
                Err(DbError::NoSuchContainer(_)) => None,
                Err(e) => return Err(e.into()),
            };
        }
        Ok(row)
    }
}
