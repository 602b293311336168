//! `wait`.

use rocker_db::DbError;
use rocker_types::{ContainerQuery, ContainerStatus};
use rustix::event::{PollFd, PollFlags};

use crate::EngineError;
use crate::control::{Event, Session, Wants};
use crate::engine::Engine;
use crate::recover::STATE_LOST;

impl Engine {
    /// Blocks until the container has ended and returns its exit code: at once when it does
    /// not run, else as soon as its monitor has recorded the end.
    ///
    /// # Errors
    ///
    /// [`EngineError::Db`] when there is no such container, or not any more and nobody told how
    /// it ended.
    pub fn wait(&mut self, query: &ContainerQuery) -> Result<i32, EngineError> {
        let row = self.live.find(query)?;
        let mut hung_up_on = false;
        loop {
            let now = match self.live.container(&row.id) {
                Ok(now) => now,
                // a monitor that lives tells everybody before it hangs up
                Err(DbError::NoSuchContainer(_)) if hung_up_on => return Ok(STATE_LOST),
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
                    hung_up_on = true;
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
