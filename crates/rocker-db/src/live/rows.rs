//! One container as the database remembers it.

use std::str::FromStr;

use rocker_types::{ContainerId, ContainerName, ContainerStatus, Digest};
use rusqlite::Row;

use crate::DbError;

/// A container: who it is, what it was asked to be, and how it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerRow {
    /// Its id.
    pub id: ContainerId,
    /// Its name.
    pub name: ContainerName,
    /// Whether it outlives its end (no `--rm`).
    pub kept: bool,
    /// Digest of the image's config.
    pub image_id: Option<Digest>,
    /// The engine's JSON, opaque here.
    pub definition: String,
    /// When it was created, nanoseconds since 1970.
    pub created_ns: i64,
    /// How it stands.
    pub state: ContainerState,
    /// Whether the durable database has it.
    pub durable: bool,
}

impl ContainerRow {
    /// Whether it has ended and its owner is taking the last of it away: nothing that a
    /// person could still use.
    #[must_use]
    pub fn is_on_its_way_out(&self) -> bool {
        match self.state.status {
            ContainerStatus::Removing => true,
            ContainerStatus::Exited | ContainerStatus::Created => {
                !self.kept && self.state.finished_ns.is_some()
            }
            ContainerStatus::Running
            | ContainerStatus::Restarting
            | ContainerStatus::Paused
            | ContainerStatus::Dead => false,
        }
    }
}

/// The part of a row that changes over a container's life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerState {
    /// Docker's word for it.
    pub status: ContainerStatus,
    /// Host pid of its init and that process's start time in clock ticks since boot.
    pub init: Option<(i32, u64)>,
    /// The same of its monitor.
    pub monitor: Option<(i32, u64)>,
    /// When it last started, nanoseconds since 1970.
    pub started_ns: Option<i64>,
    /// When it last ended.
    pub finished_ns: Option<i64>,
    /// 0 to 255; meaningful when exited.
    pub exit_code: i32,
    /// Whether the kernel killed its init for want of memory.
    pub oom_killed: bool,
    /// Why it could not be started, or what went wrong; empty when nothing did.
    pub error: String,
    /// How often the restart policy started it.
    pub restarts: u32,
    /// Whether a person said stop.
    pub stop_requested: bool,
}

/// The columns, in the order that [`from_row`] reads them.
pub(super) const COLUMNS: &str = "id, name, kept, image_id, definition, created_ns, status, pid, pid_start, monitor_pid, \
     monitor_start, started_ns, finished_ns, exit_code, oom_killed, error, restarts, stop_requested, durable";

/// Reads a row of [`COLUMNS`].
pub(super) fn from_row(row: &Row<'_>) -> Result<ContainerRow, DbError> {
    let read = DbError::query("read a container");
    let text = |i: usize| row.get::<_, String>(i).map_err(&read);
    let process = |pid: usize| -> Result<Option<(i32, u64)>, DbError> {
        let id: Option<i32> = row.get(pid).map_err(&read)?;
        let start: Option<i64> = row.get(pid + 1).map_err(&read)?;
        Ok(id.zip(start.and_then(|s| u64::try_from(s).ok())))
    };
    let image_id: Option<String> = row.get(3).map_err(&read)?;
    Ok(ContainerRow {
        id: parse("a container id", text(0)?)?,
        name: parse("a container name", text(1)?)?,
        kept: row.get(2).map_err(&read)?,
        image_id: image_id.map(|id| parse("an image id", id)).transpose()?,
        definition: text(4)?,
        created_ns: row.get(5).map_err(&read)?,
        state: ContainerState {
            status: parse("a status", text(6)?)?,
            init: process(7)?,
            monitor: process(9)?,
            started_ns: row.get(11).map_err(&read)?,
            finished_ns: row.get(12).map_err(&read)?,
            exit_code: row.get(13).map_err(&read)?,
            oom_killed: row.get(14).map_err(&read)?,
            error: text(15)?,
            restarts: row.get(16).map_err(&read)?,
            stop_requested: row.get(17).map_err(&read)?,
        },
        durable: row.get(18).map_err(&read)?,
    })
}

pub(crate) fn parse<T: FromStr>(what: &'static str, value: String) -> Result<T, DbError> {
    value.parse().map_err(|_| DbError::Corrupt { what, value })
}
