//! Images that are unusual and right: what rocker shows is what umoci unpacks.

use std::path::Path;

use rocker_testkit::host::{programs, run_program};
use rocker_testkit::image::{Compression, Entry, EntryKind, Image, ImageBuilder, Layer};
use rocker_testkit::{Host, require};

use crate::host;

/// Every file below a directory with what layers say of it. Times are left out: a directory's is
/// whatever its last change made it. So are numbers of links: one into a layer below is a copy
/// where layers stay apart.
fn listing(directory: &Path) -> String {
    let directory = directory.to_string_lossy();
    let script = "cd \"$1\" && find . -mindepth 1 \\( -type d -printf '%p %y %m %U:%G\\n' \\) -o -printf '%p %y %m %U:%G %s %l\\n' | sort";
    let names = run_program(&["sh", "-c", script, "sh", &directory]);
    let script = "cd \"$1\" && find . -type f -print0 | sort -z | xargs -0 sha256sum";
    names + &run_program(&["sh", "-c", script, "sh", &directory])
}

/// What a container of the image starts from, as a directory.
fn exported(host: &Host, image: &Image) -> String {
    let reference = host.registry().push("peer:1", image);
    host.ok(["pull", "-q", &reference]);
    let id = host.ok(["create", &reference, "/x"]);
    let (tar, directory) = (
        host.scratch().join("export.tar"),
        host.scratch().join("export"),
    );
    host.ok(["export", "-o", &tar.to_string_lossy(), &id]);
    host.ok(["rm", &id]);
    fs_err::create_dir(&directory).expect("a directory");
    run_program(&[
        "tar",
        "-xpf",
        &tar.to_string_lossy(),
        "--numeric-owner",
        "-C",
        &directory.to_string_lossy(),
    ]);
    listing(&directory)
}

/// What umoci unpacks.
fn unpacked(host: &Host, image: &Image) -> String {
    let (layout, rootfs) = (host.scratch().join("layout"), host.scratch().join("rootfs"));
    image
        .write_oci_layout(&layout, "t")
        .expect("an image layout");
    let layout = format!("{}:t", layout.display());
    run_program(&[
        "umoci",
        "raw",
        "unpack",
        "--image",
        &layout,
        &rootfs.to_string_lossy(),
    ]);
    listing(&rootfs)
}

#[test]
fn layers_that_build_on_one_another_are_what_umoci_makes_of_them() {
    require!(programs(&["umoci"]));
    let host = require!(host());
    let base = Layer::new()
        .entry(
            Entry::new("private", EntryKind::Dir)
                .mode(0o700)
                .owner(5, 6),
        )
        .entry(Entry::new("sticky", EntryKind::Dir).mode(0o1777))
        .file("private/old", "old")
        .file("f", "shared")
        .hardlink("g", "f")
        .file("gone", "x")
        .dir("d", 0o755)
        .file("d/a", "a")
        .file("d/b", "b")
        .dir("e", 0o755)
        .file("e/hidden", "x")
        .symlink("l", "f");
    // No entry for its directories, links into the layer below, deletions.
    let middle = Layer::new()
        .file("private/new", "new")
        .file("sticky/deep/er/file", "x")
        .hardlink("h", "f")
        .whiteout("gone")
        .whiteout("d/a")
        .opaque("e")
        .file("e/seen", "y");
    let top = Layer::new()
        .hardlink("d/i", "private/new")
        .file("gone", "again")
        .file("l", "no link any more")
        .entry(
            Entry::new("private", EntryKind::Dir)
                .mode(0o750)
                .owner(7, 8),
        )
        .compression(Compression::GzipMembers);
    let image = ImageBuilder::new()
        .layer(base)
        .layer(middle)
        .layer(top)
        .build();

    let (ours, theirs) = (exported(&host, &image), unpacked(&host, &image));

    assert_eq!(ours, theirs);
    host.assert_nothing_left_behind();
}

#[test]
fn a_hundred_and_twenty_seven_layers_are_an_image() {
    let host = require!(host());
    let image = (1..127).fold(ImageBuilder::busybox(), |image, n| {
        image.layer(
            Layer::new()
                .file("last", format!("{n}"))
                .file(&format!("n/{n}"), ""),
        )
    });
    let reference = host.registry().push("tower:1", &image.build());

    host.ok(["pull", "-q", &reference]);
    let output = host.ok([
        "run",
        "--rm",
        &reference,
        "sh",
        "-c",
        "cat /last; ls /n | wc -l",
    ]);

    assert_eq!(output, "126126");
    host.assert_nothing_left_behind();
}
