//! Containers: who exists, what they are called, how they stand.

use rocker_types::{
    ContainerId, ContainerName, ContainerQuery, ContainerStatus, Digest, VolumeName,
};
use rusqlite::{Connection, ToSql, params};

use super::rows::{COLUMNS, from_row};
use super::{ContainerRow, LiveDb, LiveTransaction};
use crate::DbError;

/// What is recorded when a container is created.
#[derive(Clone, Copy, Debug)]
pub struct NewContainer<'a> {
    /// Its id.
    pub id: &'a ContainerId,
    /// Its name; the insert fails when another container has it.
    pub name: &'a ContainerName,
    /// Whether it outlives its end (no `--rm`).
    pub kept: bool,
    /// Digest of the image's config.
    pub image_id: Option<&'a Digest>,
    /// The engine's JSON.
    pub definition: &'a str,
    /// Nanoseconds since 1970.
    pub created_ns: i64,
    /// The volumes that it mounts.
    pub volumes: &'a [VolumeName],
}

/// What is recorded when a container's program runs.
#[derive(Clone, Copy, Debug)]
pub struct StartedRecord {
    /// Pid and start time of init.
    pub init: (i32, u64),
    /// Pid and start time of the monitor.
    pub monitor: (i32, u64),
    /// Nanoseconds since 1970.
    pub started_ns: i64,
    /// How often the restart policy has started it by now.
    pub restarts: u32,
}

/// What is recorded when a container has ended or could not start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExitRecord {
    /// `Exited`, or `Restarting` while the back-off runs, or `Created` when it never ran.
    pub status: ContainerStatus,
    /// 0 to 255.
    pub exit_code: i32,
    /// Whether the kernel killed init for want of memory.
    pub oom_killed: bool,
    /// Empty when nothing went wrong.
    pub error: String,
    /// Nanoseconds since 1970; `None` when it never ran, or nobody saw it end.
    pub finished_ns: Option<i64>,
}

impl LiveDb {
    /// Finds a container as users name it: full id, then exact name, then unique id prefix.
    ///
    /// # Errors
    ///
    /// [`DbError::NoSuchContainer`] and [`DbError::Ambiguous`].
    pub fn find(&self, query: &ContainerQuery) -> Result<ContainerRow, DbError> {
        let text = query.as_str();
        let by = |clause: &str, value: &dyn ToSql| select(&self.db, clause, &[value]);
        if let Some(row) = by("WHERE id = ?1", &text)?.pop() {
            return Ok(row);
        }
        if let Some(row) = by("WHERE name = ?1", &text)?.pop() {
            return Ok(row);
        }
        let is_hex =
            !text.is_empty() && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let mut rows = if is_hex {
            by("WHERE substr(id, 1, length(?1)) = ?1", &text)?
        } else {
            Vec::new()
        };
        match rows.len() {
            0 => Err(DbError::NoSuchContainer(text.to_owned())),
            1 => Ok(rows.remove(0)),
            _ => Err(DbError::Ambiguous {
                query: text.to_owned(),
                candidates: rows.iter().map(|row| row.id.short().to_owned()).collect(),
            }),
        }
    }

    /// The container with this id.
    ///
    /// # Errors
    ///
    /// [`DbError::NoSuchContainer`].
    pub fn container(&self, id: &ContainerId) -> Result<ContainerRow, DbError> {
        select(&self.db, "WHERE id = ?1", &[&id.as_str()])?
            .pop()
            .ok_or_else(|| DbError::NoSuchContainer(id.to_string()))
    }

    /// Every container, newest first.
    ///
    /// # Errors
    ///
    /// [`DbError::Query`] and [`DbError::Corrupt`].
    pub fn containers(&self) -> Result<Vec<ContainerRow>, DbError> {
        select(&self.db, "ORDER BY created_ns DESC, id", &[])
    }

    /// Ids of the containers that some living process must own: those that run, and those
    /// with work under way. Cheap; every command asks.
    ///
    /// # Errors
    ///
    /// [`DbError::Query`] and [`DbError::Corrupt`].
    pub fn owned_containers(&self) -> Result<Vec<ContainerId>, DbError> {
        let sql = "SELECT id FROM containers WHERE status IN ('running', 'restarting', 'paused', 'removing')
                 OR (kept = 0 AND finished_ns IS NOT NULL) OR (status = 'created' AND durable = 0)
             UNION SELECT container FROM intents";
        strings(&self.db, sql, &[])?
            .into_iter()
            .map(|id| super::rows::parse("a container id", id))
            .collect()
    }

    /// Names of the containers that mount `volume`.
    ///
    /// # Errors
    ///
    /// [`DbError::Query`].
    pub fn users_of_volume(&self, volume: &VolumeName) -> Result<Vec<String>, DbError> {
        volume_users(&self.db, volume)
    }

    /// Names of the containers made from the image.
    ///
    /// # Errors
    ///
    /// [`DbError::Query`].
    pub fn users_of_image(&self, image_id: &Digest) -> Result<Vec<String>, DbError> {
        image_users(&self.db, image_id)
    }

    /// The volumes that a container mounts.
    ///
    /// # Errors
    ///
    /// [`DbError::Query`] and [`DbError::Corrupt`].
    pub fn volumes_of(&self, id: &ContainerId) -> Result<Vec<VolumeName>, DbError> {
        let names = strings(
            &self.db,
            "SELECT volume FROM volume_users WHERE container = ?1 ORDER BY volume",
            &[&id.as_str()],
        )?;
        names
            .into_iter()
            .map(|name| super::rows::parse("a volume name", name))
            .collect()
    }
}

impl LiveTransaction<'_> {
    /// Records a new container; its name is taken from then on.
    ///
    /// # Errors
    ///
    /// [`DbError::NameTaken`] with the holder.
    pub fn insert(&self, new: &NewContainer<'_>) -> Result<(), DbError> {
        let holder = "SELECT id FROM containers WHERE name = ?1";
        if let Some(holder) = strings(&self.tx, holder, &[&new.name.as_str()])?.pop() {
            return Err(DbError::NameTaken {
                name: new.name.to_string(),
                holder,
            });
        }
        let failed = DbError::query("record a container");
        self.tx
            .execute(
                "INSERT INTO containers(id, name, kept, image_id, definition, created_ns, status) VALUES(?1, ?2, ?3, ?4, ?5, ?6, 'created')",
                params![
                    new.id.as_str(),
                    new.name.as_str(),
                    new.kept,
                    new.image_id.map(ToString::to_string),
                    new.definition,
                    new.created_ns
                ],
            )
            .map_err(&failed)?;
        for volume in new.volumes {
            self.tx
                .execute(
                    "INSERT OR IGNORE INTO volume_users(volume, container) VALUES(?1, ?2)",
                    [volume.as_str(), new.id.as_str()],
                )
                .map_err(&failed)?;
        }
        Ok(())
    }

    /// Every container; see [`LiveDb::container`].
    ///
    /// # Errors
    ///
    /// [`DbError::NoSuchContainer`].
    pub fn container(&self, id: &ContainerId) -> Result<ContainerRow, DbError> {
        select(&self.tx, "WHERE id = ?1", &[&id.as_str()])?
            .pop()
            .ok_or_else(|| DbError::NoSuchContainer(id.to_string()))
    }

    /// Every container whose program runs, is being started, or may still have to be taken away:
    /// while the transaction lasts, there are no others.
    ///
    /// # Errors
    ///
    /// [`DbError::Query`] and [`DbError::Corrupt`].
    pub fn in_use(&self) -> Result<Vec<ContainerRow>, DbError> {
        let clause = "WHERE status IN ('running', 'restarting', 'paused')
                 OR id IN (SELECT container FROM intents) ORDER BY name";
        select(&self.tx, clause, &[])
    }

    /// The program runs.
    ///
    /// # Errors
    ///
    /// [`DbError::Query`].
    pub fn record_start(&self, id: &ContainerId, started: &StartedRecord) -> Result<(), DbError> {
        let signed = |ticks: u64| i64::try_from(ticks).unwrap_or(i64::MAX);
        self.tx
            .execute(
                "UPDATE containers SET status = 'running', pid = ?2, pid_start = ?3, monitor_pid = ?4, monitor_start = ?5, started_ns = ?6,
                 restarts = ?7, finished_ns = NULL, exit_code = 0, oom_killed = 0, error = '' WHERE id = ?1",
                params![
                    id.as_str(),
                    started.init.0,
                    signed(started.init.1),
                    started.monitor.0,
                    signed(started.monitor.1),
                    started.started_ns,
                    started.restarts
                ],
            )
            .map(drop)
            .map_err(DbError::query("record a start"))
    }

    /// The program has ended, or could not start.
    ///
    /// # Errors
    ///
    /// [`DbError::Query`].
    pub fn record_exit(&self, id: &ContainerId, exit: &ExitRecord) -> Result<(), DbError> {
        self.tx
            .execute(
                "UPDATE containers SET status = ?2, pid = NULL, pid_start = NULL, exit_code = ?3, oom_killed = ?4, error = ?5, finished_ns = ?6
                 WHERE id = ?1",
                params![id.as_str(), exit.status.as_str(), exit.exit_code, exit.oom_killed, exit.error, exit.finished_ns],
            )
            .map(drop)
            .map_err(DbError::query("record an exit"))
    }

    /// The restart policy has tried so often by now.
    ///
    /// # Errors
    ///
    /// [`DbError::Query`].
    pub fn count_restarts(&self, id: &ContainerId, restarts: u32) -> Result<(), DbError> {
        self.tx
            .execute(
                "UPDATE containers SET restarts = ?2 WHERE id = ?1",
                params![id.as_str(), restarts],
            )
            .map(drop)
            .map_err(DbError::query("record a restart"))
    }

    /// Sets the status alone: paused, running again, being removed.
    ///
    /// # Errors
    ///
    /// [`DbError::Query`].
    pub fn set_status(&self, id: &ContainerId, status: ContainerStatus) -> Result<(), DbError> {
        self.tx
            .execute(
                "UPDATE containers SET status = ?2 WHERE id = ?1",
                [id.as_str(), status.as_str()],
            )
            .map(drop)
            .map_err(DbError::query("record a status"))
    }

    /// The durable database has the container.
    ///
    /// # Errors
    ///
    /// [`DbError::Query`].
    pub fn mark_durable(&self, id: &ContainerId) -> Result<(), DbError> {
        self.tx
            .execute(
                "UPDATE containers SET durable = 1 WHERE id = ?1",
                [id.as_str()],
            )
            .map(drop)
            .map_err(DbError::query("record a container"))
    }

    /// Forgets a container with its leases, ports and intents; its name is free again.
    ///
    /// # Errors
    ///
    /// [`DbError::Query`].
    pub fn delete(&self, id: &ContainerId) -> Result<(), DbError> {
        let failed = DbError::query("forget a container");
        self.tx
            .execute("DELETE FROM intents WHERE container = ?1", [id.as_str()])
            .map_err(&failed)?;
        self.tx
            .execute("DELETE FROM containers WHERE id = ?1", [id.as_str()])
            .map(drop)
            .map_err(failed)
    }

    /// See [`LiveDb::users_of_image`].
    ///
    /// # Errors
    ///
    /// [`DbError::Query`].
    pub fn users_of_image(&self, image_id: &Digest) -> Result<Vec<String>, DbError> {
        image_users(&self.tx, image_id)
    }

    /// See [`LiveDb::users_of_volume`].
    ///
    /// # Errors
    ///
    /// [`DbError::Query`].
    pub fn users_of_volume(&self, volume: &VolumeName) -> Result<Vec<String>, DbError> {
        volume_users(&self.tx, volume)
    }
}

fn image_users(db: &Connection, image_id: &Digest) -> Result<Vec<String>, DbError> {
    strings(
        db,
        "SELECT name FROM containers WHERE image_id = ?1 ORDER BY name",
        &[&image_id.to_string()],
    )
}

fn volume_users(db: &Connection, volume: &VolumeName) -> Result<Vec<String>, DbError> {
    let sql = "SELECT c.name FROM volume_users u JOIN containers c ON c.id = u.container WHERE u.volume = ?1 ORDER BY c.name";
    strings(db, sql, &[&volume.as_str()])
}

fn select(
    db: &Connection,
    clause: &str,
    values: &[&dyn ToSql],
) -> Result<Vec<ContainerRow>, DbError> {
    let failed = DbError::query("read containers");
    let mut statement = db
        .prepare(&format!("SELECT {COLUMNS} FROM containers {clause}"))
        .map_err(&failed)?;
    let mut rows = statement.query(values).map_err(&failed)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next().map_err(&failed)? {
        found.push(from_row(row)?);
    }
    Ok(found)
}

/// The first column of every row.
pub(crate) fn strings(
    db: &Connection,
    sql: &str,
    values: &[&dyn ToSql],
) -> Result<Vec<String>, DbError> {
    let failed = DbError::query("read");
    let mut statement = db.prepare(sql).map_err(&failed)?;
    let rows = statement
        .query_map(values, |row| row.get(0))
        .map_err(&failed)?;
    rows.collect::<Result<_, _>>().map_err(failed)
}
