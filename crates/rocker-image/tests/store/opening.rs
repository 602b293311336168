//! Opening a store, and who may have one.

use std::os::unix::fs::{PermissionsExt, chown, symlink};

use rocker_image::store::{Store, StoreError};
use rocker_types::Layout;

use super::archive::{Member, archive};
use super::listing::{exists, names};
use super::support::{Host, diff_id};

fn mode(path: &std::path::Path) -> u32 {
    fs_err::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn a_new_store_is_for_us_alone() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("deep/er/root");

    Store::open(&Layout::new(&root, "/nowhere")).unwrap();

    assert_eq!(names(&root), ["d .", "d blobs", "d layers", "d tmp"]);
    for name in [".", "blobs", "layers", "tmp"] {
        assert_eq!(mode(&root.join(name)), 0o700, "{name}");
    }
}

#[test]
fn a_root_that_others_could_have_touched_is_refused_and_a_readable_one_is_closed() {
    let dir = tempfile::tempdir().unwrap();
    let root = |name: &str, mode: u32| {
        let path = dir.path().join(name);
        fs_err::create_dir(&path).unwrap();
        fs_err::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path
    };
    let open = |path: &std::path::Path| Store::open(&Layout::new(path, "/nowhere"));

    let link = dir.path().join("link");
    symlink(root("target", 0o700), &link).unwrap();
    assert!(matches!(open(&link), Err(StoreError::RootIsSymlink { .. })));
    let foreign = root("foreign", 0o700);
    chown(&foreign, Some(1000), Some(1000)).unwrap();
    assert!(matches!(
        open(&foreign),
        Err(StoreError::RootNotOurs { owner: 1000, .. })
    ));
    for (name, mode) in [("world", 0o777), ("group", 0o770), ("sticky", 0o1777)] {
        let error = open(&root(name, mode)).unwrap_err();
        assert!(
            matches!(error, StoreError::RootWritableByOthers { .. }),
            "{name}: {error}"
        );
    }
    fs_err::write(dir.path().join("file"), "").unwrap();
    assert!(matches!(
        open(&dir.path().join("file")),
        Err(StoreError::Access { .. })
    ));
    let readable = root("readable", 0o755);
    open(&readable).unwrap();
    assert_eq!(mode(&readable), 0o700);
}

#[test]
fn a_layer_directory_that_is_a_link_is_not_followed() {
    let host = Host::new();
    let root = host.path("other");
    fs_err::create_dir(&root).unwrap();
    std::fs::set_permissions(&root, std::fs::Permissions::from_mode(0o700)).unwrap();
    symlink(host.victim(), root.join("layers")).unwrap();
    assert!(Store::open(&Layout::new(&root, "/nowhere")).is_err());
    host.assert_untouched("linked layers");
}

#[test]
fn layers_come_and_go_and_are_listed() {
    let host = Host::new();
    let tars = [
        archive(&[Member::file("a", "1")]),
        archive(&[Member::file("b", "22")]),
    ];
    assert!(!host.store.has_layer(&diff_id(&tars[0])));

    let layers = host.commit(&tars).unwrap();

    let sizes: Vec<_> = layers
        .iter()
        .map(|l| (l.size_bytes, l.was_present))
        .collect();
    assert_eq!(sizes, [(1, false), (2, false)]);
    let mut listed = host.reopen().layers().unwrap();
    listed.sort();
    let mut want: Vec<_> = layers.iter().map(|l| l.diff_id.clone()).collect();
    want.sort();
    assert_eq!(listed, want);

    let again = host.commit(&tars).unwrap();
    assert!(again.iter().all(|layer| layer.was_present));
    host.store.remove_layer(&want[0]).unwrap();
    host.store.remove_layer(&want[0]).unwrap();
    assert!(!host.store.has_layer(&want[0]) && host.store.has_layer(&want[1]));
    assert!(!exists(&host.store.layer_dir(&want[0])));
    assert!(host.store.layer_size(&want[0]).is_err());
    host.store.remove_layer(&want[1]).unwrap();
    host.assert_empty("all removed");
    host.assert_untouched("all removed");
}

#[test]
fn a_chain_with_a_layer_that_is_gone_is_not_an_image() {
    let host = Host::new();
    let missing = diff_id(b"never there");
    let chain = vec![rocker_image::store::ChainLayer::Present(missing.clone())];
    assert!(matches!(
        host.store.commit(chain),
        Err(StoreError::NoLayer { .. })
    ));
    assert!(matches!(
        host.store.lower_dirs(&[missing]),
        Err(StoreError::NoLayer { .. })
    ));
}
