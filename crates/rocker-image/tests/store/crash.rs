//! Processes that die while they work.

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};

use rocker_image::store::{Store, UnpackLimits};
use rocker_types::Layout;

use super::archive::{Member, archive};
use super::listing::names;
use super::support::{Host, diff_id};

const ROOT: &str = "ROCKER_TEST_UNPACK_BELOW";

/// Not a test of its own: the process that the next one kills. Unpacks standard input.
#[test]
fn child_that_unpacks() {
    let Some(root) = std::env::var_os(ROOT) else {
        return;
    };
    let store = Store::open(&Layout::new(root, "/nowhere")).unwrap();
    let layer = store
        .import(std::io::stdin(), &UnpackLimits::default())
        .unwrap();
    drop(layer);
}

fn start_child(host: &Host) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::child_that_unpacks"])
        .env(ROOT, host.store.layout().root())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn who_looks_around_leaves_no_empty_place_and_removes_nothing_else() {
    let host = Host::new();
    // of somebody who was about to lock it and found it locked by us
    fs_err::create_dir(host.path("root/tmp/empty")).unwrap();
    fs_err::write(host.path("root/tmp/stray"), "1").unwrap();

    assert!(!host.store.is_at_work().unwrap());
    assert_eq!(host.store.unfinished_bytes().unwrap(), 0);

    assert_eq!(names(&host.path("root/tmp")), ["d .", "f stray"]);
    // as a pull does while it looks for what it can take over
    let tmp = fs_err::File::open(host.path("root/tmp")).unwrap();
    rustix::fs::flock(&tmp, rustix::fs::FlockOperation::LockExclusive).unwrap();
    assert!(host.store.is_at_work().unwrap());
}

#[test]
fn a_killed_unpacker_leaves_a_place_that_is_swept_and_a_living_one_keeps_its_own() {
    let host = Host::new();
    let tar = archive(
        &(0..64)
            .map(|n| Member::file(&format!("d/{n}"), vec![n; 50_000]))
            .collect::<Vec<_>>(),
    );
    let mut child = start_child(&host);
    let mut input = child.stdin.take().unwrap();
    // More than pipe and buffers hold, so when this returns the child is unpacking.
    input.write_all(&tar[..tar.len() - 4096]).unwrap();
    let in_tmp = names(&host.path("root/tmp"));
    assert!(
        in_tmp.iter().any(|line| line.contains("/layer-0/d/")),
        "{in_tmp:?}"
    );

    assert_eq!(host.store.sweep().unwrap().trash.len(), 0);
    assert!(names(&host.path("root/tmp")).len() >= in_tmp.len());
    child.kill().unwrap();
    child.wait().unwrap();

    host.assert_empty("killed");
    assert_ne!(names(&host.path("root/tmp")), ["d ."]);
    assert_eq!(host.reopen().sweep().unwrap().trash.len(), 1);
    host.assert_untouched("swept");
    assert_eq!(host.store.sweep().unwrap().trash.len(), 0);
    host.committed(&tar);
}

#[test]
fn an_unpacker_that_ends_well_leaves_nothing() {
    let host = Host::new();
    let mut child = start_child(&host);
    child
        .stdin
        .take()
        .unwrap()
        .write_all(&archive(&[Member::file("f", "1")]))
        .unwrap();
    let mut output = String::new();
    child
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut output)
        .unwrap();
    assert!(child.wait().unwrap().success(), "{output}");
    host.assert_untouched("ended");
}

#[test]
fn a_removal_that_was_cut_short_is_finished_by_the_next_sweep() {
    let host = Host::new();
    // What remove_layer leaves if it dies after the rename.
    let orphan = host.path("root/tmp/0123456789abcdef");
    fs_err::create_dir_all(orphan.join("trash/usr/lib")).unwrap();
    fs_err::write(orphan.join("trash/usr/lib/f"), "1").unwrap();
    std::os::unix::fs::symlink(host.victim(), orphan.join("trash/link")).unwrap();
    fs_err::write(host.path("root/tmp/stray"), "").unwrap();

    // What lies beside a layer that is gone goes too, what belongs to another stays.
    let kept = host.committed(&archive(&[Member::file("f", "1")]));
    let layers = host.path("root/layers");
    for suffix in ["json", "recipe"] {
        let orphan = format!("{}.{suffix}", "a".repeat(64));
        fs_err::write(layers.join(orphan), "{}").unwrap();
    }

    assert_eq!(host.store.sweep().unwrap().trash.len(), 1);

    host.assert_untouched("swept");
    let kept = kept.file_name().unwrap().to_str().unwrap();
    let record = format!("f {kept}.json");
    let want = [
        "d .".to_owned(),
        format!("d {kept}"),
        record,
        format!("f {kept}.recipe"),
        format!("f {kept}/f"),
    ];
    assert_eq!(names(&layers), want);
}

#[test]
fn sweepers_and_stagers_do_not_trip_over_each_other() {
    let host = Host::new();
    let tar = archive(&[Member::file("d/f", "1")]);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..50 {
                    host.unpack(&tar).unwrap();
                }
            });
        }
        for _ in 0..2 {
            let store = host.reopen();
            scope.spawn(move || {
                for _ in 0..200 {
                    store.sweep().unwrap();
                }
            });
        }
    });
    host.assert_untouched("raced");
}

#[test]
fn a_layer_that_is_deleted_where_it_lies_is_gone_whole_or_goes_with_the_next_sweep() {
    let host = Host::new();
    let tar = archive(&[Member::directory("d"), Member::file("d/f", "x")]);
    let layer = host.committed(&tar);
    host.store.delete_layer(&diff_id(&tar)).unwrap();
    host.assert_empty("deleted");
    assert_eq!(names(&host.path("root/layers")), ["d ."]);

    // of one that was killed meanwhile
    fs_err::create_dir(layer.with_extension("gone")).unwrap();
    fs_err::write(layer.with_extension("gone").join("f"), "x").unwrap();
    assert!(!host.store.has_layer(&diff_id(&tar)));
    host.store.sweep_deleted().unwrap();
    assert_eq!(names(&host.path("root/layers")), ["d ."]);
    host.committed(&tar);
}
