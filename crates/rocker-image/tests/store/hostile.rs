//! Archives that mean harm: refused, or harmless inside the layer, never anything outside.

use rocker_image::store::UnpackLimits;

use super::archive::{Member, archive, pax_record};
use super::listing::{exists, listing, names};
use super::support::{Host, chain_of};

/// What must become of an archive.
enum Fate {
    /// Refused, with this in the message.
    Refused(&'static str),
    /// Unpacked to exactly these names.
    Becomes(&'static [&'static str]),
}
use Fate::{Becomes, Refused};

/// Runs each case in a store of its own; `VICTIM` in names and links is the victim's path.
fn check(cases: Vec<(&str, Vec<Member>, Fate)>) {
    for (context, members, fate) in cases {
        let host = Host::new();
        check_one(&host, context, &archive(&members), &fate);
    }
}

fn check_one(host: &Host, context: &str, tar: &[u8], fate: &Fate) {
    match (host.unpack(tar), fate) {
        (Err(error), Refused(why)) => {
            let text = chain_of(&error);
            assert!(text.contains(why), "{context}: {text}");
            host.assert_empty(context);
        }
        (Ok(layer), Becomes(want)) => {
            drop(layer);
            let root = host.committed(tar);
            assert_eq!(&names(&root), want, "{context}");
        }
        (Err(error), Becomes(_)) => panic!("{context}: refused: {}", chain_of(&error)),
        (Ok(_), Refused(_)) => panic!("{context}: accepted"),
    }
    host.assert_untouched(context);
}

#[test]
fn names_cannot_leave_the_layer() {
    check(vec![
        (
            "absolute",
            vec![Member::file("/x", "1")],
            Becomes(&["d .", "f x"]),
        ),
        (
            "absolute, deep",
            vec![Member::file("//a///b", "1")],
            Becomes(&["d .", "d a", "f a/b"]),
        ),
        ("up", vec![Member::file("../x", "1")], Refused("..")),
        ("only up", vec![Member::directory("../..")], Refused("..")),
        (
            "up after down",
            vec![Member::file("a/../../../x", "1")],
            Refused(".."),
        ),
        (
            "up at the end",
            vec![Member::directory("a/..")],
            Refused(".."),
        ),
        (
            "up in a link's name",
            vec![Member::symlink("../x", "y")],
            Refused(".."),
        ),
        (
            "the root as a file",
            vec![Member::file("./", "")],
            Refused("slash"),
        ),
        (
            "the root as a link",
            vec![Member::symlink(".", "/etc")],
            Refused("layer itself"),
        ),
        ("empty", vec![Member::file("", "1")], Refused("empty")),
        (
            "a NUL by pax",
            vec![Member::file("x", "").pax("path", b"a\0b")],
            Refused("NUL"),
        ),
    ]);
}

#[test]
fn links_in_the_middle_of_a_name_are_resolved_inside_the_layer() {
    let host = Host::new();
    let victim = host.victim();
    let inside = victim.trim_start_matches('/').to_owned();
    let cases: Vec<(&str, Vec<Member>, String)> = vec![
        (
            "absolute link, file below",
            vec![
                Member::symlink("l", &victim),
                Member::file("l/secret", "evil"),
            ],
            format!("{inside}/secret"),
        ),
        (
            "climbing link, file below",
            vec![
                Member::symlink("l", &format!("../../../../../..{victim}")),
                Member::file("l/new", "evil"),
            ],
            format!("{inside}/new"),
        ),
        (
            "link to a link",
            vec![
                Member::symlink("a", &victim),
                Member::symlink("b", "a"),
                Member::file("b/new", "evil"),
            ],
            format!("{inside}/new"),
        ),
        (
            "link below a link",
            vec![
                Member::symlink("a", "x/y"),
                Member::directory("x/y"),
                Member::symlink("x/y/up", "../.."),
                Member::file("a/up/up2/f", "evil"),
            ],
            "up2/f".to_owned(),
        ),
        (
            "a directory through a link",
            vec![
                Member::symlink("l", &victim),
                Member::directory("l/sub").mode(0o777),
            ],
            format!("{inside}/sub"),
        ),
    ];
    for (context, members, lands) in cases {
        let root = host.committed(&archive(&members));
        assert!(exists(&root.join(&lands)), "{context}: {:?}", names(&root));
        host.assert_untouched(context);
    }
}

#[test]
fn a_loop_of_links_is_refused() {
    check(vec![(
        "loop",
        vec![
            Member::symlink("a", "b"),
            Member::symlink("b", "a"),
            Member::file("a/x", "1"),
        ],
        Refused("too many symbolic links"),
    )]);
}

#[test]
fn links_of_a_layer_below_lead_nowhere_in_the_next() {
    let host = Host::new();
    let below = archive(&[Member::symlink("l", &host.victim())]);
    let above = archive(&[
        Member::file("l/secret", "evil"),
        Member::directory("l").mode(0o777),
    ]);

    let layers = host.commit(&[below, above]).unwrap();

    let root = host.store.layer_dir(&layers[1].diff_id);
    assert_eq!(names(&root), ["d .", "d l", "f l/secret"]);
    host.assert_untouched("two layers");
}

#[test]
fn the_last_entry_of_a_name_replaces_what_was_there_and_follows_nothing() {
    let host = Host::new();
    let (victim, secret) = (host.victim(), format!("{}/secret", host.victim()));
    let cases: Vec<(&str, Vec<Member>, &[&str])> = vec![
        (
            "directory over link",
            vec![
                Member::symlink("l", &victim),
                Member::directory("l").mode(0o777),
            ],
            &["d .", "d l"],
        ),
        (
            "file over link",
            vec![
                Member::symlink("l", &secret),
                Member::file("l", "evil").mode(0o4777),
            ],
            &["d .", "f l"],
        ),
        (
            "link over link",
            vec![Member::symlink("l", &secret), Member::symlink("l", "x")],
            &["d .", "l l"],
        ),
        (
            "device over link",
            vec![
                Member::symlink("l", &secret),
                Member::char_device("l", 1, 3),
            ],
            &["c l", "d ."],
        ),
        (
            "file over directory",
            vec![
                Member::directory("d"),
                Member::file("d/e/f", "1"),
                Member::symlink("d/l", &victim),
                Member::file("d", "2"),
            ],
            &["d .", "f d"],
        ),
        (
            "and back",
            vec![
                Member::directory("d"),
                Member::file("d/f", "1"),
                Member::file("d", "2"),
                Member::directory("d"),
                Member::file("d/g", "3"),
            ],
            &["d .", "d d", "f d/g"],
        ),
        (
            "the same directory twice",
            vec![
                Member::directory("d"),
                Member::file("d/f", "1"),
                Member::directory("d/"),
            ],
            &["d .", "d d", "f d/f"],
        ),
        (
            "the same file twice",
            vec![Member::file("f", "first"), Member::file("f", "second")],
            &["d .", "f f"],
        ),
    ];
    for (context, members, want) in cases {
        let root = host.committed(&archive(&members));
        let mut want = want.to_vec();
        want.sort_unstable_by_key(|line| line[2..].to_owned());
        assert_eq!(names(&root), want, "{context}");
        host.assert_untouched(context);
    }
    let last = host.committed(&archive(&[
        Member::file("f", "first"),
        Member::file("f", "2nd"),
    ]));
    assert_eq!(fs_err::read_to_string(last.join("f")).unwrap(), "2nd");
}

#[test]
fn a_replaced_link_is_not_remembered_as_a_way() {
    let host = Host::new();
    let members = [
        Member::directory("a"),
        Member::symlink("l", "a"),
        Member::file("l/one", "1"),
        Member::directory("l"),
        Member::file("l/two", "2"),
    ];

    let root = host.committed(&archive(&members));

    assert_eq!(names(&root), ["d .", "d a", "f a/one", "d l", "f l/two"]);
}

#[test]
fn a_file_is_no_directory() {
    check(vec![
        (
            "file below file",
            vec![Member::file("f", "1"), Member::file("f/g", "2")],
            Refused("another entry is below it"),
        ),
        (
            "file below device",
            vec![Member::char_device("c", 1, 3), Member::directory("c/d")],
            Refused("another entry is below it"),
        ),
    ]);
}

#[test]
fn hard_links_reach_only_files_of_the_layer() {
    let host = Host::new();
    let victim = host.victim();
    let secret = format!("{victim}/secret");
    check(vec![
        (
            "up",
            vec![Member::hard_link("h", "../../secret")],
            Refused(".."),
        ),
        (
            "to a directory",
            vec![Member::directory("d"), Member::hard_link("h", "d")],
            Refused("hard link to a directory"),
        ),
        (
            "to the root",
            vec![Member::hard_link("h", "/")],
            Refused("hard link to a directory"),
        ),
        (
            "to itself",
            vec![Member::file("f", "1"), Member::hard_link("./f", "f")],
            Refused("itself"),
        ),
        (
            "to what the layer deletes",
            vec![Member::file(".wh.f", ""), Member::hard_link("h", "f")],
            Refused("the layer deletes"),
        ),
        (
            "to a link, which is linked itself",
            vec![
                Member::symlink("l", "/etc/passwd"),
                Member::hard_link("h", "l"),
                Member::directory("d"),
            ],
            Becomes(&["d .", "d d", "l h", "l l"]),
        ),
    ]);

    // A target outside is a name inside, and there is no such file.
    for target in [secret.as_str(), "missing"] {
        let tar = archive(&[Member::hard_link("h", target)]);
        let error = host.commit(&[tar]).unwrap_err();
        assert!(
            chain_of(&error).contains("neither it nor a layer below it has"),
            "{error}"
        );
        host.assert_empty(target);
        host.assert_untouched(target);
    }
    let through = [
        Member::symlink("l", &victim),
        Member::hard_link("h", "l/secret"),
    ];
    assert!(host.commit(&[archive(&through)]).is_err());
    host.assert_untouched("hard link through a link");
}

#[test]
fn setuid_on_a_hard_link_entry_changes_nothing() {
    let host = Host::new();
    let members = [
        Member::symlink("l", &format!("{}/secret", host.victim())),
        Member::hard_link("h", "l").mode(0o4777),
        Member::file("f", "1").mode(0o644),
        Member::hard_link("g", "f").mode(0o4755).owner(7, 7),
    ];

    let root = host.committed(&archive(&members));

    assert!(
        listing(&root)["f"].starts_with("f 0644 0:0 "),
        "{:?}",
        listing(&root)["f"]
    );
    host.assert_untouched("setuid through a hard link");
}

#[test]
fn whiteouts_are_one_plain_name() {
    let malformed = [
        ".wh.",
        ".wh..",
        ".wh...",
        "d/.wh..",
        ".wh..wh.plnk",
        ".wh..wh..opqx",
    ];
    let mut cases: Vec<(&str, Vec<Member>, Fate)> = malformed
        .iter()
        .map(|name| {
            (
                *name,
                vec![Member::file(name, "")],
                Refused("malformed whiteout"),
            )
        })
        .collect();
    cases.extend(vec![
        (
            "directory",
            vec![Member::directory(".wh.x")],
            Refused("no empty file"),
        ),
        (
            "link",
            vec![Member::symlink(".wh.x", "/etc")],
            Refused("no empty file"),
        ),
        (
            "with content",
            vec![Member::file(".wh.x", "1")],
            Refused("no empty file"),
        ),
        (
            "as a parent",
            vec![Member::file(".wh.x/y", "1")],
            Refused("looks like a whiteout"),
        ),
        (
            "opaque as a parent",
            vec![Member::file(".wh..wh..opq/y", "")],
            Refused("looks like"),
        ),
        (
            "overlayfs' own mark",
            vec![Member::char_device("bin", 0, 0)],
            Refused("overlayfs"),
        ),
        (
            "plain",
            vec![Member::file("d/.wh.x", "")],
            Becomes(&["d .", "d d", "c d/x"]),
        ),
        (
            "of a file in the same layer",
            vec![Member::file("x", "1"), Member::file(".wh.x", "")],
            Becomes(&["d .", "f x"]),
        ),
        (
            "before a file in the same layer",
            vec![Member::file(".wh.x", ""), Member::file("x", "1")],
            Becomes(&["d .", "f x"]),
        ),
    ]);
    check(cases);
}

#[test]
fn an_opaque_mark_through_a_link_stays_in_the_layer() {
    let host = Host::new();
    let members = [
        Member::symlink("l", &host.victim()),
        Member::file("l/.wh..wh..opq", ""),
        Member::file("l/.wh.secret", ""),
    ];

    let root = host.committed(&archive(&members));

    let inside = host.victim().trim_start_matches('/').to_owned();
    assert!(listing(&root)[&inside].contains("trusted.overlay.opaque=y"));
    host.assert_untouched("whiteouts through a link");
}

#[test]
fn attributes_that_steer_the_host_are_dropped_and_content_is_kept() {
    let host = Host::new();
    let capability =
        b"\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00";
    let with_all = |member: Member| {
        member
            .xattr("trusted.overlay.redirect", "/etc")
            .xattr("trusted.overlay.opaque", "y")
            .xattr("trusted.overlay.metacopy", "")
            .xattr("user.overlay.opaque", "y")
            .xattr("trusted.other", "1")
            .xattr("security.selinux", "system_u:object_r:etc_t:s0")
            .xattr("user.kept", b"v\0\n=1")
    };
    let tar = archive(&[
        with_all(Member::directory("d")),
        with_all(Member::file("f", "1").xattr("security.capability", capability)),
    ]);

    let root = host.committed(&tar);

    let files = listing(&root);
    assert!(
        files["d"].ends_with(" user.kept=v\\x00\\n=1"),
        "{}",
        files["d"]
    );
    let want = format!(
        " security.capability={},user.kept=v\\x00\\n=1",
        capability.escape_ascii()
    );
    assert!(files["f"].ends_with(&want), "{}", files["f"]);
}

#[test]
fn owners_modes_and_times_are_exact_or_refused() {
    let host = Host::new();
    let negative = Member::file("old", "").pax("mtime", "-1.5");
    let tar = archive(&[
        Member::directory("d").mode(0o2750).owner(0, 33).mtime(5),
        Member::file("d/suid", "1")
            .mode(0o6755)
            .owner(1000, 2000)
            .mtime(6),
        Member::file("d/none", "1").mode(0).mtime(7),
        Member::file("d/all", "1")
            .mode(0o1777)
            .owner(4_294_967_294, 0)
            .mtime(8),
        Member::symlink("d/l", "x").owner(5, 6).mtime(9),
        negative,
        Member::new(b'6', "fifo").mode(0o622).owner(1, 1).mtime(10),
        Member::char_device("null", 1, 3).mode(0o666).mtime(11),
        Member::new(b'4', "disk").mode(0o660).mtime(12),
    ]);

    let files = listing(&host.committed(&tar));

    let want = [
        ("d", "d 2750 0:33 5.000000000 [] "),
        ("d/suid", "f 6755 1000:2000 6.000000000 [1] "),
        ("d/none", "f 0000 0:0 7.000000000 [1] "),
        ("d/all", "f 1777 4294967294:0 8.000000000 [1] "),
        ("d/l", "l 0000 5:6 9.000000000 [x] "),
        ("old", "f 0644 0:0 -2.500000000 [] "),
        ("fifo", "p 0622 1:1 10.000000000 [] "),
        ("null", "c 0666 0:0 11.000000000 [0x103] "),
        ("disk", "b 0660 0:0 12.000000000 [0x0] "),
    ];
    for (path, line) in want {
        assert_eq!(files[path], line, "{path}");
    }
    check(vec![
        (
            "uid 2^32",
            vec![Member::file("f", "").owner(1 << 32, 0)],
            Refused("user id"),
        ),
        (
            "uid -1",
            vec![Member::file("f", "").owner(u64::from(u32::MAX), 0)],
            Refused("user id"),
        ),
        (
            "gid by pax",
            vec![Member::file("f", "").pax("gid", "4294967296")],
            Refused("group id"),
        ),
        (
            "device",
            vec![Member::char_device("c", 5000, 0)],
            Refused("no device"),
        ),
    ]);
}

#[test]
fn headers_that_readers_disagree_about_are_refused() {
    let global = |record: Vec<u8>| Member::file("g", record).patch(156, b"g");
    check(vec![
        (
            "octal",
            vec![Member::file("f", "").patch(124, b"0000000000-\0")],
            Refused("size"),
        ),
        (
            "minus",
            vec![Member::file("f", "").patch(124, b"-0000000001\0")],
            Refused("size"),
        ),
        (
            "negative base 256",
            vec![Member::file("f", "").patch(124, &[0xff; 12])],
            Refused("size"),
        ),
        (
            "size 2^50",
            vec![Member::file("f", "").size(1 << 50)],
            Refused("unpacked_bytes"),
        ),
        (
            "pax size",
            vec![Member::file("f", "").pax("size", "99999999999999999999")],
            Refused("pax"),
        ),
        (
            "link with data",
            vec![Member::symlink("l", "x").size(512)],
            Refused("have no data"),
        ),
        (
            "directory with data",
            vec![Member::directory("d").size(512)],
            Refused("have no data"),
        ),
        (
            "file with slash",
            vec![Member::file("f/", "1")],
            Refused("slash"),
        ),
        (
            "socket",
            vec![Member::new(b's', "s")],
            Refused("unsupported type"),
        ),
        (
            "multi-volume",
            vec![Member::new(b'M', "s")],
            Refused("unsupported type"),
        ),
        (
            "two names",
            vec![Member::file(&"n".repeat(120), "").pax("path", "other")],
            Refused("differ"),
        ),
        (
            "global path",
            vec![global(pax_record("path", b"x"))],
            Refused("ambiguous"),
        ),
        (
            "a sparse file's name without its map",
            vec![Member::file("f", "1").pax("GNU.sparse.name", "g")],
            Refused("sparse map"),
        ),
        (
            "dangling",
            vec![Member::file("L", "x\0").patch(156, b"L")],
            Refused("further entry"),
        ),
        ("no checksum", vec![], Becomes(&["d ."])),
    ]);
    let host = Host::new();
    let mut broken = archive(&[Member::file("f", "1")]);
    broken[0] ^= 1;
    check_one(&host, "checksum", &broken, &Refused("checksum"));
    let comment = archive(&[global(pax_record("comment", b"x")), Member::file("f", "1")]);
    check_one(&host, "global comment", &comment, &Becomes(&["d .", "f f"]));
}

#[test]
fn the_size_of_a_pax_header_wins_and_skips_long_name_headers() {
    let host = Host::new();
    // The header's own size says 1, the pax header's 3; a GNU long name stands between.
    let name = "n".repeat(150);
    let tar = archive(&[
        Member::file(&name, "abc").size(1).pax("size", "3"),
        Member::file("after", "1"),
    ]);

    let root = host.committed(&tar);

    assert_eq!(fs_err::read_to_string(root.join(&name)).unwrap(), "abc");
    assert_eq!(fs_err::read_to_string(root.join("after")).unwrap(), "1");
}

#[test]
fn limits_are_named_by_the_error() {
    let limits = UnpackLimits {
        entries: 8,
        xattr_bytes: 1000,
        pax_bytes: 4096,
        unpacked_bytes: 1 << 16,
        index_bytes: 8192,
        ..UnpackLimits::default()
    };
    let cases: [(&str, Vec<Member>); 10] = [
        (
            "entries",
            (0..9).map(|n| Member::file(&format!("{n}"), "")).collect(),
        ),
        ("entries", vec![Member::file("a/b/c/d/e/f/g/h/i", "")]),
        ("component_bytes", vec![Member::file(&"n".repeat(256), "")]),
        (
            "path_bytes",
            vec![Member::file("x", "").pax("path", "n/".repeat(2049) + "n")],
        ),
        ("path_bytes", vec![Member::symlink("l", &"t".repeat(4096))]),
        (
            "pax_bytes",
            vec![Member::file("f", "").xattr("user.a", vec![b'x'; 5000])],
        ),
        (
            "xattr_bytes",
            vec![Member::file("f", "").xattr("user.a", vec![b'x'; 1001])],
        ),
        (
            "unpacked_bytes",
            vec![Member::file("f", vec![0u8; (1 << 16) + 1])],
        ),
        (
            "unpacked_bytes",
            vec![
                Member::file("f", vec![0u8; 1 << 15]),
                Member::file("g", vec![0; (1 << 15) + 1]),
            ],
        ),
        (
            "index_bytes",
            vec![Member::hard_link(
                "d/".repeat(2000).trim_end_matches('/'),
                "x",
            )],
        ),
    ];
    for (limit, members) in cases {
        let host = Host::new();
        // The last case needs directories beyond the limit of entries.
        let limits = if limit == "index_bytes" {
            UnpackLimits {
                entries: 9999,
                ..limits
            }
        } else {
            limits
        };
        let limits = if limit == "path_bytes" {
            UnpackLimits {
                pax_bytes: 1 << 20,
                ..limits
            }
        } else {
            limits
        };
        let error = host.unpack_within(&archive(&members), &limits).err();
        let text = error
            .as_ref()
            .map_or_else(|| "accepted".to_owned(), |error| chain_of(error));
        assert!(text.contains(limit), "{limit}: {text}");
        host.assert_untouched(limit);
        host.assert_empty(limit);
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(256))]
    /// Headers with arbitrary bytes in arbitrary fields and a checksum that fits: refused or
    /// unpacked, without a panic, a hang, or a trace elsewhere.
    #[test]
    fn headers_of_any_bytes_are_refused_or_harmless(
        patches in proptest::collection::vec(
            (0..500usize, proptest::collection::vec(proptest::prelude::any::<u8>(), 1..12)), 1..4,
        ),
        typeflag in proptest::sample::select(&b"0123456xgLKS\x007D"[..]),
        data in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..1500),
    ) {
        let host = Host::new();
        let patched = patches.iter().fold(Member::file("f", &data), |member, (offset, bytes)| {
            member.patch(*offset, bytes)
        });
        let tar = archive(&[
            Member::symlink("l", &host.victim()),
            patched.patch(156, &[typeflag]),
            Member::file("l/after", "1"),
        ]);
        drop(host.unpack(&tar));
        host.assert_untouched(&format!("{patches:?} {typeflag}"));
        host.assert_empty("not committed");
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]
    #[test]
    fn whatever_a_handful_of_entries_does_stays_in_the_layer(
        entries in proptest::collection::vec((0..6usize, 0..12usize, 0..12usize), 1..12),
    ) {
        let host = Host::new();
        let victim = host.victim();
        let names = [
            "a", "b", "a/b", "a/b/c", "b/../a", "/a", "a/", "l/x", ".wh.a", "a/.wh..wh..opq", "../x", ".",
        ];
        let targets = [
            "a", "b", "../..", "/", ".", "a/b", victim.as_str(), "../../../../victim", "l", "", "/proc/self/root", "b/c",
        ];
        let members: Vec<Member> = entries.iter().map(|(kind, name, target)| {
            let (name, target) = (names[*name], targets[*target]);
            match kind {
                0 => Member::file(name, "evil"),
                1 => Member::directory(name).mode(0o777),
                2 => Member::symlink(name, target),
                3 => Member::hard_link(name, target),
                4 => Member::file(name, ""),
                _ => Member::symlink("l", target),
            }
        }).collect();
        let tar = archive(&members);
        if let Ok(layer) = host.unpack(&tar) {
            let chain = vec![rocker_image::store::ChainLayer::Staged(layer)];
            host.store.commit(chain).map(drop).unwrap_or_default();
        }
        host.assert_untouched(&format!("{entries:?}"));
    }
}
