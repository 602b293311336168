//! What a person asked of a container that runs: to end, and perhaps to start again.

use rocker_types::ContainerId;
use rusqlite::{OptionalExtension, params};

use super::{LiveDb, LiveTransaction};
use crate::DbError;

/// Why a person wants a container's end. Either way its restart policy no longer applies; the
/// next start forgets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndRequest {
    /// To stop.
    Stop,
    /// To start it again: one that goes with its end stays this time.
    Restart,
}

impl EndRequest {
    /// What stands in `stop_requested`; 0 is no request.
    const fn number(self) -> u8 {
        match self {
            Self::Stop => 1,
            Self::Restart => 2,
        }
    }
}

impl LiveDb {
    /// Whether a person asked for the container's end.
    ///
    /// # Errors
    ///
    /// [`DbError::Query`].
    pub fn stop_requested(&self, id: &ContainerId) -> Result<bool, DbError> {
        self.request(id).map(|request| request != 0)
    }

    /// Whether a person asked for its end in order to start it again.
    ///
    /// # Errors
    ///
    /// [`DbError::Query`].
    pub fn restart_requested(&self, id: &ContainerId) -> Result<bool, DbError> {
        self.request(id)
            .map(|request| request == EndRequest::Restart.number())
    }

    fn request(&self, id: &ContainerId) -> Result<u8, DbError> {
        self.db
            .query_row(
                "SELECT stop_requested FROM containers WHERE id = ?1",
                [id.as_str()],
                |row| row.get(0),
            )
            .optional()
            .map(Option::unwrap_or_default)
            .map_err(DbError::query("read a container"))
    }
}

impl LiveTransaction<'_> {
    /// A person asked for the end.
    ///
    /// # Errors
    ///
    /// [`DbError::Query`].
    pub fn request_end(&self, id: &ContainerId, request: EndRequest) -> Result<(), DbError> {
        self.tx
            .execute(
                "UPDATE containers SET stop_requested = ?2 WHERE id = ?1",
                params![id.as_str(), request.number()],
            )
            .map(drop)
            .map_err(DbError::query("record a stop"))
    }

    /// A container that goes with its end has ended to be started again: from now on it stands
    /// as one that was created and not started yet.
    ///
    /// # Errors
    ///
    /// [`DbError::Query`].
    pub fn stand_by(&self, id: &ContainerId) -> Result<(), DbError> {
        self.tx
            .execute(
                "UPDATE containers SET status = 'created', finished_ns = NULL, durable = 1 WHERE id = ?1",
                [id.as_str()],
            )
            .map(drop)
            .map_err(DbError::query("record a status"))
    }
}
