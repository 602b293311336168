//! `wait`.

use rocker_types::{ContainerQuery, ContainerStatus};
use rustix::event::{PollFd, PollFlags};

use crate::EngineError;
use crate::control::{Event, Session, Wants};
use crate::engine::Engine;

impl Engine {
    /// Blocks until the container has ended and returns its exit code: at once when it does
    /// not run, else as soon as its monitor has recorded the end.
    ///
    /// # Errors
    ///
    /// [`EngineError::Db`] when there is no such container.
    pub fn wait(&mut self, query: &ContainerQuery) -> Result<i32, EngineError> {
        let row = self.live.find(query)?;
        loop {
            let now = match self.live.container(&row.id) {
                Ok(now) => now,
                // --rm, and gone between two looks
                Err(rocker_db::DbError::NoSuchContainer(_)) => return Ok(row.state.exit_code),
                Err(e) => return Err(e.into()),
            };
            match now.state.status {
                ContainerStatus::Created
                | ContainerStatus::Exited
                | ContainerStatus::Dead
                | ContainerStatus::Removing => {
                    return Ok(now.state.exit_code);
                }
                ContainerStatus::Running
                | ContainerStatus::Paused
                | ContainerStatus::Restarting => {}
            }
            let path = self.layout.run_dir(&row.id).join(crate::CONTROL_SOCKET);
            match Session::connect(&path, Wants::Exit) {
                Ok(session) => {
                    if let Some(code) = exit_code(session)? {
                        return Ok(code);
                    }
                }
                // the monitor is just leaving, or was killed
                Err(_) => self.wait_until_let_go(&now)?,
            }
            self.recover()?;
        }
    }
}

/// The code that the monitor tells, or `None` when it hung up without one.
fn exit_code(mut session: Session) -> Result<Option<i32>, EngineError> {
    loop {
        match session.next()? {
            Some(Event::Exited(code)) => return Ok(Some(code)),
            Some(Event::Closed) => return Ok(None),
            Some(Event::Stdout(_) | Event::Stderr(_) | Event::StdinReady | Event::StdinClosed) => {}
            None => {
                // an interrupted poll is repeated by the loop
                let _ = rustix::event::poll(&mut [PollFd::new(&session, PollFlags::IN)], None);
            }
        }
    }
}
