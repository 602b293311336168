//! The database of kept things.

mod containers;
mod images;
mod schema;
mod volumes;

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior};

use crate::DbError;
use crate::connection::{self, Durability};

pub use containers::DurableContainer;
pub use images::{ImageRow, LayerRow, NewImage, Untagged};
pub use volumes::VolumeRow;

/// An open connection to the durable database.
#[derive(Debug)]
pub struct DurableDb {
    db: Connection,
}

impl DurableDb {
    /// Opens the database, creating it on first use.
    ///
    /// # Errors
    ///
    /// [`DbError::Open`] and [`DbError::TooNew`].
    pub fn open(path: &Path) -> Result<Self, DbError> {
        Ok(Self {
            db: connection::open(path, Durability::Full, schema::SCRIPTS)?,
        })
    }

    /// sqlite's own opinion of the file, one line a problem; empty is healthy.
    ///
    /// # Errors
    ///
    /// [`DbError::Query`] when it cannot even be asked.
    pub fn integrity_problems(&self) -> Result<Vec<String>, DbError> {
        integrity_problems(&self.db)
    }

    fn begin(&mut self) -> Result<Transaction<'_>, DbError> {
        self.db
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(DbError::query("start a transaction"))
    }
}

pub(crate) fn integrity_problems(db: &Connection) -> Result<Vec<String>, DbError> {
    let failed = DbError::query("check integrity");
    let mut statement = db.prepare("PRAGMA integrity_check").map_err(&failed)?;
    let rows = statement
        .query_map([], |row| row.get::<_, String>(0))
        .map_err(&failed)?;
    let mut problems: Vec<String> = rows.collect::<Result<_, _>>().map_err(&failed)?;
    problems.retain(|line| line != "ok");
    let dangling = db
        .query_row(
            "SELECT \"table\" FROM pragma_foreign_key_check LIMIT 1",
            [],
            |row| row.get::<_, String>(0),
        )
        .optional()
        .map_err(failed)?;
    problems.extend(dangling.map(|table| format!("a row of table {table} refers to nothing")));
    Ok(problems)
}
