//! Layers that a power failure may have taken a part of.

use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::Duration;

use rocker_image::store::{ChainLayer, Durability, StoreError, TarError};
use rocker_types::DiffId;

use super::archive::{Member, archive};
use super::listing::names;
use super::support::{Host, chain_of, diff_id};

const ANOTHER_BOOT: &str = "00000000-0000-0000-0000-000000000000";

/// Commits a layer of one file as a pull does.
fn pulled(host: &Host, text: &str) -> DiffId {
    let tar = archive(&[Member::file("f", text)]);
    let chain = vec![ChainLayer::Staged(host.unpack(&tar).unwrap())];
    let committed = host
        .store
        .commit_unless(chain, Durability::Eventual, &|| false);
    committed.unwrap()[0].diff_id.clone()
}

fn mark(host: &Host, layer: &DiffId) -> PathBuf {
    host.path(&format!("root/layers/{}.unsynced", layer.hex()))
}

/// As if the machine had been started since.
fn reboot(host: &Host, layer: &DiffId) {
    fs_err::remove_file(mark(host, layer)).unwrap();
    symlink(ANOTHER_BOOT, mark(host, layer)).unwrap();
}

#[test]
fn a_layer_is_believed_in_the_boot_that_wrote_it() {
    let host = Host::new();
    let layer = pulled(&host, "1");

    let boot = fs_err::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let target = fs_err::read_link(mark(&host, &layer)).unwrap();
    assert_eq!(target.to_str().unwrap(), boot.trim_end());
    assert!(!host.store.is_doubtful(&layer).unwrap());
    assert!(host.store.has_sound_layer(&layer).unwrap());
}

#[test]
fn marks_go_when_everything_is_on_disk_and_not_before() {
    let host = Host::new();
    let layer = pulled(&host, "1");

    host.store.sync_marked(Duration::from_secs(3600)).unwrap();
    assert!(mark(&host, &layer).is_symlink());
    host.store.sync_marked(Duration::ZERO).unwrap();
    assert!(!mark(&host, &layer).is_symlink());
}

#[test]
fn a_commit_that_must_last_takes_what_it_lies_on_along() {
    let host = Host::new();
    let base = pulled(&host, "1");
    let top = host.unpack(&archive(&[Member::file("g", "2")])).unwrap();

    let chain = vec![ChainLayer::Present(base.clone()), ChainLayer::Staged(top)];
    let committed = host.store.commit(chain).unwrap();

    assert!(!mark(&host, &base).is_symlink());
    assert!(!mark(&host, &committed[1].diff_id).is_symlink());
}

#[test]
fn a_whole_layer_of_another_boot_is_read_once_and_believed() {
    let host = Host::new();
    let layer = pulled(&host, "1");
    reboot(&host, &layer);

    assert!(host.store.is_doubtful(&layer).unwrap());
    host.store.sync_marked(Duration::ZERO).unwrap();
    assert!(
        host.store.is_doubtful(&layer).unwrap(),
        "a sync proves nothing"
    );
    assert!(host.store.has_sound_layer(&layer).unwrap());
    assert!(!host.store.is_doubtful(&layer).unwrap());
    assert!(!mark(&host, &layer).is_symlink());
}

#[test]
fn a_mark_that_says_nothing_is_of_no_boot() {
    let host = Host::new();
    let layer = pulled(&host, "1");
    fs_err::remove_file(mark(&host, &layer)).unwrap();
    fs_err::write(mark(&host, &layer), "").unwrap();

    assert!(host.store.is_doubtful(&layer).unwrap());
    assert!(host.store.has_sound_layer(&layer).unwrap());
}

#[test]
fn a_layer_that_lost_content_is_refused_and_can_come_again() {
    // what ext4 leaves of files and records that it had no time to write
    for lost in ["/f", ".recipe", ".json"] {
        let host = Host::new();
        let layer = pulled(&host, "content");
        reboot(&host, &layer);
        let path = host.path(&format!("root/layers/{}{lost}", layer.hex()));
        fs_err::File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(0)
            .unwrap();

        let error = host.store.confirm_layer(&layer).unwrap_err();
        assert!(
            !matches!(error, TarError::Store(StoreError::Access { .. })),
            "{lost}: {}",
            chain_of(&error)
        );
        assert!(host.store.is_doubtful(&layer).unwrap(), "{lost}");
        assert!(!host.store.has_sound_layer(&layer).unwrap(), "{lost}");
        assert_eq!(names(&host.path("root/layers")), ["d ."], "{lost}");

        assert_eq!(pulled(&host, "content"), layer, "{lost}");
        assert!(host.store.has_sound_layer(&layer).unwrap(), "{lost}");
    }
}

#[test]
fn a_layer_with_copies_from_below_is_on_disk_at_once() {
    let host = Host::new();
    let base = archive(&[Member::file("f", "1")]);
    let top = archive(&[Member::hard_link("g", "f")]);
    let chain = [&base, &top].map(|tar| ChainLayer::Staged(host.unpack(tar).unwrap()));

    let committed = host
        .store
        .commit_unless(chain.into(), Durability::Eventual, &|| false);

    committed.unwrap();
    for tar in [&base, &top] {
        assert!(!mark(&host, &diff_id(tar)).is_symlink());
    }
}

#[test]
fn a_mark_goes_with_its_layer_and_never_stays_alone() {
    let host = Host::new();
    let layer = pulled(&host, "1");
    host.store.remove_layer(&layer).unwrap();
    assert_eq!(names(&host.path("root/layers")), ["d ."]);

    // who dies between mark and layer leaves its staging directory as well
    symlink(ANOTHER_BOOT, mark(&host, &layer)).unwrap();
    fs_err::create_dir(host.path("root/tmp/0123456789abcdef")).unwrap();
    host.store.sweep().unwrap();
    assert_eq!(names(&host.path("root/layers")), ["d ."]);
}

#[test]
fn what_was_verified_just_now_replaces_what_nobody_knows() {
    for durability in [Durability::AtCommit, Durability::Eventual] {
        let host = Host::new();
        let layer = pulled(&host, "content");
        reboot(&host, &layer);
        let file = host.path(&format!("root/layers/{}/f", layer.hex()));
        fs_err::write(&file, "").unwrap();
        let tar = archive(&[Member::file("f", "content")]);
        let chain = vec![ChainLayer::Staged(host.unpack(&tar).unwrap())];

        host.store
            .commit_unless(chain, durability, &|| false)
            .unwrap();

        assert_eq!(fs_err::read_to_string(&file).unwrap(), "content");
        assert!(!host.store.is_doubtful(&layer).unwrap());
        let is_marked = mark(&host, &layer).is_symlink();
        assert_eq!(is_marked, durability == Durability::Eventual);
        assert_eq!(names(&host.path("root/tmp")), ["d ."]);
    }
}

#[test]
fn a_layer_that_must_last_is_on_disk_also_if_a_pull_brought_it() {
    let host = Host::new();
    let tar = archive(&[Member::file("f", "content")]);
    let staged = host.unpack(&tar).unwrap();
    let layer = pulled(&host, "content");

    host.store.commit(vec![ChainLayer::Staged(staged)]).unwrap();

    assert!(!mark(&host, &layer).is_symlink());
}
