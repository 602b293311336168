//! Finding out that a layer is not what it was, and putting it right.

use rocker_image::store::{ChainLayer, Depth, LayerFault, Store, StoreError, UnpackLimits};

use super::archive::{Member, archive};
use super::listing::listing;
use super::support::{Host, diff_id, shell};

fn ordinary() -> Vec<u8> {
    archive(&[
        Member::directory("etc").mtime(1_500_000_000),
        Member::file("etc/passwd", "root:x:0:0::/root:/bin/sh\n").mode(0o644),
        Member::file("etc/empty", ""),
        Member::directory("bin"),
        Member::file("bin/su", "\x7fELF")
            .mode(0o4755)
            .xattr("user.a", "1"),
        Member::symlink("sbin", "bin"),
        Member::hard_link("bin/link", "bin/su"),
        Member::file("etc/.wh.gone", ""),
        Member::directory("var"),
        Member::file("var/.wh..wh..opq", ""),
    ])
}

#[test]
fn every_change_is_found_and_named() {
    // what is done to the layer, whether a sample shows it, and what is said
    let cases = [
        ("rm etc/passwd", true, r#""etc/passwd" is missing"#),
        ("rm -r etc/* && rmdir etc", true, r#""etc" is missing"#),
        ("touch etc/new", true, r#""etc/new" does not belong to it"#),
        (
            "echo more >> etc/passwd",
            true,
            r#""etc/passwd" has another size"#,
        ),
        (
            "chmod 600 etc/passwd",
            true,
            r#""etc/passwd" has another mode"#,
        ),
        (
            "chown 7:8 etc/passwd",
            true,
            r#""etc/passwd" has another owner"#,
        ),
        (
            "touch etc/passwd",
            true,
            r#""etc/passwd" has another time of modification"#,
        ),
        (
            "ln -sfn /elsewhere sbin",
            true,
            r#""sbin" has another size"#,
        ),
        (
            "ln -sfn nib sbin && touch -h -d @1600000000 sbin && touch -d @0 .",
            false,
            r#""sbin" leads elsewhere"#,
        ),
        ("rm etc/gone", true, r#""etc/gone" is missing"#),
        (
            "rm bin/link && touch bin/link",
            true,
            r#""bin/link" has another mode"#,
        ),
        (
            "xattr bin/su user.a 2",
            false,
            r#""bin/link" has other extended attributes"#,
        ),
        (
            "xattr var trusted.overlay.opaque n",
            false,
            r#""var" has other extended attributes"#,
        ),
        // the same size, and the time put back: only the digest tells
        (
            "printf R | dd of=etc/passwd conv=notrunc status=none && touch -d @1600000000 etc/passwd",
            false,
            "its content was changed",
        ),
        ("chmod 700 .", true, r#""/" has another mode"#),
    ];
    for (change, in_sample, said) in cases {
        let host = Host::new();
        let layer = host.committed(&ordinary());
        let id = diff_id(&ordinary());

        shell(&layer, change);

        let faults: Vec<_> = host
            .faults(&id, Depth::Exact)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert!(
            faults.iter().any(|fault| fault == said),
            "{change}: {faults:?}"
        );
        let sampled = host.faults(&id, Depth::Sample);
        assert_eq!(!sampled.is_empty(), in_sample, "{change}: {sampled:?}");
        host.assert_untouched(change);
    }
}

#[test]
fn a_layer_with_more_names_than_there_is_memory_for_is_looked_at_exactly() {
    let host = Host::new();
    let names = (0..200).map(|n| format!("d/{n:0200}"));
    let mut members: Vec<_> = names.map(|name| Member::file(&name, "1")).collect();
    members.push(Member::file("d/su", "1").xattr("user.a", "1"));
    members.insert(0, Member::directory("d"));
    let tar = archive(&members);
    let layer = host.committed(&tar);

    // no sample shows it
    shell(&layer, "xattr d/su user.a 2");

    let usual = UnpackLimits::default().index_bytes;
    for (index_bytes, is_found) in [(usual, false), (32 << 10, true)] {
        let limits = UnpackLimits {
            index_bytes,
            ..UnpackLimits::default()
        };
        let faults = host
            .store
            .inspect_layer(&diff_id(&tar), Depth::Sample, &limits);
        let faults = faults.unwrap();
        assert_eq!(!faults.is_empty(), is_found, "{index_bytes}: {faults:?}");
    }
}

#[test]
fn what_lies_beside_a_layer_is_looked_at_as_well() {
    let cases = [
        ("rm $L.json", LayerFault::Record),
        ("echo { > $L.json", LayerFault::Record),
        ("rm $L.recipe", LayerFault::Recipe),
        ("truncate -s 40 $L.recipe", LayerFault::Recipe),
        ("rm -r $L", LayerFault::Missing),
    ];
    for (change, fault) in cases {
        let host = Host::new();
        let layer = host.committed(&ordinary());
        let name = layer.file_name().unwrap().to_str().unwrap();

        shell(layer.parent().unwrap(), &change.replace("$L", name));

        for depth in [Depth::Sample, Depth::Exact] {
            assert_eq!(
                host.faults(&diff_id(&ordinary()), depth),
                std::slice::from_ref(&fault),
                "{change}"
            );
        }
    }
}

#[test]
fn a_file_where_the_attic_belongs_is_a_fault_and_no_failure() {
    let host = Host::new();
    let layer = host.committed(&ordinary());
    fs_err::write(layer.with_extension("attic"), "").unwrap();

    let faults = host.faults(&diff_id(&ordinary()), Depth::Exact);

    assert_eq!(faults, [LayerFault::Content]);
}

#[test]
fn a_copy_from_a_layer_below_is_compared_with_its_source() {
    let host = Host::new();
    let base = archive(&[
        Member::directory("d").mode(0o711),
        Member::file("d/f", "below"),
    ]);
    let top = archive(&[Member::hard_link("d/g", "d/f"), Member::file("d/h", "1")]);
    host.commit(&[base, top.clone()]).unwrap();
    let id = diff_id(&top);

    shell(
        &host.store.layer_dir(&id),
        "t=$(stat -c @%Y d/g); echo abovE > d/g; truncate -s 5 d/g; touch -d $t d/g",
    );
    assert_eq!(
        host.faults(&id, Depth::Exact)
            .first()
            .map(ToString::to_string)
            .as_deref(),
        Some(r#""d/g" has other content"#)
    );
    shell(&host.store.layer_dir(&id), "chmod 700 d");
    assert!(
        host.faults(&id, Depth::Sample)
            .iter()
            .any(|fault| fault.to_string() == r#""d" has another mode"#)
    );
}

#[test]
fn a_distrusted_layer_is_replaced_by_the_same_once_more() {
    let host = Host::new();
    let layer = host.committed(&ordinary());
    let id = diff_id(&ordinary());
    let listed = || {
        let mut files = listing(&layer);
        // a mark for a deleted file has the time at which it was made
        assert!(files.remove("etc/gone").is_some());
        files
    };
    let before = listed();
    shell(
        &layer,
        "echo changed > etc/passwd; mkdir -p deep/er; rm -r bin",
    );
    shell(
        layer.parent().unwrap(),
        "rm *.recipe; for record in *.json; do echo { > $record; done",
    );
    let root = host.reopen();

    let believed = host.unpack(&ordinary()).unwrap();
    assert!(
        root.commit(vec![ChainLayer::Staged(believed)]).is_err(),
        "its record is damaged"
    );
    let damaged = listed();
    let store: Store = root.distrusting(
        [id.clone()].into(),
        Box::new(|layer, _| {
            Err(StoreError::Kept {
                layer: layer.clone(),
                source: "somebody runs on it".into(),
            })
        }),
    );
    assert!(!store.has_layer(&id));
    let refused = store.commit(vec![ChainLayer::Staged(host.unpack(&ordinary()).unwrap())]);
    assert!(
        matches!(refused, Err(StoreError::Kept { .. })),
        "{refused:?}"
    );
    assert_eq!(listed(), damaged);
    let record = fs_err::read_to_string(layer.with_extension("json")).unwrap();
    assert_eq!(record, "{\n", "what lies beside it stays too");

    let store: Store = store.distrusting([id.clone()].into(), Box::new(|_, exchange| exchange()));
    let again = host.unpack(&ordinary()).unwrap();
    let committed = store.commit(vec![ChainLayer::Staged(again)]).unwrap();

    assert!(!committed[0].was_present);
    assert_eq!(listed(), before);
    host.assert_whole(&id);
    host.assert_tar(&ordinary());
    host.assert_untouched("replaced");
}
