//! What is about to be made, or to be taken away, outside the database.
//!
//! An intent is written before the resource exists and deleted after it is gone. Its
//! owner holds the container's [`OwnerLock`](crate::OwnerLock); when the owner is dead, the
//! next command walks the intents backwards and undoes each, which is idempotent because
//! every resource has a name that derives from the container's id.

use std::str::FromStr;

use rocker_types::ContainerId;
use rusqlite::params;

use super::{LiveDb, LiveTransaction};
use crate::DbError;

/// What kind of resource an intent names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IntentKind {
    /// The container is being created and nothing else is known to need it.
    Creation,
    /// The container's directory in the run root.
    RunDir,
    /// Its cgroups.
    Cgroup,
    /// Its veth pair, published ports and what else the network made.
    Network,
    /// The whole container is being removed: finish that.
    Removal,
}

/// One recorded intent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// What it is.
    pub kind: IntentKind,
    /// Its name or path.
    pub resource: String,
}

impl IntentKind {
    const ALL: [Self; 5] = [
        Self::Creation,
        Self::RunDir,
        Self::Cgroup,
        Self::Network,
        Self::Removal,
    ];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Creation => "creation",
            Self::RunDir => "run-dir",
            Self::Cgroup => "cgroup",
            Self::Network => "network",
            Self::Removal => "removal",
        }
    }
}

impl FromStr for IntentKind {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or(())
    }
}

impl LiveDb {
    /// A container's intents, last written first: the order of undoing.
    ///
    /// # Errors
    ///
    /// [`DbError::Query`] and [`DbError::Corrupt`].
    pub fn intents_of(&self, id: &ContainerId) -> Result<Vec<Intent>, DbError> {
        let failed = DbError::query("read intents");
        let mut statement = self
            .db
            .prepare("SELECT kind, resource FROM intents WHERE container = ?1 ORDER BY seq DESC")
            .map_err(&failed)?;
        let rows = statement
            .query_map([id.as_str()], |row| {
                Ok((row.get::<_, String>(0)?, row.get(1)?))
            })
            .map_err(&failed)?;
        rows.map(|row| {
            let (kind, resource) = row.map_err(&failed)?;
            Ok(Intent {
                kind: super::rows::parse("an intent", kind)?,
                resource,
            })
        })
        .collect()
    }
}

impl LiveTransaction<'_> {
    /// Writes an intent. The resource may be made once the transaction is committed.
    ///
    /// # Errors
    ///
    /// [`DbError::Query`].
    pub fn intend(&self, id: &ContainerId, intent: &Intent) -> Result<(), DbError> {
        self.tx
            .execute(
                "INSERT INTO intents(container, kind, resource) VALUES(?1, ?2, ?3)",
                params![id.as_str(), intent.kind.as_str(), intent.resource],
            )
            .map(drop)
            .map_err(DbError::query("record an intent"))
    }

    /// Every resource of the container is gone, or goes by itself: forgets its intents, leases and
    /// ports.
    ///
    /// # Errors
    ///
    /// [`DbError::Query`].
    pub fn release(&self, id: &ContainerId) -> Result<(), DbError> {
        let failed = DbError::query("release resources");
        for sql in [
            "DELETE FROM intents WHERE container = ?1",
            "DELETE FROM leases WHERE container = ?1",
            "DELETE FROM ports WHERE container = ?1",
            "UPDATE containers SET monitor_pid = NULL, monitor_start = NULL WHERE id = ?1",
        ] {
            self.tx.execute(sql, [id.as_str()]).map_err(&failed)?;
        }
        Ok(())
    }
}
