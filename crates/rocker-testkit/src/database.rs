//! Databases that are changed behind rocker's back.

use std::path::Path;

use rusqlite::Connection;

/// Runs SQL on the database at `path`, which another rocker may have open.
pub fn alter(path: &Path, sql: &str) {
    let database = Connection::open(path).expect("a database");
    database
        .busy_timeout(std::time::Duration::from_secs(10))
        .expect("a time limit");
    database.execute_batch(sql).expect("SQL");
}
