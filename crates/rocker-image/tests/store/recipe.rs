//! The tar of a layer, written again. That every archive of the other tests comes back byte
//! for byte is checked wherever one is committed.

use std::os::unix::fs::symlink;
use std::path::Path;

use proptest::prelude::*;
use proptest::sample::select;
use rocker_image::store::{ChainLayer, TarError, UnpackLimits};
use rocker_types::Diagnose as _;

use super::archive::{Member, archive};
use super::listing::names;
use super::support::{Host, chain_of, diff_id};

fn sparse(name: &str, data: &[u8]) -> Member {
    let half = data.len() / 2;
    let rest = data.len() - half;
    let map = format!("3,{half},100000,{rest}");
    Member::file(name, data)
        .pax("GNU.sparse.size", "200000")
        .pax("GNU.sparse.numblocks", "2")
        .pax("GNU.sparse.map", map)
}

/// Members with few names, so that they replace each other.
fn member() -> impl Strategy<Value = Member> {
    let name = || {
        select(
            &[
                "a", "b", "a/b", "a/b/c", "./a//b/c", "d/e", "l", "l/x", "/b/",
            ][..],
        )
    };
    let marks = select(&[".wh.a", "a/.wh.b", "a/.wh..wh..opq", "d/.wh.e", ".wh.l"][..]);
    let data = || prop::collection::vec(any::<u8>(), 0..1500);
    prop_oneof![
        8 => (name(), data()).prop_map(|(name, data)| Member::file(name, data)),
        2 => (name(), data()).prop_map(|(name, data)| sparse(name, &data)),
        3 => name().prop_map(Member::directory),
        1 => (name(), name()).prop_map(|(name, target)| Member::symlink(name, target)),
        3 => (name(), name()).prop_map(|(name, target)| Member::hard_link(name, target)),
        1 => name().prop_map(|name| Member::new(b'6', name)),
        1 => name().prop_map(|name| Member::char_device(name, 1, 3)),
        1 => marks.prop_map(|name| Member::file(name, "")),
        1 => (name(), data()).prop_map(|(name, data)| Member::file(name, data).xattr("user.x", "1").xattr("security.selinux", "dropped")),
    ]
}

#[test]
fn any_archive_that_unpacks_comes_back() {
    let host = Host::new();
    let members = prop::collection::vec(member(), 1..14);
    let tail = prop_oneof![
        Just(vec![0; 1024]),
        Just(vec![]),
        Just(vec![0; 512]),
        prop::collection::vec(any::<u8>(), 0..3000).prop_map(|tail| [vec![0; 1024], tail].concat()),
    ];
    let came_back = std::cell::Cell::new(0);
    proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(150))
        .run(&(members, tail), |(mut members, tail)| {
            // what the last members ask for may be refused, so the others are tried without
            while !members.is_empty() {
                let mut tar: Vec<u8> = members.iter().flat_map(Member::bytes).collect();
                tar.extend(&tail);
                members.pop();
                let Ok(layer) = host.unpack(&tar) else {
                    continue;
                };
                if host.store.commit(vec![ChainLayer::Staged(layer)]).is_ok() {
                    host.assert_tar(&tar);
                    came_back.set(came_back.get() + 1);
                    host.assert_whole(&diff_id(&tar));
                    host.store.remove_layer(&diff_id(&tar)).unwrap();
                    host.assert_empty("removed");
                    break;
                }
            }
            Ok(())
        })
        .unwrap();
    let came_back = came_back.get();
    assert!(came_back > 75, "only {came_back} archives were unpacked");
}

#[test]
fn what_a_later_entry_replaces_is_kept_outside_of_the_layer() {
    let big = vec![7; 300_000];
    let cases: [(&str, Vec<Member>, &[&str]); 6] = [
        (
            "file over file",
            vec![Member::file("f", "one"), Member::file("f", "two")],
            &["f 0"],
        ),
        (
            "twice, and a link keeps the first",
            vec![
                Member::file("f", &big),
                Member::hard_link("g", "f"),
                Member::file("f", "two"),
                Member::file("f", ""),
            ],
            &["f 0", "f 1"],
        ),
        (
            "a directory with files gives way",
            vec![
                Member::file("d/sub/f", "one"),
                Member::file("d/sub/f", "two"),
                Member::file("d", "three"),
            ],
            &["f 0", "d 1", "d 1/sub", "f 1/sub/f"],
        ),
        (
            "empty files are not worth it",
            vec![Member::file("f", ""), Member::file("f", "x")],
            &[],
        ),
        (
            "a link and a node take places",
            vec![
                Member::file("f", "one"),
                Member::symlink("f", "x"),
                Member::file("g", "two"),
                Member::new(b'6', "g"),
            ],
            &["f 0", "f 1"],
        ),
        (
            "whiteouts take nothing",
            vec![
                Member::file("d/f", "one"),
                Member::file("d/.wh.f", ""),
                Member::file(".wh.d", ""),
            ],
            &[],
        ),
    ];
    for (what, members, attic) in cases {
        let host = Host::new();
        let tar = archive(&members);
        let layer = host.committed(&tar);
        let path = layer.with_extension("attic");
        if attic.is_empty() {
            assert!(!path.exists(), "{what}");
        } else {
            let found = names(&path);
            let found: Vec<_> = found.iter().filter(|name| *name != "d .").collect();
            assert_eq!(found, attic, "{what}");
        }
    }
}

fn change(path: &Path, how: &str) {
    match how {
        "other bytes" => fs_err::write(path, "xxxxx").unwrap(),
        "shorter" => fs_err::write(path, "x").unwrap(),
        "gone" => fs_err::remove_file(path).unwrap(),
        "a link" => {
            fs_err::remove_file(path).unwrap();
            symlink("/etc/passwd", path).unwrap();
        }
        _ => {
            fs_err::remove_file(path).unwrap();
            fs_err::create_dir(path).unwrap();
        }
    }
}

#[test]
fn a_layer_that_somebody_changed_is_not_passed_off_as_the_archive() {
    for how in ["other bytes", "shorter", "gone", "a link", "a directory"] {
        let host = Host::new();
        let tar = archive(&[Member::file("d/f", "12345")]);
        let layer = host.committed(&tar);
        change(&layer.join("d/f"), how);

        let error = host
            .store
            .write_tar(&diff_id(&tar), &mut Vec::new())
            .unwrap_err();

        assert_eq!(error.kind(), rocker_types::ErrorKind::Tampered, "{how}");
        assert!(
            chain_of(&error).contains("changed on disk"),
            "{how}: {error}"
        );
    }
}

#[test]
fn a_recipe_that_is_damaged_or_missing_is_named() {
    let host = Host::new();
    let tar = archive(&[Member::file("f", "1"), Member::file("f", "22")]);
    let recipe = host.committed(&tar).with_extension("recipe");
    let good = fs_err::read(&recipe).unwrap();
    let write = || host.store.write_tar(&diff_id(&tar), &mut Vec::new());
    for cut in 0..good.len() {
        fs_err::write(&recipe, &good[..cut]).unwrap();
        let error = write().unwrap_err();
        assert!(matches!(error, TarError::Recipe { .. }), "{cut}: {error:?}");
    }
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 0x55;
        fs_err::write(&recipe, &bad).unwrap();
        // some bits of a zstd frame mean nothing to the content
        let mut out = Vec::new();
        let written = host.store.write_tar(&diff_id(&tar), &mut out);
        assert!(written.is_err() || out == tar, "{at}");
    }

    fs_err::remove_file(&recipe).unwrap();
    assert!(matches!(write(), Err(TarError::NoRecipe { .. })));
    host.store.remove_layer(&diff_id(&tar)).unwrap();
    assert!(matches!(write(), Err(TarError::Store(_))));
}

#[test]
fn a_receiver_that_fails_is_blamed() {
    let host = Host::new();
    let tar = archive(&[Member::file("f", vec![1; 4096])]);
    host.committed(&tar);
    let mut short = [0u8; 1000];

    let error = host
        .store
        .write_tar(&diff_id(&tar), &mut &mut short[..])
        .unwrap_err();

    assert!(matches!(error, TarError::Output { .. }), "{error:?}");
    assert_eq!(short[..], tar[..1000]);
}

#[test]
fn companions_go_with_their_layer_and_orphans_are_swept() {
    let host = Host::new();
    let tar = archive(&[Member::file("f", "1"), Member::file("f", "2")]);
    let layer = host.committed(&tar);
    // Killed between the renames: everything but the directory is in place.
    let tmp = host.path("root/tmp/0123456789abcdef");
    fs_err::create_dir(&tmp).unwrap();
    fs_err::rename(&layer, tmp.join("layer-0")).unwrap();
    assert_eq!(names(&host.path("root/layers")).len(), 5);

    assert_eq!(host.store.sweep().unwrap().trash.len(), 1);
    host.assert_empty("swept");

    // And where no sweep was between, the next one takes the places.
    host.committed(&tar);
    fs_err::rename(&layer, host.path("moved")).unwrap();
    host.committed(&tar);
    host.store.remove_layer(&diff_id(&tar)).unwrap();
    host.assert_empty("removed");
    host.assert_untouched("removed");
}

#[test]
fn a_refused_archive_leaves_no_recipe() {
    let host = Host::new();
    let tar = archive(&[
        Member::file("f", "1"),
        Member::file("f", "2"),
        Member::file("../x", "3"),
    ]);
    let staging = host.stage();

    let error =
        rocker_image::store::import_layer(&staging, tar.as_slice(), &UnpackLimits::default());

    assert!(error.is_err());
    let left = names(&host.path("root/tmp"));
    assert_eq!(left.len(), 2, "{left:?}");
}
