//! Rows and health of both databases, without knowing their schema.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::Scope;

/// Tables about the database itself, about the past, or (networks) about which subnet was chosen
/// once and for all.
const NOT_COUNTED: [&str; 5] = ["sqlite_", "meta", "schema", "event", "networks"];

pub(super) fn facts(scope: &Scope) -> Vec<String> {
    let mut facts = Vec::new();
    for path in [scope.root.join("rocker.db"), scope.runroot.join("live.db")] {
        if path.exists() {
            let name = path
                .file_name()
                .map(|name| name.to_string_lossy().into_owned())
                .unwrap_or_default();
            match look_at(&path, &name) {
                Ok(found) => facts.extend(found),
                Err(error) => facts.push(format!("database {name} cannot be read: {error}")),
            }
        }
    }
    facts
}

fn look_at(path: &Path, name: &str) -> rusqlite::Result<Vec<String>> {
    // Not read-only: a reader of a WAL database must be able to make its shared-memory file.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let database = Connection::open_with_flags(path, flags)?;
    database.busy_timeout(std::time::Duration::from_secs(10))?;
    let mut facts = Vec::new();
    for table in strings(
        &database,
        "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name",
    )? {
        if NOT_COUNTED.iter().any(|prefix| table.starts_with(prefix)) {
            continue;
        }
        let count: i64 =
            database.query_row(&format!("SELECT count(*) FROM \"{table}\""), [], |row| {
                row.get(0)
            })?;
        // An empty table is no fact: the first command makes them all.
        if count > 0 {
            facts.push(format!("rows {name} {table} {count}"));
        }
    }
    for complaint in strings(&database, "PRAGMA integrity_check")?
        .iter()
        .filter(|line| *line != "ok")
    {
        facts.push(format!("database {name} {complaint}"));
    }
    for table in strings(
        &database,
        "SELECT DISTINCT \"table\" FROM pragma_foreign_key_check",
    )? {
        facts.push(format!(
            "database {name} has dangling references in {table}"
        ));
    }
    Ok(facts)
}

fn strings(database: &Connection, query: &str) -> rusqlite::Result<Vec<String>> {
    database
        .prepare(query)?
        .query_map([], |row| row.get(0))?
        .collect()
}
