//! Databases that a later rocker has changed under a monitor of this one.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::path::Path;

use rocker_db::{
    DbError, DurableDb, ExitRecord, ImageMountRow, Intent, IntentKind, LayerRow, LiveDb,
    NetworkRow, NewContainer, NewImage, StartClaim, StartedRecord, VolumeRow,
};
use rocker_types::{ContainerId, ContainerStatus, DiffId, Digest};
use rusqlite::Connection;
use tempfile::TempDir;

/// Both databases with one column more in every table, as a later schema that goes on being
/// `compatible` with this one.
fn later(compatible: Option<i64>) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    drop(LiveDb::open(&dir.path().join("live.db")).unwrap());
    drop(DurableDb::open(&dir.path().join("rocker.db")).unwrap());
    for name in ["live.db", "rocker.db"] {
        let db = Connection::open(dir.path().join(name)).unwrap();
        let sql = "SELECT name FROM sqlite_schema WHERE type = 'table'";
        let tables: Vec<String> = {
            let mut statement = db.prepare(sql).unwrap();
            let rows = statement.query_map([], |row| row.get(0)).unwrap();
            rows.collect::<Result<_, _>>().unwrap()
        };
        for table in tables {
            let column = format!("ALTER TABLE {table} ADD COLUMN later TEXT NOT NULL DEFAULT 'x'");
            db.execute_batch(&column).unwrap();
        }
        if let Some(since) = compatible {
            let sql = "INSERT INTO meta(key, value) VALUES('compatible_since', ?1)";
            let since: &dyn rusqlite::ToSql = match name {
                "live.db" => &since.to_string(),
                _ => &since,
            };
            db.execute(sql, [since]).unwrap();
        }
        db.pragma_update(None, "user_version", 99).unwrap();
    }
    dir
}

fn open(dir: &Path) -> (Result<LiveDb, DbError>, Result<DurableDb, DbError>) {
    (
        LiveDb::open(&dir.join("live.db")),
        DurableDb::open(&dir.join("rocker.db")),
    )
}

#[test]
fn a_later_schema_is_refused_unless_it_says_that_it_goes_with_this_one() {
    for compatible in [None, Some(50)] {
        let dir = later(compatible);
        let (live, durable) = open(dir.path());
        for error in [live.err().unwrap(), durable.err().unwrap()] {
            let is_newer = matches!(error, DbError::TooNew { found: 99, .. });
            assert!(is_newer, "{compatible:?}: {error}");
        }
    }
}

#[test]
#[expect(
    clippy::too_many_lines,
    reason = "one statement after the other, each of them once"
)]
fn whatever_is_written_and_read_goes_with_tables_that_have_more_columns() {
    let dir = later(Some(1));
    let (live, durable) = open(dir.path());
    let (mut live, mut durable) = (live.unwrap(), durable.unwrap());
    let id = ContainerId::from_bytes([1; 32]);
    let volume = "data".parse().unwrap();

    let tx = live.begin().unwrap();
    assert!(!tx.is_seeded().unwrap());
    tx.seed(&[]).unwrap();
    tx.want_sweep().unwrap();
    tx.insert(&NewContainer {
        id: &id,
        name: &"web".parse().unwrap(),
        kept: true,
        image_id: None,
        definition: "{}",
        created_ns: 1,
        volumes: std::slice::from_ref(&volume),
    })
    .unwrap();
    tx.ensure_network(&NetworkRow {
        name: "bridge".into(),
        bridge: "rocker0".into(),
        subnet: [10, 88, 0, 0].into(),
        prefix_len: 24,
        gateway: [10, 88, 0, 1].into(),
    })
    .unwrap();
    let ports = "8080:80".parse::<rocker_types::PortSpec>().unwrap().0;
    tx.claim(&StartClaim {
        id: &id,
        network: Some("bridge"),
        ports: &ports,
        intents: &[Intent {
            kind: IntentKind::RunDir,
            resource: "r".into(),
        }],
    })
    .unwrap();
    tx.record_start(
        &id,
        &StartedRecord {
            init: (10, 1),
            monitor: (9, 1),
            started_ns: 2,
            restarts: 0,
        },
    )
    .unwrap();
    tx.record_exit(
        &id,
        &ExitRecord {
            status: ContainerStatus::Exited,
            exit_code: 7,
            oom_killed: false,
            error: String::new(),
            finished_ns: Some(3),
        },
    )
    .unwrap();
    tx.release(&id).unwrap();
    for count in [1, 2] {
        tx.set_image_mount(&ImageMountRow {
            image: Digest::from_sha256([2; 32]),
            namespace: 1,
            count,
        })
        .unwrap();
    }
    tx.commit().unwrap();
    assert_eq!(live.image_mounts().unwrap()[0].count, 2);
    let row = live.container(&id).unwrap();
    assert_eq!(row.state.exit_code, 7);

    durable
        .record_container(&row, std::slice::from_ref(&volume))
        .unwrap();
    assert_eq!(durable.kept_containers().unwrap().len(), 1);
    let image = Digest::from_sha256([2; 32]);
    durable
        .record_image(&NewImage {
            id: &image,
            config: "{}",
            manifest_digest: None,
            layers: &[LayerRow {
                diff_id: DiffId(Digest::from_sha256([3; 32])),
                size_bytes: 1,
                blob: None,
                disk_bytes: None,
            }],
            reference: Some(&"a:1".parse().unwrap()),
            repo_digest: Some("a@sha256:x"),
            pulled_ns: 1,
        })
        .unwrap();
    durable.tag(&"b:1".parse().unwrap(), &image).unwrap();
    durable
        .ensure_volume(&VolumeRow {
            name: volume,
            created_ns: 1,
            labels: Default::default(),
            anonymous: false,
        })
        .unwrap();
    durable.begin_catching_up().unwrap();
    durable.catch_up(100).unwrap();
    let gone = durable.delete_image(&image).unwrap();
    assert_eq!(gone.deleted, Some(image));
    durable.delete_container(&id).unwrap();
}
