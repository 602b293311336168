//! The database of running things, on tmpfs.

mod containers;
mod image_mounts;
mod intents;
mod network;
mod requests;
mod rows;
mod schema;
mod seed;

use std::path::Path;

use rusqlite::Connection;

use crate::DbError;
use crate::busy::failure;
use crate::connection::{self, Durability};
use crate::named_file::{NamedFile, Write};

pub use containers::{ExitRecord, NewContainer, StartedRecord};
pub use image_mounts::ImageMountRow;
pub use intents::{Intent, IntentKind};
pub use network::{NetworkRow, StartClaim, StartGrant};
pub use requests::EndRequest;
pub use rows::{ContainerRow, ContainerState};

pub(crate) use containers::strings;
pub(crate) use rows::parse;

/// An open connection to the live database.
#[derive(Debug)]
pub struct LiveDb {
    db: Connection,
    file: NamedFile,
}

/// A write transaction: nobody else writes, in any rocker process, until it ends.
/// Dropped without [`commit`](Self::commit), it leaves no trace.
#[derive(Debug)]
pub struct LiveTransaction<'db> {
    tx: Write<'db>,
}

/// That somebody wants a sweep; another wish than this one may come while it is fulfilled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SweepWish(String);

impl LiveDb {
    /// Opens the database, creating it after a reboot.
    ///
    /// # Errors
    ///
    /// [`DbError::Open`] and [`DbError::TooNew`].
    pub fn open(path: &Path) -> Result<Self, DbError> {
        let (db, file) = NamedFile::open(path, || {
            connection::open(path, Durability::Process, schema::SCRIPTS, &|| true)
        })?;
        Ok(Self { db, file })
    }

    /// Keeps everybody from writing to this file until it is closed, for who exchanges it; `false`
    /// if it is too damaged for that, so that nobody can write to it.
    #[must_use]
    pub fn hold(&self) -> bool {
        self.db.execute_batch("BEGIN IMMEDIATE").is_ok()
    }

    /// Starts a write transaction on the file that has this one's name by now, waiting for other
    /// writers.
    ///
    /// # Errors
    ///
    /// [`DbError::Locked`] when somebody holds the lock too long.
    pub fn begin(&mut self) -> Result<LiveTransaction<'_>, DbError> {
        let failed = DbError::query("start a transaction");
        while !self
            .file
            .lock(&self.db)
            .map_err(failure(&self.db, &failed))?
        {
            *self = Self::open(self.file.path())?;
        }
        let tx = Write::locked(&mut self.db);
        Ok(LiveTransaction { tx })
    }

    /// Whether something may lie on disk that no row knows: after a boot, and while or after
    /// images come and go.
    ///
    /// # Errors
    ///
    /// [`DbError::Query`].
    pub fn sweep_wanted(&self) -> Result<Option<SweepWish>, DbError> {
        let rows = strings(&self.db, "SELECT value FROM meta WHERE key = 'sweep'", &[])?;
        Ok(rows.into_iter().next().map(SweepWish))
    }

    /// Whether a bridge may be there although no container has an address on it.
    ///
    /// # Errors
    ///
    /// [`DbError::Query`].
    pub fn bridge_may_be_idle(&self) -> Result<bool, DbError> {
        let sql =
            "SELECT value FROM meta WHERE key = 'bridge' AND NOT EXISTS (SELECT 1 FROM leases)";
        strings(&self.db, sql, &[]).map(|rows| !rows.is_empty())
    }

    /// sqlite's own opinion of the file, one line a problem; empty is healthy.
    ///
    /// # Errors
    ///
    /// [`DbError::Query`] when it cannot even be asked.
    pub fn integrity_problems(&self) -> Result<Vec<String>, DbError> {
        crate::durable::integrity_problems(&self.db)
    }

    /// Whether every row that commands rely on can be read.
    ///
    /// # Errors
    ///
    /// [`DbError::Query`] and [`DbError::Corrupt`] for the first that cannot.
    pub fn read_all(&self) -> Result<(), DbError> {
        for row in self.containers()? {
            self.intents_of(&row.id)?;
            self.ports_of(&row.id)?;
            self.volumes_of(&row.id)?;
            self.address_of(&row.id)?;
        }
        // also those of containers that are not there
        self.addresses()?;
        self.ports()?;
        self.read_networks()?;
        self.image_mounts()?;
        self.owned_containers().map(drop)
    }
}

impl LiveTransaction<'_> {
    /// Asks for a sweep; written before anything is made that only a sweep would find.
    ///
    /// # Errors
    ///
    /// [`DbError::Query`].
    pub fn want_sweep(&self) -> Result<(), DbError> {
        self.tx
            .execute(
                "INSERT INTO meta(key, value) VALUES('sweep', hex(randomblob(8)))
                 ON CONFLICT(key) DO UPDATE SET value = excluded.value",
                [],
            )
            .map(drop)
            .map_err(DbError::query("record an intent"))
    }

    /// As [`want_sweep`](Self::want_sweep), for who may see to it alone: the wish, if nobody had
    /// one before.
    ///
    /// # Errors
    ///
    /// [`DbError::Query`].
    pub fn want_own_sweep(&self) -> Result<Option<SweepWish>, DbError> {
        let wish = || strings(&self.tx, "SELECT value FROM meta WHERE key = 'sweep'", &[]);
        let is_first = wish()?.is_empty();
        self.want_sweep()?;
        Ok(wish()?.pop().filter(|_| is_first).map(SweepWish))
    }

    /// The idle bridge is gone, unless somebody got an address on it meanwhile.
    ///
    /// # Errors
    ///
    /// [`DbError::Query`].
    pub fn bridge_gone(&self) -> Result<(), DbError> {
        self.tx
            .execute(
                "DELETE FROM meta WHERE key = 'bridge' AND NOT EXISTS (SELECT 1 FROM leases)",
                [],
            )
            .map(drop)
            .map_err(DbError::query("forget a bridge"))
    }

    /// Everything on disk is accounted for, unless somebody else has wished for a sweep since.
    ///
    /// # Errors
    ///
    /// [`DbError::Query`].
    pub fn sweep_done(&self, wish: &SweepWish) -> Result<(), DbError> {
        self.tx
            .execute(
                "DELETE FROM meta WHERE key = 'sweep' AND value = ?1",
                [&wish.0],
            )
            .map(drop)
            .map_err(DbError::query("record an intent"))
    }

    /// Makes everything visible at once.
    ///
    /// # Errors
    ///
    /// [`DbError::Query`]; nothing has changed then.
    pub fn commit(self) -> Result<(), DbError> {
        self.tx.commit().map_err(DbError::query("commit"))
    }
}
