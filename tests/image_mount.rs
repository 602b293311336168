//! image mount and unmount: looking into an image without a container.

use std::path::Path;

use rocker_testkit::image::{ImageBuilder, Layer};
use rocker_testkit::require;

use crate::{host, shell};

/// Where an image is mounted by this very call.
fn mounted(host: &rocker_testkit::Host, image: &str) -> String {
    let path = host.ok(["image", "mount", image]);
    assert!(Path::new(&path).is_dir(), "{path}");
    path
}

#[test]
fn a_mounted_image_shows_its_files_and_takes_no_others() {
    let host = require!(host());
    let image = ImageBuilder::busybox()
        .layer(Layer::new().file("gone", "1").file("etc/which", "lower"))
        .layer(Layer::new().whiteout("gone").file("etc/which", "upper"));
    let image = host.pulled("looked/at:1", image);

    let path = mounted(&host, &image);

    let read = fs_err::read_to_string(format!("{path}/etc/which")).expect("a file");
    assert_eq!(read, "upper");
    assert!(!Path::new(&path).join("gone").exists());
    let refused = fs_err::write(format!("{path}/new"), "").expect_err("read only");
    assert_eq!(refused.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    assert_eq!(
        host.ok(["image", "mount"]),
        format!("{image}  {path}"),
        "listed"
    );
    let json = host.ok(["image", "mount", "--format", "json"]);
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json[0]["mountpoint"], path.as_str(), "{json}");
    assert_eq!(json[0]["Repositories"][0], image.as_str(), "{json}");
    // a container of the same image minds nothing
    host.ok(shell(&[], &image, "echo 1 >/etc/which"));
    assert_eq!(
        fs_err::read_to_string(format!("{path}/etc/which")).expect("a file"),
        "upper"
    );

    let id = host.ok(["image", "unmount", &image]);
    assert!(id.starts_with("sha256:"), "{id}");
    assert!(!Path::new(&path).exists());
    assert_eq!(host.ok(["image", "mount"]), "");
    assert_eq!(host.ok(["image", "umount", &image]), "", "as podman");
    host.assert_nothing_left_behind();
}

#[test]
fn several_images_are_printed_with_their_names_and_counted_each() {
    let host = require!(host());
    let one = host.pulled("one:1", ImageBuilder::busybox());
    let deep = (1..127).fold(ImageBuilder::busybox(), |image, number| {
        image.layer(Layer::new().file(&format!("layers/{number}"), ""))
    });
    let deep = host.pulled("deep:1", deep);

    let both = host.ok(["image", "mount", &one, &deep]);
    let lines: Vec<&str> = both.lines().collect();
    assert!(lines[0].starts_with(&format!("{one}  ")), "{both}");
    let (_, path) = lines[1].split_once("  ").expect("two columns");
    let layers = fs_err::read_dir(format!("{path}/layers")).expect("layers");
    assert_eq!(layers.count(), 126);
    assert_eq!(mounted(&host, &deep), path, "the same once more");

    host.ok(["image", "unmount", "-a"]);
    assert_eq!(host.ok(["image", "mount"]), format!("{deep}  {path}"));
    host.ok(["image", "unmount", "-a"]);
    assert_eq!(host.ok(["image", "mount"]), "");
    let refused = host.rocker(["image", "mount", "nope:1", &one]);
    assert_eq!(refused.exit_code, 1, "{refused:?}");
    assert!(
        refused.stderr.contains("no such image: nope:1"),
        "{refused:?}"
    );
    host.ok(["image", "unmount", "-f", &one]);
    host.assert_nothing_left_behind();
}

#[test]
fn what_is_mounted_stays_until_it_is_unmounted() {
    let host = require!(host());
    host.ok(["ps"]);
    let before = host.snapshot();
    let image = host.busybox();
    let path = mounted(&host, &image);

    let refused = host.rocker(["rmi", &image]);
    assert_eq!(refused.exit_code, 1, "{refused:?}");
    assert!(
        refused.stderr.contains(&format!("is mounted at {path:?}"))
            && refused.stderr.contains("rocker image unmount"),
        "{refused:?}"
    );
    host.ok(["image", "prune", "-af"]);
    assert!(Path::new(&path).join("bin").exists(), "pruned");

    let inside = fs_err::File::open(format!("{path}/bin")).expect("a directory");
    let busy = host.rocker(["image", "unmount", &image]);
    assert_eq!(busy.exit_code, 1, "{busy:?}");
    assert!(busy.stderr.contains("unmount -f"), "{busy:?}");
    assert!(Path::new(&path).join("bin").exists());
    drop(inside);

    host.ok(["rmi", "-f", &image]);
    assert!(!Path::new(&path).exists());
    host.assert_unchanged_since(&before);
}

#[test]
fn mounts_that_went_by_other_means_are_found_and_forgotten() {
    let host = require!(host());
    let image = host.busybox();
    let path = mounted(&host, &image);
    host.program("umount").arg(&path).run();

    assert_eq!(host.ok(["image", "mount"]), "");
    let checked = host.rocker(["system", "check"]);
    assert!(
        checked.stdout.contains("is not mounted any more"),
        "{checked:?}"
    );
    let again = mounted(&host, &image);
    assert_eq!(again, path);
    host.ok(["system", "check"]);

    host.program("umount").arg(&path).run();
    host.ok(["system", "check", "--repair"]);
    assert!(!Path::new(&path).exists());
    host.assert_nothing_left_behind();
}

/// What a session of its own has mounted is nobody else's, and goes with it.
#[test]
fn a_mount_of_another_mount_namespace_keeps_the_image_as_long_as_it_lives() {
    let host = require!(host());
    let image = host.busybox();
    let (binary, root) = (host.binary().to_string_lossy(), host.root());
    let (root, runroot) = (root.to_string_lossy(), host.runroot());
    let runroot = runroot.to_string_lossy();
    let session = host.program("unshare").args([
        "-m",
        "sh",
        "-c",
        "\"$@\" && exec sleep 1000",
        "sh",
        &binary,
        "--root",
        &root,
        "--runroot",
        &runroot,
        "image",
        "mount",
        &image,
    ]);
    let session = session.spawn();
    session.await_stdout("/mounts/");

    assert_eq!(host.ok(["image", "mount"]), "", "not of this namespace");
    let refused = host.rocker(["rmi", "-f", &image]);
    assert_eq!(refused.exit_code, 1, "{refused:?}");
    let own = mounted(&host, &image);
    let refused = host.rocker(["rmi", "-f", &image]);
    assert_eq!(refused.exit_code, 1, "{refused:?}");
    let listed = host.ok(["image", "mount"]);
    assert_eq!(listed, format!("{image}  {own}"), "ours stays too");
    host.ok(["image", "unmount", &image]);
    assert!(!Path::new(&own).exists());

    session.signal(rustix::process::Signal::KILL);
    session.finish();
    host.ok(["rmi", &image]);
    host.ok(["ps"]);
    host.assert_nothing_left_behind();
}
