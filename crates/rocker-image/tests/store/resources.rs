//! Full disks, bombs and memory.

use std::io::Read;
use std::process::Command;

use rocker_image::store::{
    Compression, Durability, Store, UnpackLimits, import_layer, unpack_layer,
};
use rocker_types::Layout;
use rustix::mount::{MountFlags, mount};

use super::archive::{Member, archive, gzip};
use super::listing::names;
use super::support::{Host, chain_of, promise, skip};

const PRIVATE: &str = "ROCKER_TEST_PRIVATE_MOUNTS";

/// Whether this process has a mount namespace of its own. If it has not, `test` is run once
/// more in a process that has, and its result is this test's.
pub(crate) fn private_mounts(test: &str) -> bool {
    if std::env::var_os(PRIVATE).is_some() {
        return true;
    }
    let exe = std::env::current_exe().unwrap();
    let output = Command::new("unshare")
        .args(["--mount", "--propagation", "private"])
        .arg(exe)
        .args(["--exact", test, "--nocapture"])
        .env(PRIVATE, "1")
        .output();
    match output {
        Ok(output) if output.status.success() => {}
        Ok(output) if String::from_utf8_lossy(&output.stderr).contains("unshare failed") => {
            skip("no permission to make a mount namespace");
        }
        Ok(output) => panic!(
            "{}\n{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        ),
        Err(error) => skip(&format!("unshare(1) is missing: {error}")),
    }
    false
}

#[test]
fn a_full_disk_is_named_and_leaves_the_store_as_it_was() {
    if !private_mounts("resources::a_full_disk_is_named_and_leaves_the_store_as_it_was") {
        return;
    }
    let small = archive(&[Member::file("small", "1")]);
    // Much smaller than the disk as content, much larger in blocks or inodes.
    let many: Vec<_> = (0..2000)
        .map(|n| Member::file(&format!("d/{n}"), "1"))
        .collect();
    for (context, options) in [
        ("bytes", c"size=4m,mode=0700"),
        ("inodes", c"size=64m,nr_inodes=64,mode=0700"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        mount(
            "tmpfs",
            dir.path(),
            "tmpfs",
            MountFlags::empty(),
            Some(options),
        )
        .unwrap();
        let store = Store::open(&Layout::new(dir.path(), "/nowhere")).unwrap();
        let layer = store
            .import(small.as_slice(), &UnpackLimits::default())
            .unwrap();
        let kept = vec![rocker_image::store::ChainLayer::Staged(layer)];
        store.commit(kept).unwrap();
        let before = (names(dir.path()), free(dir.path()));

        let limits = UnpackLimits {
            keep_free_percent: 0,
            ..UnpackLimits::default()
        };
        let tar = archive(&many);
        let error = store.import(tar.as_slice(), &limits).unwrap_err();

        let text = chain_of(&error);
        assert!(
            text.contains("No space left on device"),
            "{context}: {text}"
        );
        let hint = rocker_types::Diagnose::hint(&error).unwrap();
        assert!(hint.contains("free some space"), "{hint}");
        assert_eq!((names(dir.path()), free(dir.path())), before, "{context}");
        store
            .import(small.as_slice(), &UnpackLimits::default())
            .unwrap();
        rustix::mount::unmount(dir.path(), rustix::mount::UnmountFlags::DETACH).unwrap();
    }
}

/// Free blocks and inodes.
fn free(path: &std::path::Path) -> (u64, u64) {
    let stat = rustix::fs::statvfs(path).unwrap();
    (stat.f_bfree, stat.f_ffree)
}

#[test]
fn content_that_cannot_fit_is_refused_before_the_disk_is_full() {
    if !private_mounts("resources::content_that_cannot_fit_is_refused_before_the_disk_is_full") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let options = Some(c"size=4m,mode=0700");
    mount("tmpfs", dir.path(), "tmpfs", MountFlags::empty(), options).unwrap();
    let store = Store::open(&Layout::new(dir.path(), "/nowhere")).unwrap();
    let tar = archive(&[Member::file("f", vec![1; 5 << 20])]);

    let error = store
        .import(gzip(&tar).as_slice(), &UnpackLimits::default())
        .unwrap_err();

    assert!(
        chain_of(&error).contains("keep_free_percent"),
        "{}",
        chain_of(&error)
    );
    assert_eq!(names(&dir.path().join("tmp")), ["d ."]);
}

/// Zeros, as many as asked for, after a header that announces them.
fn zeros(size: u64) -> impl Read + Send {
    let header = Member::file("zeros", "").size(size).bytes();
    std::io::Cursor::new(header).chain(std::io::repeat(0).take(size + 1024))
}

#[test]
fn bombs_are_refused_by_the_limit_they_meet_first() {
    let host = Host::new();
    let bomb = |level| {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), level).unwrap();
        std::io::copy(&mut zeros(96 << 20), &mut encoder).unwrap();
        encoder.finish().unwrap()
    };
    let limits = UnpackLimits::default();
    let cases = [
        (
            "unpacked_bytes",
            UnpackLimits {
                unpacked_bytes: 32 << 20,
                ..limits
            },
        ),
        (
            "ratio",
            UnpackLimits {
                ratio_grace_bytes: 16 << 20,
                ..limits
            },
        ),
    ];
    for (limit, limits) in cases {
        let bomb = bomb(1);
        let error = import_layer(&host.stage(), bomb.as_slice(), &limits).unwrap_err();
        assert!(
            chain_of(&error).contains(limit),
            "{limit}: {}",
            chain_of(&error)
        );
        host.assert_untouched(limit);
    }
}

#[test]
fn a_zstd_window_beyond_the_limit_is_refused_whatever_is_in_it() {
    let host = Host::new();
    let tar = archive(&[Member::file("f", "1")]);
    // A frame header with a window of 2 GiB: descriptor without single segment, window
    // exponent 21 (2^31), then an empty last raw block. RFC 8878, 3.1.1.
    let window = [&[0x28, 0xb5, 0x2f, 0xfd, 0x00, 21 << 3][..], &[1, 0, 0]].concat();
    let error = import_layer(&host.stage(), window.as_slice(), &UnpackLimits::default());
    let error = error.unwrap_err();
    let text = chain_of(&error);
    assert!(text.contains("zstd_window_log"), "{text}");
    let hint = rocker_types::Diagnose::hint(&error);
    assert!(hint.is_some_and(|hint| hint.contains("--ultra")));

    // The strongest level of zstd that is not called "ultra" needs 8 MiB.
    for (window_log, accepted) in [(25, true), (26, false)] {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 19).unwrap();
        encoder.window_log(window_log).unwrap();
        std::io::copy(&mut tar.as_slice(), &mut encoder).unwrap();
        let large = encoder.finish().unwrap();
        let layer = import_layer(&host.stage(), large.as_slice(), &UnpackLimits::default());
        assert_eq!(layer.is_ok(), accepted, "{window_log}: {layer:?}");
    }
}

#[test]
fn holes_take_no_space_and_count_as_size() {
    let host = Host::new();
    let hole = |size: u64| {
        Member::file("GNUSparseFile.0/hole", "0123456789")
            .pax("GNU.sparse.major", "0")
            .pax("GNU.sparse.minor", "1")
            .pax("GNU.sparse.name", "hole")
            .pax("GNU.sparse.size", size.to_string())
            .pax("GNU.sparse.numblocks", "2")
            .pax("GNU.sparse.map", format!("4096,5,{},5", size - 5))
    };
    let root = host.committed(&archive(&[hole(8 << 30)]));
    let meta = fs_err::metadata(root.join("hole")).unwrap();
    use std::os::unix::fs::MetadataExt;
    assert_eq!(meta.len(), 8 << 30);
    assert!(meta.blocks() * 512 < 1 << 20, "{} blocks", meta.blocks());
    let layer = host.store.layers().unwrap().remove(0);
    assert_eq!(host.store.layer_size(&layer).unwrap(), 10);
    host.store.remove_layer(&layer).unwrap();

    let error = host.unpack(&archive(&[hole(1 << 40)])).unwrap_err();
    assert!(
        chain_of(&error).contains("unpacked_bytes"),
        "{}",
        chain_of(&error)
    );
    for (context, member) in [
        ("overlap", hole(100).pax("GNU.sparse.map", "0,6,5,4")),
        ("beyond", hole(100).pax("GNU.sparse.map", "0,5,96,5")),
        ("short", hole(100).pax("GNU.sparse.map", "0,5,50,4")),
        ("odd", hole(100).pax("GNU.sparse.map", "0,5,50")),
        ("count", hole(100).pax("GNU.sparse.numblocks", "3")),
        ("version", hole(100).pax("GNU.sparse.major", "2")),
    ] {
        let error = host.unpack(&archive(&[member])).unwrap_err();
        assert!(
            chain_of(&error).contains("sparse map"),
            "{context}: {}",
            chain_of(&error)
        );
        host.assert_untouched(context);
    }
}

#[test]
fn memory_does_not_grow_with_the_layer() {
    let host = Host::new();
    let size = 384 << 20;
    let before = peak_memory_bytes();

    let layer = import_layer(&host.stage(), zeros(size), &UnpackLimits::default()).unwrap();

    assert_eq!(layer.size_bytes(), size);
    let grown = peak_memory_bytes() - before;
    assert!(grown < 64 << 20, "{grown} bytes for a layer of {size}");
}

#[test]
fn layers_with_large_windows_share_what_memory_there_is() {
    let host = Host::new();
    let blob = {
        let content = "0".repeat(48 << 20);
        let tar = archive(&[Member::file("f", &content)]);
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(25).unwrap();
        std::io::copy(&mut tar.as_slice(), &mut encoder).unwrap();
        encoder.finish().unwrap()
    };
    fs_err::write("/proc/self/clear_refs", "5").unwrap(); // the peak is of what comes now
    let before = peak_memory_bytes();

    let (staging, limits) = (host.stage(), UnpackLimits::default());
    std::thread::scope(|scope| {
        let import = || import_layer(&staging, blob.as_slice(), &limits).unwrap();
        let layers: Vec<_> = (0..8).map(|_| scope.spawn(import)).collect();
        for layer in layers {
            assert_eq!(layer.join().unwrap().size_bytes(), 48 << 20);
        }
    });

    let grown = peak_memory_bytes() - before;
    assert!(
        grown < 128 << 20,
        "{grown} bytes for eight windows of 32 MiB"
    );
}

fn peak_memory_bytes() -> u64 {
    let status = fs_err::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    line.trim()
        .strip_suffix(" kB")
        .unwrap()
        .parse::<u64>()
        .unwrap()
        * 1024
}

#[test]
fn an_unpacker_that_gives_up_does_not_wait_for_the_rest() {
    let host = Host::new();
    // An archive that is refused at its first entry, then bytes without end.
    let start = Member::file("../x", "1").bytes();
    let endless = std::io::Cursor::new(start).chain(std::io::repeat(7));
    let mut expected = promise(b"", b"", Compression::None);
    expected.size_bytes = u64::MAX >> 1;

    let error = unpack_layer(
        &host.stage(),
        endless,
        &expected,
        &UnpackLimits::default(),
        &|_| (),
    );

    assert!(chain_of(&error.unwrap_err()).contains(".."));
    host.assert_untouched("endless");
}

/// A store on a file system of its own with 16 MiB.
fn small_store(dir: &std::path::Path) -> Store {
    let options = Some(c"size=16m,mode=0700");
    mount("tmpfs", dir, "tmpfs", MountFlags::empty(), options).unwrap();
    Store::open(&Layout::new(dir, "/nowhere")).unwrap()
}

#[test]
fn layers_of_one_image_share_what_the_disk_has_free() {
    if !private_mounts("resources::layers_of_one_image_share_what_the_disk_has_free") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let staging = small_store(dir.path()).stage().unwrap();
    let limits = UnpackLimits {
        keep_free_percent: 10,
        ..UnpackLimits::default()
    };
    let layer = |bytes| archive(&[Member::file("f", vec![1; bytes])]);

    let first = import_layer(&staging, layer(8 << 20).as_slice(), &limits);
    let second = import_layer(&staging, layer(7 << 20).as_slice(), &limits);

    assert_eq!(first.unwrap().size_bytes(), 8 << 20);
    let text = chain_of(&second.unwrap_err());
    assert!(text.contains("keep_free_percent"), "{text}");
}

#[test]
fn a_layer_that_came_to_nothing_gives_back_what_the_disk_had_for_it() {
    if !private_mounts(
        "resources::a_layer_that_came_to_nothing_gives_back_what_the_disk_had_for_it",
    ) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let staging = small_store(dir.path()).stage().unwrap();
    let limits = UnpackLimits::default();
    let tar = archive(&[Member::file("f", vec![1; 10 << 20])]);
    let mut promised = promise(&tar, b"another", Compression::None);
    promised.blob = promise(&tar, &tar, Compression::None).blob;

    let wrong = unpack_layer(&staging, tar.as_slice(), &promised, &limits, &|_| ());
    let text = chain_of(&wrong.unwrap_err());
    assert!(text.contains("promised"), "{text}");

    let right = import_layer(&staging, tar.as_slice(), &limits);
    assert_eq!(right.unwrap().size_bytes(), 10 << 20);
}

#[test]
fn what_cannot_be_swept_stays_as_it_is_and_keeps_nothing_else_from_going() {
    if !private_mounts(
        "resources::what_cannot_be_swept_stays_as_it_is_and_keeps_nothing_else_from_going",
    ) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let store = small_store(dir.path());
    let places = ["a", "b", "c"].map(|name| dir.path().join("tmp").join(name));
    for place in &places {
        fs_err::create_dir_all(place.join("layer-0.done")).unwrap();
        fs_err::create_dir_all(place.join("layer-0/usr")).unwrap();
    }
    // a note that nobody can take away
    let note = places[1].join("layer-0.done");
    mount("tmpfs", &note, "tmpfs", MountFlags::empty(), None).unwrap();

    let swept = store.sweep().unwrap();

    let failure = chain_of(&swept.failure.unwrap());
    assert!(failure.contains("/tmp/b"), "{failure}");
    assert_eq!(swept.trash.len(), 2);
    drop(swept.trash);
    let left = places
        .each_ref()
        .map(|place| place.join("layer-0/usr").exists());
    assert_eq!(left, [false, true, false]);
}

#[test]
fn what_layers_link_to_counts_and_can_be_interrupted() {
    if !private_mounts("resources::what_layers_link_to_counts_and_can_be_interrupted") {
        return;
    }
    let limits = UnpackLimits {
        keep_free_percent: 40,
        ..UnpackLimits::default()
    };
    let tars = [
        archive(&[Member::file("f", vec![1; 4 << 20])]),
        archive(&[Member::hard_link("a", "f")]),
        archive(&[Member::hard_link("b", "f")]),
    ];
    for (cancelled, want) in [(true, "interrupted"), (false, "keep_free_percent")] {
        let dir = tempfile::tempdir().unwrap();
        let store = small_store(dir.path());
        let staging = store.stage().unwrap();
        let chain = tars.iter().map(|tar| {
            let layer = import_layer(&staging, tar.as_slice(), &limits).unwrap();
            rocker_image::store::ChainLayer::Staged(layer)
        });

        let error = store.commit_unless(chain.collect(), Durability::AtCommit, &|| cancelled);

        let text = chain_of(&error.unwrap_err());
        assert!(text.contains(want), "{text}");
        assert_eq!(names(&dir.path().join("layers")), ["d ."]);
    }
}
