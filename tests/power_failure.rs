//! Images that were pulled shortly before the machine lost its power. A pull does not wait for the
//! disk, so what a failure may leave is made by hand here: a mark of another boot, and a file that
//! has its name and no content.

use std::os::unix::fs::symlink;
use std::path::PathBuf;

use rocker_testkit::host::Host;
use rocker_testkit::image::{ImageBuilder, Layer};
use rocker_testkit::require;

use crate::host;

const ANOTHER_BOOT: &str = "00000000-0000-0000-0000-000000000000";
const CONTENT: &str = "precious";

fn image(host: &Host) -> String {
    let image = ImageBuilder::busybox().layer(Layer::new().file("f", CONTENT));
    host.pulled("power:1", image)
}

/// Gives every layer of the host the mark that it would have after a reboot.
fn reboot(host: &Host) {
    for mark in marks(host) {
        fs_err::remove_file(&mark).expect("a mark goes");
        symlink(ANOTHER_BOOT, &mark).expect("another comes");
    }
}

fn marks(host: &Host) -> Vec<PathBuf> {
    let entries = fs_err::read_dir(host.root().join("layers")).expect("layers are listed");
    let paths = entries.map(|entry| entry.expect("layers are listed").path());
    paths
        .filter(|path| path.extension().is_some_and(|end| end == "unsynced"))
        .collect()
}

/// Takes the content of `f` away, as ext4 does with what it had not written.
fn lose_content(host: &Host) {
    let entries = fs_err::read_dir(host.root().join("layers")).expect("layers are listed");
    let files = entries.map(|entry| entry.expect("layers are listed").path().join("f"));
    let lost: Vec<_> = files.filter(|path| path.is_file()).collect();
    assert_eq!(lost.len(), 1);
    fs_err::write(&lost[0], "").expect("content goes");
}

#[test]
fn a_pulled_image_that_lost_nothing_runs_after_it() {
    let host = require!(host());
    let image = image(&host);
    host.ok(["create", "--name", "old", &image, "cat", "/f"]);
    assert_eq!(
        marks(&host).len(),
        2,
        "two layers are on their way to the disk"
    );
    reboot(&host);

    assert_eq!(host.ok(["start", "-a", "old"]), CONTENT);
    assert_eq!(host.ok(["run", "--rm", &image, "cat", "/f"]), CONTENT);

    assert_eq!(
        marks(&host),
        Vec::<PathBuf>::new(),
        "they were read and are believed"
    );
    host.ok(["rm", "old"]);
    host.assert_nothing_left_behind();
}

#[test]
fn an_image_that_lost_content_is_refused_until_it_is_pulled_again() {
    let host = require!(host());
    let image = image(&host);
    host.ok(["create", "--name", "old", &image, "cat", "/f"]);
    reboot(&host);
    lose_content(&host);

    for (words, code) in [
        (vec!["run", "--rm", image.as_str(), "cat", "/f"], 125),
        (vec!["create", image.as_str()], 1),
        (vec!["start", "-a", "old"], 1),
    ] {
        let refused = host.rocker(words);
        assert_eq!(refused.exit_code, code, "{}", refused.stderr);
        assert!(
            refused.stderr.contains("was not whole on disk"),
            "{}",
            refused.stderr
        );
        assert!(
            refused.stderr.contains("hint: pull the image again"),
            "{}",
            refused.stderr
        );
        assert_eq!(refused.stdout, "");
    }

    host.ok(["pull", &image]);
    assert_eq!(host.ok(["start", "-a", "old"]), CONTENT);
    assert_eq!(host.ok(["run", "--rm", &image, "cat", "/f"]), CONTENT);
    host.ok(["rm", "old"]);
    host.assert_nothing_left_behind();
}

#[test]
fn what_nobody_else_has_is_on_disk_before_the_answer() {
    let host = require!(host());
    let image = image(&host);
    host.ok([
        "run",
        "--name",
        "work",
        &image,
        "sh",
        "-c",
        "echo mine > /mine",
    ]);

    host.ok(["commit", "work", "kept:1"]);

    assert_eq!(
        marks(&host),
        Vec::<PathBuf>::new(),
        "neither the layer nor what it lies on"
    );
    host.ok(["rm", "work"]);
    host.assert_nothing_left_behind();
}
