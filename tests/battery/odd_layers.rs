//! Layers that are odd and accepted, as docker and podman accept them.

use rocker_testkit::image::{BuiltLayer, Compression, Entry, EntryKind, ImageBuilder, Layer};
use rocker_testkit::require;

use super::Ground;
use super::layers::{MTIME, SIZE, patched, repacked};
use crate::host;

/// What is done in a container of it, and what that says.
type Accepted = (&'static str, BuiltLayer, &'static str, &'static str);

/// Everything below `/t`: name, kind, mode, owner, size or device, time.
const LIST: &str = "find /t | sort | xargs stat -c '%n %F %a %u:%g %s %Y'";

fn archives() -> Vec<Accepted> {
    let file = || Layer::new().file("t", "content");
    let cat = "cat /t";
    let garbage = repacked(file(), |packed| packed.extend(b"garbage"));
    let no_end = file().tar()[..1024].to_vec();
    vec![
        ("garbage after the gzip", garbage, cat, "content"),
        (
            "many members",
            file().compression(Compression::GzipMembers).build(),
            cat,
            "content",
        ),
        ("no end", Layer::from_tar(no_end).build(), cat, "content"),
        (
            "nothing at all",
            Layer::from_tar(Vec::new()).build(),
            "echo in",
            "in\n",
        ),
        ("no entries", Layer::new().build(), "echo in", "in\n"),
        (
            "zeros after the end",
            Layer::from_tar([&file().tar()[..], &[0; 9000]].concat()).build(),
            cat,
            "content",
        ),
        (
            "a size in base 256",
            patched(SIZE, &[0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7]).build(),
            cat,
            "content",
        ),
        (
            "a time before 1970",
            patched(
                MTIME,
                &[
                    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfb,
                ],
            )
            .build(),
            "stat -c %Y /t",
            "-5\n",
        ),
    ]
}

#[expect(clippy::too_many_lines, reason = "most of it is one table of cases")]
fn contents() -> Vec<Accepted> {
    let dir = || Layer::new().dir("t", 0o755);
    let capability = b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let xattrs = Entry::new("t/f", EntryKind::File(b"x".to_vec()))
        .xattr("security.capability", capability)
        .xattr("security.selinux", b"system_u:object_r:etc_t:s0")
        .xattr("trusted.overlay.redirect", b"/etc")
        .xattr("user.overlay.opaque", b"y");
    vec![
        (
            "the same file twice",
            dir().file("t/f", "first").file("t/f", "2nd").build(),
            "cat /t/f",
            "2nd",
        ),
        (
            "a directory that becomes a file and back",
            dir()
                .file("t/d/x", "1")
                .file("t/d", "2")
                .dir("t/d", 0o700)
                .file("t/d/y", "3")
                .build(),
            LIST,
            "/t directory 755 0:0 4096 1700000000\n/t/d directory 700 0:0 4096 1700000000\n/t/d/y regular file 644 0:0 1 1700000000\n",
        ),
        (
            "special files",
            dir()
                .entry(
                    Entry::new("t/fifo", EntryKind::Fifo)
                        .mode(0o622)
                        .owner(1, 2),
                )
                .entry(Entry::new("t/sda", EntryKind::BlockDevice(8, 0)).mode(0o666))
                .entry(Entry::new("t/mem", EntryKind::CharDevice(1, 1)).mode(0o666))
                .entry(
                    Entry::new("t/suid", EntryKind::File(b"x".to_vec()))
                        .mode(0o6755)
                        .owner(3, 4),
                )
                .build(),
            "find /t | sort | xargs stat -c '%n %F %a %u:%g %t:%T'; cat /t/mem /t/sda",
            "/t directory 755 0:0 0:0\n/t/fifo fifo 622 1:2 0:0\n/t/mem character special file 666 0:0 1:1\n/t/sda block special file 666 0:0 8:0\n/t/suid regular file 6755 3:4 0:0\n",
        ),
        (
            "an absolute name",
            Layer::new().file("/t", "inside").build(),
            "cat /t",
            "inside",
        ),
        (
            "a directory through a link",
            Layer::new().symlink("l", "/t").file("l/x", "1").build(),
            "cat /t/x",
            "1",
        ),
        (
            "attributes",
            dir().entry(xattrs).build(),
            "ls /t; ls /t/f",
            "f\n/t/f\n",
        ),
    ]
}

#[test]
fn layers_that_are_merely_odd_are_what_they_should_be() {
    let ground = Ground::new(require!(host()));
    ground.host.busybox();
    let before = ground.host.snapshot();
    for (case, layer, script, want) in archives().into_iter().chain(contents()) {
        let image = ImageBuilder::busybox().built_layer(layer).build();
        let reference = ground.host.registry().push("odd:1", &image);
        ground.host.ok(["pull", "-q", &reference]);

        let output = ground
            .host
            .rocker(crate::shell(&["--network", "none"], &reference, script));

        assert_eq!(output.stdout, want, "{case}: {output:?}");
        ground.assert_bounded(case, &output);
        ground.host.ok(["rmi", &reference]);
        let lines = ground.host.difference_from(&before);
        assert!(lines.is_empty(), "{case}: {lines:#?}");
    }
    ground.victim.assert_untouched("odd layers");
}
