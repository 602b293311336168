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

/// Overwrites the page of the database at `path` that the table begins with; the log is to be empty.
pub fn ruin_table(path: &Path, table: &str) {
    let page = {
        let database = Connection::open(path).expect("a database");
        let sql = "SELECT rootpage, page_size FROM sqlite_schema, pragma_page_size WHERE name = ?1";
        let found = database.query_row(sql, [table], |row| {
            Ok((row.get::<_, u32>(0)?, row.get::<_, u32>(1)?))
        });
        let (number, bytes) = found.expect("a table");
        // SQL numbers them from 1
        usize::try_from(number - 1).expect("a page") * usize::try_from(bytes).expect("a size")
            ..usize::try_from(number * bytes).expect("a page")
    };
    let mut bytes = fs_err::read(path).expect("the database");
    bytes[page].fill(0);
    fs_err::write(path, bytes).expect("damage");
}
