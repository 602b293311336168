//! Layers that a power failure may have taken a part of.

use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::Duration;

use rocker_image::store::{ChainLayer, Depth, Durability, LayerFault, StoreError, UnpackLimits};
use rocker_types::{Diagnose as _, DiffId};

use super::archive::{Member, archive};
use super::listing::names;
use super::support::{Host, diff_id};

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
    assert!(
        host.store
            .has_sound_layer(&layer, &UnpackLimits::default())
            .unwrap()
    );
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
    assert!(
        host.store
            .has_sound_layer(&layer, &UnpackLimits::default())
            .unwrap()
    );
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
    assert!(
        host.store
            .has_sound_layer(&layer, &UnpackLimits::default())
            .unwrap()
    );
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

        let faults = host.store.confirm_layer(&layer, &UnpackLimits::default());
        assert_ne!(faults.unwrap(), [], "{lost}");
        assert!(host.store.is_doubtful(&layer).unwrap(), "{lost}");
        assert!(
            !host
                .store
                .has_sound_layer(&layer, &UnpackLimits::default())
                .unwrap(),
            "{lost}"
        );
        assert_eq!(names(&host.path("root/layers")), ["d ."], "{lost}");

        assert_eq!(pulled(&host, "content"), layer, "{lost}");
        assert!(
            host.store
                .has_sound_layer(&layer, &UnpackLimits::default())
                .unwrap(),
            "{lost}"
        );
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

/// A layer of everything, of another boot.
fn doubtful(host: &Host) -> DiffId {
    let tar = archive(&[
        Member::directory("etc").mode(0o755),
        Member::directory("empty"),
        Member::file("etc/f", "content").xattr("user.a", "1"),
        Member::symlink("link", "etc/f"),
        Member::directory("opaque"),
        Member::file("opaque/.wh..wh..opq", ""),
        Member::file("etc/.wh.gone", ""),
    ]);
    let chain = vec![ChainLayer::Staged(host.unpack(&tar).unwrap())];
    let committed = host
        .store
        .commit_unless(chain, Durability::Eventual, &|| false);
    let layer = committed.unwrap()[0].diff_id.clone();
    reboot(host, &layer);
    layer
}

#[test]
fn what_is_in_no_file_can_be_lost_too() {
    for loss in [
        "rm link",
        "rmdir empty",
        "chmod 700 etc",
        "rm etc/gone",
        "setfattr -x user.a etc/f",
        "setfattr -x trusted.overlay.opaque opaque",
        "chown 7:7 etc/f",
    ] {
        let host = Host::new();
        let layer = doubtful(&host);
        let limits = UnpackLimits::default();
        let directory = host.store.layer_dir(&layer);
        match loss.strip_prefix("setfattr -x ") {
            Some(words) => {
                let (name, file) = words.split_once(' ').unwrap();
                rustix::fs::removexattr(directory.join(file), name).unwrap();
            }
            None => super::support::shell(&directory, loss),
        }

        let faults = host.store.confirm_layer(&layer, &limits).unwrap();

        assert_ne!(faults, [], "{loss}");
        assert!(host.store.is_doubtful(&layer).unwrap(), "{loss}");
        assert!(
            !host.store.has_sound_layer(&layer, &limits).unwrap(),
            "{loss}"
        );
        assert_eq!(names(&host.path("root/layers")), ["d ."], "{loss}");
        assert_eq!(names(&host.path("root/tmp")), ["d ."], "{loss}");
    }
}

#[test]
fn a_doubtful_layer_of_everything_is_believed_if_nothing_is_lost() {
    let host = Host::new();
    let layer = doubtful(&host);
    let faults = host.store.confirm_layer(&layer, &UnpackLimits::default());
    assert_eq!(faults.unwrap(), []);
    assert!(!mark(&host, &layer).is_symlink());
}

#[test]
fn a_missing_record_ends_a_doubtful_layer_and_is_told_of_any_other() {
    let limits = UnpackLimits::default();
    let host = Host::new();
    let layer = pulled(&host, "content");
    reboot(&host, &layer);
    let record = host.path(&format!("root/layers/{}.json", layer.hex()));
    fs_err::remove_file(&record).unwrap();

    assert!(!host.store.has_sound_layer(&layer, &limits).unwrap());
    assert_eq!(names(&host.path("root/layers")), ["d ."]);

    assert_eq!(pulled(&host, "content"), layer);
    host.store.sync_marked(Duration::ZERO).unwrap();
    fs_err::remove_file(&record).unwrap();
    // a container may run on it
    let error = host.store.has_sound_layer(&layer, &limits).unwrap_err();
    assert!(matches!(&error, StoreError::NoRecord { .. }), "{error:?}");
    assert!(error.hint().unwrap().contains("system check --repair"));
    assert!(host.store.has_layer(&layer));
    assert_eq!(host.faults(&layer, Depth::Sample), [LayerFault::Record]);
}

#[test]
fn the_mark_of_a_layer_that_the_kernel_could_not_write_outlives_later_syncs() {
    let host = Host::new();
    let layer = pulled(&host, "content");
    let boot = fs_err::read_link(mark(&host, &layer)).unwrap();
    let boot = boot.to_str().unwrap();
    fs_err::remove_file(mark(&host, &layer)).unwrap();
    symlink(format!("{boot} failed"), mark(&host, &layer)).unwrap();

    host.store.sync_marked(Duration::ZERO).unwrap();

    assert!(mark(&host, &layer).is_symlink());
    assert!(
        !host.store.is_doubtful(&layer).unwrap(),
        "the page cache has it"
    );
    reboot(&host, &layer);
    assert!(host.store.is_doubtful(&layer).unwrap());
}

#[test]
fn what_cannot_be_read_at_the_moment_is_not_thrown_away() {
    let host = Host::new();
    let layer = doubtful(&host);
    // nobody can open another file now
    let mut files = Vec::new();
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let few = rustix::process::Rlimit {
        current: Some(64),
        maximum: limit.maximum,
    };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, few).unwrap();
    while let Ok(file) = fs_err::File::open("/") {
        files.push(file);
    }
    let results: Vec<_> = (0..12)
        .map(|_| {
            files.pop();
            host.store.has_sound_layer(&layer, &UnpackLimits::default())
        })
        .collect();
    rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();

    assert!(results[0].is_err(), "{results:?}");
    assert!(
        !results.iter().any(|result| matches!(result, Ok(false))),
        "{results:?}"
    );
    assert!(
        host.store
            .has_sound_layer(&layer, &UnpackLimits::default())
            .unwrap()
    );
}
