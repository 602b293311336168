//! `attach`.

use rocker_db::ContainerRow;
use rocker_types::{ContainerId, ContainerQuery, ContainerStatus};

use crate::EngineError;
use crate::control::{Session, Wants};
use crate::engine::Engine;

/// A conversation with a running container.
#[derive(Debug)]
pub struct Attached {
    /// Its id.
    pub id: ContainerId,
    /// Output from now on, and input if the container takes any.
    pub session: Session,
    /// Whether it has a terminal.
    pub tty: bool,
}

impl Engine {
    /// Connects to a running container's streams; `stdin` only if input is to be sent.
    ///
    /// # Errors
    ///
    /// [`EngineError::NotRunning`], [`EngineError::Paused`].
    pub fn attach(&mut self, query: &ContainerQuery, stdin: bool) -> Result<Attached, EngineError> {
        let row = self.live.find(query)?;
        let container = row.name.to_string();
        match row.state.status {
            ContainerStatus::Running => {}
            ContainerStatus::Paused => return Err(EngineError::Paused { container }),
            ContainerStatus::Created
            | ContainerStatus::Exited
            | ContainerStatus::Restarting
            | ContainerStatus::Removing
            | ContainerStatus::Dead => return Err(EngineError::NotRunning { container }),
        }
        let definition = self.definition(&row)?;
        let session = self.connect(&row, wants(stdin && definition.open_stdin))?;
        Ok(Attached {
            id: row.id,
            session,
            tty: definition.tty,
        })
    }

    /// A session with everything the container offers.
    pub(crate) fn session(&mut self, row: &ContainerRow) -> Result<Session, EngineError> {
        let stdin = self.definition(row)?.open_stdin;
        self.connect(row, wants(stdin))
    }

    fn connect(&self, row: &ContainerRow, wants: Wants) -> Result<Session, EngineError> {
        let path = self.layout.run_dir(&row.id).join(crate::CONTROL_SOCKET);
        Ok(Session::connect(&path, wants)?)
    }
}

/// Output always, input only where the container takes any.
pub(crate) fn wants(stdin: bool) -> Wants {
    if stdin {
        Wants::OutputAndStdin
    } else {
        Wants::Output
    }
}
