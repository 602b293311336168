//! A disk that has room for the first so many bytes of a command: whatever it was about to write,
//! one clear error, a store as it was, the room given back, and a later try that works.

use std::path::PathBuf;

use rocker_testkit::Host;
use rocker_testkit::host::Output;
use rocker_testkit::image::{ImageBuilder, Layer};
use rocker_testkit::require;
use rustix::fs::{FallocateFlags, fallocate, statvfs};

use crate::host;
use crate::resume::noise;
use crate::storage::{SmallDisk, assert_one_clear_error, files};

/// A page: what a tmpfs gives at a time.
const STEP: u64 = 4096;

/// No command here needs more.
const STEPS_MAX: u64 = 200;

/// What takes up the room on the disk.
struct Filler(PathBuf);

impl Filler {
    /// Leaves `bytes` free.
    fn leaving(host: &Host, bytes: u64) -> Self {
        let path = host.root().join("filler");
        let disk = statvfs(host.root()).expect("the disk");
        let size = (disk.f_bavail * disk.f_frsize).saturating_sub(bytes);
        let file = fs_err::File::create(&path).expect("the filler");
        fallocate(&file, FallocateFlags::empty(), 0, size).expect("the disk is filled");
        Self(path)
    }
}

impl Drop for Filler {
    fn drop(&mut self) {
        let gone = fs_err::remove_file(&self.0);
        assert!(gone.is_ok() || std::thread::panicking());
    }
}

/// All but the marks of layers that are on their way to the disk, which come and go by themselves.
fn lasting_files(host: &Host) -> Vec<String> {
    let mut files = files(host);
    files.retain(|line| !line.contains(".unsynced"));
    files
}

/// Runs a command with one page more each time until it works; how many times it did not.
fn step_up(host: &Host, config: &str, words: &[&str]) -> u64 {
    let before = lasting_files(host);
    for step in 0..STEPS_MAX {
        let context = format!("{words:?} with {step} pages");
        let filler = Filler::leaving(host, step * STEP);
        let command = host.command(words.iter().copied());
        let output = command.env("ROCKER_CONFIG", config).run();
        drop(filler);
        if output.exit_code == 0 {
            assert_whole(host, &context);
            return step;
        }
        assert_says_full(&output, &context);
        assert_whole(host, &context);
        assert_eq!(lasting_files(host), before, "{context}");
    }
    panic!("{words:?} never works");
}

fn assert_says_full(output: &Output, context: &str) {
    assert_one_clear_error(output, context);
    assert_eq!(output.exit_code, 1, "{context}: {output:?}");
    let error = output.stderr.to_lowercase();
    assert!(
        ["no space left", "disk is full", "keep_free_percent"]
            .iter()
            .any(|words| error.contains(words)),
        "{context}: {output:?}"
    );
    assert!(output.stderr.contains("hint: "), "{context}: {output:?}");
}

fn assert_whole(host: &Host, context: &str) {
    let check = host.rocker(["system", "check"]);
    assert_eq!(check.exit_code, 0, "{context}: {check:?}");
}

#[test]
fn whatever_a_command_was_about_to_write_nothing_is_lost_and_a_later_try_works() {
    let host = require!(host());
    let layer = |n: u64| {
        let content = noise(n, 40_000);
        let layer = Layer::new()
            .dir("d", 0o750)
            .file(&format!("d/{n}"), content);
        layer.symlink("link", "d")
    };
    let image = ImageBuilder::new().layer(layer(1)).layer(layer(2));
    let source = host.registry().push("source:1", &image.build());
    let busybox = host.busybox();
    let path = |name: &str| host.scratch().join(name).to_string_lossy().into_owned();
    let (saved, exported) = (path("saved.tar"), path("exported.tar"));
    host.ok(["pull", "-q", &source]);
    host.ok(["save", "-o", &saved, &source]);
    host.ok(["create", "--name", "source", &source, "none"]);
    host.ok(["export", "-o", &exported, "source"]);
    host.ok(["rm", "source"]);
    // all of the disk may be used, so that the kernel is who says no
    let config = path("config.toml");
    fs_err::write(&config, "[limits]\nkeep_free_percent = 0\n").expect("a configuration");
    let disk = SmallDisk::mount(&host, "size=24m");
    host.ok(["pull", "-q", &busybox]);
    let write = "dd if=/dev/urandom of=/mine bs=1000 count=40";
    let run = ["run", "--name", "grown", "--network", "none", &busybox];
    host.ok(run.iter().copied().chain(["sh", "-c", write]));
    host.await_monitors();

    let mut steps = Vec::new();
    for (words, undo) in [
        (vec!["pull", "-q", &source], vec!["rmi", &source]),
        (vec!["load", "-q", "-i", &saved], vec!["rmi", &source]),
        (vec!["import", &exported, "own:1"], vec!["rmi", "own:1"]),
        (vec!["commit", "grown", "made:1"], vec![]),
        (vec!["tag", "made:1", "again:1"], vec![]),
        (vec!["rmi", "again:1"], vec![]),
        (vec!["rmi", "made:1"], vec![]),
        (
            vec!["volume", "create", "data"],
            vec!["volume", "rm", "data"],
        ),
        (
            vec!["create", "--name", "more", &busybox],
            vec!["rm", "more"],
        ),
    ] {
        steps.push((words.clone(), step_up(&host, &config, &words)));
        if !undo.is_empty() {
            host.ok(undo);
        }
    }
    let were_tight = steps.iter().all(|(_, steps)| *steps > 0);
    assert!(were_tight, "{steps:?}");

    host.ok(["rm", "grown"]);
    host.ok(["rmi", &busybox]);
    drop(disk);
    host.ok(["rmi", "-a"]);
    host.assert_nothing_left_behind();
}
