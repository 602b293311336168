//! The durable copy of kept containers: what is left of them after a reboot.

use rocker_types::{ContainerId, ContainerName, ContainerStatus, Digest, VolumeName};
use rusqlite::params;

use super::{DurableDb, count_change};
use crate::DbError;
use crate::live::{ContainerRow, ExitRecord, parse, strings};

/// A kept container as it stood when it was last written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DurableContainer {
    /// Its id.
    pub id: ContainerId,
    /// Its name.
    pub name: ContainerName,
    /// Digest of the image's config.
    pub image_id: Option<Digest>,
    /// The engine's JSON.
    pub definition: String,
    /// The volumes that it mounts.
    pub volumes: Vec<VolumeName>,
    /// Nanoseconds since 1970.
    pub created_ns: i64,
    /// When it last started.
    pub started_ns: Option<i64>,
    /// How it stood. A container that was running when the machine went down is
    /// `Exited` with 255.
    pub exit: ExitRecord,
}

/// The exit code of a container whose end nobody saw.
const STATE_LOST: i32 = 255;

impl DurableDb {
    /// Writes a container down, or how it stands now.
    ///
    /// # Errors
    ///
    /// [`DbError::Query`].
    pub fn record_container(
        &mut self,
        row: &ContainerRow,
        volumes: &[VolumeName],
    ) -> Result<(), DbError> {
        let changed = "DO UPDATE SET name = excluded.name, definition = excluded.definition, status = excluded.status,
                     exit_code = excluded.exit_code, oom_killed = excluded.oom_killed, error = excluded.error,
                     started_ns = excluded.started_ns, finished_ns = excluded.finished_ns";
        self.insert_container(row, volumes, changed).map(drop)
    }

    /// Writes a container down unless it is there; `false` when it was.
    ///
    /// # Errors
    ///
    /// [`DbError::Query`].
    pub fn ensure_container(
        &mut self,
        row: &ContainerRow,
        volumes: &[VolumeName],
    ) -> Result<bool, DbError> {
        self.insert_container(row, volumes, "DO NOTHING")
    }

    /// `if_known` is what to do with a row that is there; whether anything was written.
    fn insert_container(
        &mut self,
        row: &ContainerRow,
        volumes: &[VolumeName],
        if_known: &str,
    ) -> Result<bool, DbError> {
        let failed = DbError::query("record a container");
        let state = &row.state;
        let volumes = volumes
            .iter()
            .map(VolumeName::as_str)
            .collect::<Vec<_>>()
            .join(" ");
        let tx = self.begin()?;
        let sql = format!(
            "INSERT INTO containers(id, name, image_id, definition, volumes, created_ns, status, exit_code,
                 oom_killed, error, started_ns, finished_ns)
             VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
             ON CONFLICT(id) {if_known}"
        );
        let rows = tx
            .execute(
                &sql,
                params![
                    row.id.as_str(),
                    row.name.as_str(),
                    row.image_id.as_ref().map(ToString::to_string),
                    row.definition,
                    volumes,
                    row.created_ns,
                    state.status.as_str(),
                    state.exit_code,
                    state.oom_killed,
                    state.error,
                    state.started_ns,
                    state.finished_ns
                ],
            )
            .map_err(&failed)?;
        if rows > 0 {
            count_change(&tx)?;
        }
        tx.commit().map_err(failed)?;
        Ok(rows > 0)
    }

    /// Forgets a container; without a word on disk if it is not known.
    ///
    /// # Errors
    ///
    /// [`DbError::Query`].
    pub fn delete_container(&mut self, id: &ContainerId) -> Result<(), DbError> {
        let failed = DbError::query("forget a container");
        let sql = "SELECT id FROM containers WHERE id = ?1";
        if strings(&self.db, sql, &[&id.as_str()])?.is_empty() {
            return Ok(());
        }
        let tx = self.begin()?;
        tx.execute("DELETE FROM containers WHERE id = ?1", [id.as_str()])
            .map_err(&failed)?;
        count_change(&tx)?;
        tx.commit().map_err(failed)
    }

    /// Every kept container, for the first command after a reboot.
    ///
    /// # Errors
    ///
    /// [`DbError::Query`] and [`DbError::Corrupt`].
    pub fn kept_containers(&self) -> Result<Vec<DurableContainer>, DbError> {
        let failed = DbError::query("read kept containers");
        let sql = "SELECT id, name, image_id, definition, volumes, created_ns, status, exit_code, oom_killed, error, started_ns, finished_ns
                   FROM containers";
        let mut statement = self.db.prepare(sql).map_err(&failed)?;
        let mut rows = statement.query([]).map_err(&failed)?;
        let mut kept = Vec::new();
        while let Some(row) = rows.next().map_err(&failed)? {
            kept.push(from_row(row)?);
        }
        Ok(kept)
    }
}

pub(super) fn from_row(row: &rusqlite::Row<'_>) -> Result<DurableContainer, DbError> {
    let failed = DbError::query("read kept containers");
    let text = |i: usize| row.get::<_, String>(i).map_err(&failed);
    let image_id: Option<String> = row.get(2).map_err(&failed)?;
    let volumes = text(4)?;
    let status: ContainerStatus = parse("a status", text(6)?)?;
    let finished_ns: Option<i64> = row.get(11).map_err(&failed)?;
    let exit = if status.is_active() {
        ExitRecord {
            status: ContainerStatus::Exited,
            exit_code: STATE_LOST,
            oom_killed: false,
            error: "the machine went down while it ran".into(),
            finished_ns,
        }
    } else {
        ExitRecord {
            status,
            exit_code: row.get(7).map_err(&failed)?,
            oom_killed: row.get(8).map_err(&failed)?,
            error: text(9)?,
            finished_ns,
        }
    };
    Ok(DurableContainer {
        id: parse("a container id", text(0)?)?,
        name: parse("a container name", text(1)?)?,
        image_id: image_id.map(|id| parse("an image id", id)).transpose()?,
        definition: text(3)?,
        volumes: volumes
            .split_whitespace()
            .map(|name| parse("a volume name", name.to_owned()))
            .collect::<Result<_, _>>()?,
        created_ns: row.get(5).map_err(&failed)?,
        started_ns: row.get(10).map_err(&failed)?,
        exit,
    })
}
