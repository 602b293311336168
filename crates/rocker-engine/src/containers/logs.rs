//! `logs`.

use std::os::fd::OwnedFd;

use rocker_types::{ContainerId, ContainerQuery, Layout};

use crate::EngineError;
use crate::engine::Engine;
use crate::logs::LogFiles;

/// A container's log, and whether more may come.
#[derive(Debug)]
pub struct LogRequest {
    /// The container.
    pub id: ContainerId,
    /// The files; see [`LogReader`](crate::logs::LogReader).
    pub files: LogFiles,
    /// A handle on the container's monitor that becomes readable with its end; `None` when
    /// the container does not run, so that following it would end at once.
    pub writer: Option<OwnedFd>,
}

impl Engine {
    /// Where the log of a container is.
    ///
    /// # Errors
    ///
    /// [`EngineError::Db`] when there is no such container.
    pub fn log(&self, query: &ContainerQuery) -> Result<LogRequest, EngineError> {
        let row = self.live.find(query)?;
        let writer = row
            .state
            .monitor
            .and_then(|(pid, start)| super::signal::open_process(pid, start));
        Ok(LogRequest {
            files: log_files(&self.layout, &row.id),
            id: row.id,
            writer,
        })
    }
}

/// The files of a container's log, named as docker names them.
pub(crate) fn log_files(layout: &Layout, id: &ContainerId) -> LogFiles {
    LogFiles::new(layout.container(id), log_name(id))
}

/// How the current file of a container's log is called, as in docker.
pub(crate) fn log_name(id: &ContainerId) -> String {
    format!("{id}-json.log")
}
