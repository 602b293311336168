//! Processes racing on the databases: one winner, everybody else is told who it was.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::sync::Barrier;

use rocker_db::{
    DbError, DurableDb, ExitRecord, Intent, IntentKind, LayerRow, LiveDb, NetworkRow, NewContainer,
    NewImage, StartClaim,
};
use rocker_types::{
    ContainerId, ContainerName, ContainerQuery, ContainerStatus, Digest, ImageRef, PortSpec,
    PublishedPort,
};

fn id(n: u8) -> ContainerId {
    ContainerId::from_bytes([n; 32])
}

fn name(text: &str) -> ContainerName {
    text.parse().unwrap()
}

fn insert(db: &mut LiveDb, id: &ContainerId, name: &ContainerName) -> Result<(), DbError> {
    let tx = db.begin()?;
    tx.insert(&NewContainer {
        id,
        name,
        kept: true,
        image_id: None,
        definition: "{}",
        created_ns: 1,
        volumes: &[],
    })?;
    tx.commit()
}

fn network() -> NetworkRow {
    NetworkRow {
        name: "bridge".into(),
        bridge: "rocker0".into(),
        subnet: "10.0.0.0".parse().unwrap(),
        prefix_len: 29,
        gateway: "10.0.0.1".parse().unwrap(),
    }
}

#[test]
fn of_twenty_that_want_a_name_one_gets_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("live.db");
    let barrier = Barrier::new(20);
    let results: Vec<_> = std::thread::scope(|scope| {
        let racers: Vec<_> = (0..20_u8)
            .map(|n| {
                let (path, barrier) = (&path, &barrier);
                scope.spawn(move || {
                    barrier.wait();
                    insert(&mut LiveDb::open(path).unwrap(), &id(n), &name("web"))
                })
            })
            .collect();
        racers
            .into_iter()
            .map(|racer| racer.join().unwrap())
            .collect()
    });

    let (winners, losers): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
    assert_eq!(winners.len(), 1);
    assert!(
        losers
            .iter()
            .all(|loser| matches!(loser, Err(DbError::NameTaken { .. }))),
        "{losers:?}"
    );
}

#[test]
fn a_subnet_leases_every_address_once_and_then_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let mut db = LiveDb::open(&dir.path().join("live.db")).unwrap();
    let claim = |db: &mut LiveDb, n: u8| {
        insert(db, &id(n), &name(&format!("c{n}"))).unwrap();
        let tx = db.begin().unwrap();
        tx.ensure_network(&network()).unwrap();
        let grant = tx.claim(&StartClaim {
            id: &id(n),
            network: Some("bridge"),
            ports: &[],
            intents: &[],
        })?;
        tx.commit().unwrap();
        Ok::<_, DbError>(grant.address.unwrap().octets()[3])
    };

    let leased: Vec<_> = (0..5).map(|n| claim(&mut db, n).unwrap()).collect();
    assert_eq!(leased, [2, 3, 4, 5, 6]);
    assert!(matches!(
        claim(&mut db, 5),
        Err(DbError::AddressesExhausted { .. })
    ));

    let tx = db.begin().unwrap();
    tx.release(&id(1)).unwrap();
    tx.commit().unwrap();
    assert_eq!(claim(&mut db, 6).unwrap(), 3);
}

#[test]
fn a_port_on_all_addresses_overlaps_every_address() {
    let dir = tempfile::tempdir().unwrap();
    let mut db = LiveDb::open(&dir.path().join("live.db")).unwrap();
    let port = |text: &str| -> PublishedPort { text.parse::<PortSpec>().unwrap().0[0] };
    let claim = |db: &mut LiveDb, n: u8, text: &str| {
        insert(db, &id(n), &name(&format!("c{n}"))).unwrap();
        let tx = db.begin().unwrap();
        tx.claim(&StartClaim {
            id: &id(n),
            network: None,
            ports: &[port(text)],
            intents: &[],
        })?;
        tx.commit()
    };

    claim(&mut db, 0, "127.0.0.1:80:80").unwrap();
    claim(&mut db, 1, "127.0.0.2:80:80").unwrap();
    claim(&mut db, 2, "80:80/udp").unwrap();
    let taken = claim(&mut db, 3, "80:80").unwrap_err();
    assert!(matches!(&taken, DbError::PortTaken { .. }), "{taken}");
    assert_eq!(db.ports_of(&id(3)).unwrap(), []);
    assert_eq!(db.ports_of(&id(0)).unwrap(), [port("127.0.0.1:80:80")]);
}

#[test]
fn containers_are_found_by_id_then_name_then_prefix() {
    let dir = tempfile::tempdir().unwrap();
    let mut db = LiveDb::open(&dir.path().join("live.db")).unwrap();
    let find = |db: &LiveDb, text: &str| db.find(&ContainerQuery::new(text)).map(|row| row.id);
    insert(&mut db, &id(0xab), &name("web")).unwrap();
    insert(&mut db, &id(0xac), &name("abab")).unwrap();

    assert_eq!(find(&db, "web").unwrap(), id(0xab));
    assert_eq!(find(&db, "/web").unwrap(), id(0xab));
    assert_eq!(
        find(&db, "abab").unwrap(),
        id(0xac),
        "a name wins over a prefix"
    );
    assert_eq!(find(&db, "ababa").unwrap(), id(0xab));
    assert!(
        matches!(find(&db, "a"), Err(DbError::Ambiguous { candidates, .. }) if candidates.len() == 2)
    );
    assert!(matches!(find(&db, ""), Err(DbError::NoSuchContainer(_))));
    assert!(matches!(find(&db, "we"), Err(DbError::NoSuchContainer(_))));
}

#[test]
fn what_ran_when_the_machine_went_down_is_exited_with_255() {
    let dir = tempfile::tempdir().unwrap();
    let mut live = LiveDb::open(&dir.path().join("live.db")).unwrap();
    let mut durable = DurableDb::open(&dir.path().join("rocker.db")).unwrap();
    insert(&mut live, &id(1), &name("web")).unwrap();
    let tx = live.begin().unwrap();
    tx.intend(
        &id(1),
        &Intent {
            kind: IntentKind::Cgroup,
            resource: "x".into(),
        },
    )
    .unwrap();
    tx.set_status(&id(1), ContainerStatus::Running).unwrap();
    tx.commit().unwrap();
    assert_eq!(live.owned_containers().unwrap(), [id(1)]);
    durable
        .record_container(&live.container(&id(1)).unwrap(), &["vol".parse().unwrap()])
        .unwrap();

    let mut after_boot = LiveDb::open(&dir.path().join("after.db")).unwrap();
    assert!(!after_boot.is_seeded().unwrap());
    let tx = after_boot.begin().unwrap();
    tx.seed(&durable.kept_containers().unwrap()).unwrap();
    tx.commit().unwrap();

    assert!(after_boot.is_seeded().unwrap());
    let state = after_boot.find(&ContainerQuery::new("web")).unwrap().state;
    assert_eq!(
        (state.status, state.exit_code),
        (ContainerStatus::Exited, 255)
    );
    assert_eq!(
        after_boot.users_of_volume(&"vol".parse().unwrap()).unwrap(),
        ["web"]
    );
    assert_eq!(after_boot.owned_containers().unwrap(), []);
}

#[test]
fn a_layer_is_orphaned_with_its_last_image() {
    let dir = tempfile::tempdir().unwrap();
    let mut db = DurableDb::open(&dir.path().join("rocker.db")).unwrap();
    let digest = |n: u8| Digest::from_sha256([n; 32]);
    let layer = |n: u8| LayerRow {
        diff_id: rocker_types::DiffId(digest(n)),
        size_bytes: 10,
        blob: Some((digest(n), u64::from(n))),
        disk_bytes: None,
    };
    let record = |db: &mut DurableDb, n: u8, layers: &[LayerRow], reference: &str| {
        let reference: ImageRef = reference.parse().unwrap();
        let new = NewImage {
            id: &digest(n),
            config: "{}",
            manifest_digest: None,
            layers,
            reference: Some(&reference),
            repo_digest: None,
            pulled_ns: i64::from(n),
        };
        db.record_image(&new).unwrap();
    };
    record(&mut db, 1, &[layer(10), layer(11)], "a");
    record(&mut db, 2, &[layer(10), layer(12)], "b");
    db.tag(&"c".parse().unwrap(), &digest(2)).unwrap();

    let first = db.untag(&"b".parse().unwrap()).unwrap();
    assert_eq!(
        (first.untagged, first.deleted),
        (vec!["b:latest".to_owned()], None)
    );
    let second = db.untag(&"c".parse().unwrap()).unwrap();
    assert_eq!(
        (second.deleted, second.orphaned_layers),
        (Some(digest(2)), vec![layer(12).diff_id])
    );
    assert_eq!(db.layer(&layer(10).diff_id).unwrap(), Some(layer(10)));
    assert_eq!(db.layer(&layer(12).diff_id).unwrap(), None);
    let third = db.delete_image(&digest(1)).unwrap();
    assert_eq!(
        third.orphaned_layers,
        [layer(10).diff_id, layer(11).diff_id]
    );
    assert_eq!(db.layers().unwrap(), []);
    assert_eq!(db.integrity_problems().unwrap(), Vec::<String>::new());
}

#[test]
fn a_wish_that_came_during_a_sweep_outlives_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut live = LiveDb::open(&dir.path().join("live.db")).unwrap();
    assert_eq!(live.sweep_wanted().unwrap(), None);
    let wish = |live: &mut LiveDb| {
        let tx = live.begin().unwrap();
        tx.want_sweep().unwrap();
        tx.commit().unwrap();
        live.sweep_wanted().unwrap().unwrap()
    };
    let fulfil = |live: &mut LiveDb, wish| {
        let tx = live.begin().unwrap();
        tx.sweep_done(wish).unwrap();
        tx.commit().unwrap();
    };

    let seen = wish(&mut live);
    let later = wish(&mut live);
    fulfil(&mut live, &seen);
    assert_eq!(live.sweep_wanted().unwrap(), Some(later.clone()));
    fulfil(&mut live, &later);
    assert_eq!(live.sweep_wanted().unwrap(), None);
}

#[test]
fn a_newer_schema_is_refused_and_garbage_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("rocker.db");
    drop(DurableDb::open(&path).unwrap());
    let raw = rusqlite::Connection::open(&path).unwrap();
    raw.pragma_update(None, "user_version", 99).unwrap();
    drop(raw);
    assert!(matches!(
        DurableDb::open(&path),
        Err(DbError::TooNew { found: 99, .. })
    ));

    let garbage = dir.path().join("garbage.db");
    fs_err::write(&garbage, [7_u8; 8192]).unwrap();
    assert!(matches!(
        DurableDb::open(&garbage),
        Err(DbError::Open { .. })
    ));

    let exit = ExitRecord {
        status: ContainerStatus::Exited,
        exit_code: 1,
        oom_killed: false,
        error: String::new(),
        finished_ns: None,
    };
    let mut live = LiveDb::open(&dir.path().join("live.db")).unwrap();
    let tx = live.begin().unwrap();
    tx.record_exit(&id(9), &exit).unwrap();
}

#[test]
fn a_name_that_two_kept_containers_claim_goes_to_the_newer_and_both_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut live = LiveDb::open(&dir.path().join("before.db")).unwrap();
    let mut durable = DurableDb::open(&dir.path().join("rocker.db")).unwrap();
    for (n, created_ns) in [(1, 10), (2, 20)] {
        let id = id(n);
        let tx = live.begin().unwrap();
        tx.insert(&NewContainer {
            id: &id,
            name: &name("web"),
            kept: true,
            image_id: None,
            definition: "{}",
            created_ns,
            volumes: &[],
        })
        .unwrap();
        tx.commit().unwrap();
        let row = live.container(&id).unwrap();
        durable.record_container(&row, &[]).unwrap();
        let tx = live.begin().unwrap();
        tx.delete(&id).unwrap();
        tx.commit().unwrap();
    }

    let mut live = LiveDb::open(&dir.path().join("after.db")).unwrap();
    let tx = live.begin().unwrap();
    let renamed = tx.seed(&durable.kept_containers().unwrap()).unwrap();
    tx.commit().unwrap();

    let web = live.find(&ContainerQuery::new("web")).unwrap();
    assert_eq!(web.id, id(2));
    assert_eq!(live.container(&id(1)).unwrap().name, renamed[0]);
    assert_eq!(live.containers().unwrap().len(), 2);
}

#[test]
fn of_many_who_make_the_database_nobody_is_turned_away() {
    for _ in 0..20 {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("live.db");
        let barrier = Barrier::new(16);
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    barrier.wait();
                    LiveDb::open(&path).unwrap();
                });
            }
        });
    }
}
