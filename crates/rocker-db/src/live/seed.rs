//! The first command after a boot: kept containers come back from the durable database.

use rocker_types::{ContainerId, ContainerName};
use rusqlite::{Connection, params};

use super::containers::{NewContainer, strings};
use super::{LiveDb, LiveTransaction};
use crate::{DbError, DurableContainer};

impl LiveDb {
    /// Whether the kept containers have been copied from the durable database since boot.
    ///
    /// # Errors
    ///
    /// [`DbError::Query`].
    pub fn is_seeded(&self) -> Result<bool, DbError> {
        is_seeded(&self.db)
    }
}

impl LiveTransaction<'_> {
    /// See [`LiveDb::is_seeded`].
    ///
    /// # Errors
    ///
    /// [`DbError::Query`].
    pub fn is_seeded(&self) -> Result<bool, DbError> {
        is_seeded(&self.tx)
    }

    /// Copies the kept containers in, once after boot. A name that several have goes to the
    /// newest; the others get their id added to it and are returned, for only an interrupted
    /// command of an earlier rocker can have left that. One that is here already stays as it is:
    /// whoever made it knows better how it stands.
    ///
    /// # Errors
    ///
    /// [`DbError::Query`].
    pub fn seed(&self, kept: &[DurableContainer]) -> Result<Vec<ContainerName>, DbError> {
        let renamed = self.bring_back(kept)?;
        self.tx
            .execute("INSERT INTO meta(key, value) VALUES('seeded', '1')", [])
            .map_err(DbError::query("copy kept containers"))?;
        Ok(renamed)
    }

    /// As [`seed`](Self::seed) for containers that were found later.
    ///
    /// # Errors
    ///
    /// [`DbError::Query`].
    pub fn bring_back(&self, kept: &[DurableContainer]) -> Result<Vec<ContainerName>, DbError> {
        let mut newest_first: Vec<_> = kept.iter().collect();
        newest_first.sort_by_key(|container| std::cmp::Reverse(container.created_ns));
        let mut renamed = Vec::new();
        for container in newest_first {
            if self.is_here(&container.id)? {
                continue;
            }
            match self.seed_one(container, &container.name) {
                Err(DbError::NameTaken { .. }) => {
                    let name = name_with_id(&container.name, &container.id)?;
                    self.seed_one(container, &name)?;
                    renamed.push(name);
                }
                other => other?,
            }
        }
        Ok(renamed)
    }

    fn is_here(&self, id: &ContainerId) -> Result<bool, DbError> {
        let sql = "SELECT id FROM containers WHERE id = ?1";
        strings(&self.tx, sql, &[&id.as_str()]).map(|found| !found.is_empty())
    }

    fn seed_one(&self, container: &DurableContainer, name: &ContainerName) -> Result<(), DbError> {
        self.insert(&NewContainer {
            id: &container.id,
            name,
            kept: true,
            image_id: container.image_id.as_ref(),
            definition: &container.definition,
            created_ns: container.created_ns,
            volumes: &container.volumes,
        })?;
        let exit = &container.exit;
        self.tx
            .execute(
                "UPDATE containers SET status = ?2, exit_code = ?3, oom_killed = ?4, error = ?5, finished_ns = ?6,
                 started_ns = ?7, durable = 1 WHERE id = ?1",
                params![
                    container.id.as_str(),
                    exit.status.as_str(),
                    exit.exit_code,
                    exit.oom_killed,
                    exit.error,
                    exit.finished_ns,
                    container.started_ns
                ],
            )
            .map(drop)
            .map_err(DbError::query("copy kept containers"))
    }
}

/// `web-0123456789ab`, or the whole id where that is too long.
fn name_with_id(name: &ContainerName, id: &ContainerId) -> Result<ContainerName, DbError> {
    let text = format!("{}-{}", name.as_str(), id.short());
    text.parse()
        .or_else(|_| id.as_str().parse())
        .map_err(|_| DbError::Corrupt {
            what: "a container name",
            value: text,
        })
}

fn is_seeded(db: &Connection) -> Result<bool, DbError> {
    strings(db, "SELECT value FROM meta WHERE key = 'seeded'", &[]).map(|rows| !rows.is_empty())
}

#[cfg(test)]
mod tests {
    use rocker_types::ContainerStatus;

    use super::*;
    use crate::ExitRecord;

    #[test]
    fn who_is_here_already_stays_as_it_is_and_the_rest_comes() {
        let dir = tempfile::tempdir().unwrap();
        let mut db = LiveDb::open(&dir.path().join("live.db")).unwrap();
        let kept = |number: u8, name: &str| DurableContainer {
            id: ContainerId::from_bytes([number; 32]),
            name: name.parse().unwrap(),
            image_id: None,
            definition: "{}".into(),
            volumes: Vec::new(),
            created_ns: number.into(),
            started_ns: None,
            exit: ExitRecord {
                status: ContainerStatus::Exited,
                exit_code: 3,
                oom_killed: false,
                error: String::new(),
                finished_ns: None,
            },
        };
        let web = kept(1, "web");
        let tx = db.begin().unwrap();
        tx.insert(&NewContainer {
            id: &web.id,
            name: &web.name,
            kept: true,
            image_id: None,
            definition: "{}",
            created_ns: 1,
            volumes: &[],
        })
        .unwrap();
        tx.commit().unwrap();

        let tx = db.begin().unwrap();
        let renamed = tx.seed(&[web.clone(), kept(2, "web")]).unwrap();
        tx.commit().unwrap();

        assert_eq!(
            renamed,
            [format!("web-{}", "02".repeat(6)).parse().unwrap()]
        );
        assert_eq!(db.containers().unwrap().len(), 2);
        let row = db.container(&web.id).unwrap();
        assert_eq!(row.state.status, ContainerStatus::Created);
    }
}
