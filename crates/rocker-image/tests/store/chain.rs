//! Layers on top of each other: what one takes from those below, and what overlayfs makes
//! of them.

use std::path::Path;

use rocker_image::store::{ChainLayer, StoreError, root_layer};
use rocker_types::DiffId;

use super::archive::{Member, archive};
use super::listing::{exists, listing, names};
use super::resources::private_mounts;
use super::support::{Host, chain_of, diff_id};

#[test]
fn a_directory_that_a_layer_only_implies_looks_as_it_does_below() {
    let host = Host::new();
    let base = archive(&[
        Member::directory("etc")
            .mode(0o2751)
            .owner(3, 4)
            .mtime(77)
            .xattr("user.a", "1"),
        Member::directory("etc/deep").mode(0o700).mtime(78),
        Member::directory("gone").mode(0o700),
        Member::directory("hidden").mode(0o700),
        Member::directory("anew").mode(0o700),
        Member::symlink("link", "etc"),
    ]);
    let middle = archive(&[
        Member::directory("etc/deep").mode(0o711).mtime(79),
        Member::file(".wh.gone", ""),
    ]);
    let top = archive(&[
        Member::file("etc/deep/new", "1"),
        Member::file("gone/new", "1"),
        Member::file("hidden/.wh..wh..opq", ""),
        Member::file("hidden/new", "1"),
        Member::file(".wh.anew", ""),
        Member::file("anew/new", "1"),
        Member::file("link/new", "1"),
        Member::file("fresh/new", "1").mtime(5),
    ]);

    let layers = host.commit(&[base, middle, top]).unwrap();

    let files = listing(&host.store.layer_dir(&layers[2].diff_id));
    let want = [
        ("etc", "d 2751 3:4 77.000000000 [] user.a=1"),
        ("etc/deep", "d 0711 0:0 79.000000000 [] "),
        ("gone", "d 0755 0:0 1600000000.000000000 [] "),
        (
            "hidden",
            "d 0755 0:0 1600000000.000000000 [] trusted.overlay.opaque=y",
        ),
        (
            "anew",
            "d 0755 0:0 1600000000.000000000 [] trusted.overlay.opaque=y",
        ),
        ("link", "d 0755 0:0 1600000000.000000000 [] "),
        ("fresh", "d 0755 0:0 5.000000000 [] "),
    ];
    for (path, line) in want {
        assert_eq!(files[path], line, "{path}");
    }
}

#[test]
fn a_hard_link_to_a_file_below_becomes_a_copy_that_is_its_equal() {
    let host = Host::new();
    let base = archive(&[
        Member::directory("d").mtime(50),
        Member::file("d/f", "content")
            .mode(0o4755)
            .owner(5, 6)
            .mtime(7)
            .xattr("user.a", "1"),
        Member::symlink("d/l", "/etc/passwd").mtime(8),
    ]);
    let top = archive(&[
        Member::directory("d").mtime(60),
        Member::hard_link("d/copy", "d/f"),
        Member::hard_link("again", "/d/f"),
        Member::hard_link("link", "d/l"),
        Member::hard_link("third", "d/copy"),
    ]);

    let layers = host.commit(&[base, top]).unwrap();

    let files = listing(&host.store.layer_dir(&layers[1].diff_id));
    assert_eq!(
        files["d/copy"],
        "f 4755 5:6 7.000000000 [content] user.a=1 same as again"
    );
    assert_eq!(files["third"], files["d/copy"]);
    assert_eq!(files["again"], "f 4755 5:6 7.000000000 [content] user.a=1");
    assert_eq!(files["link"], "l 0000 0:0 8.000000000 [/etc/passwd] ");
    assert_eq!(files["d"], "d 0755 0:0 60.000000000 [] ");
    assert_eq!(layers[1].size_bytes, 7);
}

#[test]
fn a_hard_link_sees_what_the_layers_below_show_together() {
    let base = archive(&[Member::file("f", "old"), Member::file("d/g", "1")]);
    let middles = [
        ("deleted", archive(&[Member::file(".wh.f", "")]), None),
        (
            "replaced",
            archive(&[Member::file("f", "new")]),
            Some("new"),
        ),
        ("a directory now", archive(&[Member::directory("f")]), None),
        (
            "as it was",
            archive(&[Member::file("other", "")]),
            Some("old"),
        ),
    ];
    for (context, middle, want) in middles {
        let host = Host::new();
        let top = archive(&[Member::hard_link("h", "f")]);
        match (host.commit(&[base.clone(), middle, top]), want) {
            (Ok(layers), Some(want)) => {
                let dir = host.store.layer_dir(&layers[2].diff_id);
                assert_eq!(
                    fs_err::read_to_string(dir.join("h")).unwrap(),
                    want,
                    "{context}"
                );
            }
            (Err(StoreError::LinkTargetMissing { .. }), None) => {
                host.assert_empty(context);
                host.assert_untouched(context);
            }
            (result, _) => panic!("{context}: {result:?}"),
        }
    }
}

/// An evil image could otherwise choose what a good image's layer contains.
#[test]
fn a_layer_that_depends_on_its_base_is_not_shared_across_bases() {
    let good = archive(&[Member::directory("etc"), Member::file("etc/shadow", "good")]);
    let evil = archive(&[
        Member::directory("etc").mode(0o777),
        Member::file("etc/shadow", "evil"),
    ]);
    let implied = archive(&[Member::file("etc/new", "1")]);
    let copied = archive(&[
        Member::directory("etc"),
        Member::hard_link("copy", "etc/shadow"),
    ]);

    for (context, shared) in [("implied", implied), ("copied", copied)] {
        let host = Host::new();
        host.commit(&[evil.clone(), shared.clone()]).unwrap();
        let error = host.commit(&[good.clone(), shared.clone()]).unwrap_err();
        assert!(
            matches!(error, StoreError::OtherBase { .. }),
            "{context}: {error}"
        );
        assert!(!host.store.has_layer(&diff_id(&good)), "{context}");

        host.store.remove_layer(&diff_id(&shared)).unwrap();
        let layers = host.commit(&[good.clone(), shared.clone()]).unwrap();
        let files = listing(&host.store.layer_dir(&layers[1].diff_id));
        assert!(!format!("{files:?}").contains("evil"), "{context}");
        // The same base again, and another base that says the same, are fine.
        host.commit(&[good.clone(), shared.clone()]).unwrap();
        let twin = archive(&[Member::directory("etc").mtime(1), Member::file("x", "")]);
        let twin = if context == "implied" {
            vec![twin, shared]
        } else {
            vec![good.clone(), twin, shared]
        };
        host.commit(&twin).unwrap();
    }
}

#[test]
fn ordinary_layers_are_shared_by_any_images() {
    let host = Host::new();
    let shared = archive(&[Member::directory("d").mode(0o700), Member::file("d/f", "1")]);
    for base in ["a", "b"] {
        let base = archive(&[Member::directory("d"), Member::file(base, "")]);
        host.commit(&[base, shared.clone()]).unwrap();
    }
    assert_eq!(host.store.layers().unwrap().len(), 3);
}

#[test]
fn processes_that_commit_the_same_layer_at_once_all_succeed() {
    let host = Host::new();
    let tar = archive(&[Member::file("d/f", "1")]);
    let staged: Vec<_> = (0..8).map(|_| host.unpack(&tar).unwrap()).collect();

    let results: Vec<_> = std::thread::scope(|scope| {
        let commit = |layer| {
            let store = host.reopen();
            scope.spawn(move || store.commit(vec![ChainLayer::Staged(layer)]).unwrap())
        };
        let threads: Vec<_> = staged.into_iter().map(commit).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });

    let winners = results
        .iter()
        .filter(|layers| !layers[0].was_present)
        .count();
    assert_eq!(winners, 1);
    assert_eq!(
        names(&host.store.layer_dir(&diff_id(&tar))),
        ["d .", "d d", "f d/f"]
    );
    host.assert_untouched("race");
}

#[test]
fn lowerdirs_are_topmost_first_and_each_only_once() {
    let host = Host::new();
    let tars: Vec<_> = ["a", "b"]
        .map(|name| archive(&[Member::file(name, "")]))
        .to_vec();
    host.commit(&tars).unwrap();
    let [a, b] = [diff_id(&tars[0]), diff_id(&tars[1])];

    let lowers = host
        .store
        .lower_dirs(&[a.clone(), b.clone(), a.clone()])
        .unwrap();

    assert_eq!(lowers, [host.store.layer_dir(&a), host.store.layer_dir(&b)]);
}

/// What a stack is about, its layers base first, and what the merged view has.
type Merged<'a> = (&'a str, Vec<Vec<Member>>, &'a [&'a str]);

#[test]
fn overlayfs_shows_what_the_whiteouts_say() {
    let cases: [Merged; 7] = [
        (
            "a deleted file",
            vec![
                vec![Member::file("d/a", "1"), Member::file("d/b", "1")],
                vec![Member::file("d/.wh.a", "")],
            ],
            &["d .", "d d", "f d/b"],
        ),
        (
            "an opaque directory",
            vec![
                vec![Member::file("d/a", "1"), Member::file("e", "1")],
                vec![
                    Member::file("d/new", "1"),
                    Member::file("d/.wh..wh..opq", ""),
                ],
            ],
            &["d .", "d d", "f d/new", "f e"],
        ),
        (
            "a directory deleted and made again in one layer",
            vec![
                vec![Member::file("d/a", "1")],
                vec![Member::file(".wh.d", ""), Member::file("d/new", "1")],
            ],
            &["d .", "d d", "f d/new"],
        ),
        (
            "the same the other way round",
            vec![
                vec![Member::file("d/a", "1")],
                vec![
                    Member::directory("d"),
                    Member::file("d/new", "1"),
                    Member::file(".wh.d", ""),
                ],
            ],
            &["d .", "d d", "f d/new"],
        ),
        (
            "a file deleted and made again over two layers",
            vec![
                vec![Member::file("f", "old")],
                vec![Member::file(".wh.f", "")],
                vec![Member::file("f", "new")],
            ],
            &["d .", "f f"],
        ),
        (
            "everything deleted",
            vec![
                vec![Member::file("a", "1"), Member::file("d/a", "1")],
                vec![Member::file(".wh..wh..opq", ""), Member::file("d/new", "1")],
            ],
            &["d .", "d d", "f d/new"],
        ),
        (
            "one layer twice",
            vec![
                vec![Member::file("a", "1")],
                vec![Member::file("b", "1")],
                vec![Member::file("a", "1")],
            ],
            &["d .", "f a", "f b"],
        ),
    ];
    if !private_mounts("chain::overlayfs_shows_what_the_whiteouts_say") {
        return;
    }
    for (context, layers, want) in cases {
        let host = Host::new();
        let tars: Vec<_> = layers.iter().map(|members| archive(members)).collect();
        host.commit(&tars)
            .unwrap_or_else(|error| panic!("{context}: {}", chain_of(&error)));
        let chain: Vec<DiffId> = tars.iter().map(|tar| diff_id(tar)).collect();
        let merged = host.path("merged");
        mount_overlay(&host.store.lower_dirs(&chain).unwrap(), &merged);
        let shown = names(&merged);
        rustix::mount::unmount(&merged, rustix::mount::UnmountFlags::empty()).unwrap();
        let mut want: Vec<_> = want.to_vec();
        want.sort_unstable_by_key(|line| line[2..].to_owned());
        assert_eq!(shown, want, "{context}");
        assert!(!exists(&merged.join("d")), "{context}");
    }
}

/// Mounted read-only, since there is nothing to write; an empty directory stands in where
/// there is only one layer, which overlayfs does not take without an upper directory.
fn mount_overlay(lowers: &[std::path::PathBuf], merged: &Path) {
    fs_err::create_dir_all(merged).unwrap();
    let empty = merged.with_file_name("empty");
    fs_err::create_dir_all(&empty).unwrap();
    let lowers = lowers.iter().chain(std::iter::once(&empty));
    let lowers: Vec<_> = lowers.map(|path| path.to_str().unwrap()).collect();
    let options = std::ffi::CString::new(format!("lowerdir={}", lowers.join(":"))).unwrap();
    let flags = rustix::mount::MountFlags::RDONLY;
    rustix::mount::mount(
        "overlay",
        merged,
        "overlay",
        flags,
        Some(options.as_c_str()),
    )
    .unwrap();
}

/// Nearly every layer lacks an entry for its root, and many images share an empty one.
#[test]
fn a_layer_without_an_entry_for_its_root_is_shared_by_images_with_different_roots() {
    let host = Host::new();
    let base = |mode| archive(&[Member::directory("./").mode(mode).owner(3, 4)]);
    let (open, closed, bare) = (base(0o777), base(0o700), archive(&[Member::file("f", "1")]));
    let empty = archive(&[]);
    for base in [&open, &closed, &bare] {
        host.commit(&[base.clone(), empty.clone()]).unwrap();
    }

    let cases = [
        (vec![&open, &empty], Some(&open)),
        (vec![&closed, &empty], Some(&closed)),
        (vec![&open, &closed, &bare, &empty], Some(&closed)),
        // All alike, so the topmost is as good as any.
        (vec![&bare, &empty], Some(&empty)),
        (vec![], None),
    ];
    for (chain, want) in cases {
        let chain: Vec<_> = chain.iter().map(|tar| diff_id(tar)).collect();
        let found = root_layer(host.store.layout(), &chain).unwrap();
        let want = want.map(|tar| host.store.layer_dir(&diff_id(tar)));
        assert_eq!(found, want, "{chain:?}");
    }
    let root = &listing(&host.store.layer_dir(&diff_id(&empty)))["."];
    assert!(root.starts_with("d 0755 0:0 "), "{root}");
}
