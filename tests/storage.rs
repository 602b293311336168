//! Disks that are full, read-only or out of inodes, and processes out of descriptors: one clear
//! error, a store as it was, and a later try that works.

use rocker_testkit::Host;
use rocker_testkit::host::{Output, run_program};
use rocker_testkit::image::{ImageBuilder, Layer};
use rocker_testkit::require;

use crate::host;

/// The data directory on a small file system of its own, in this test's mount namespace.
pub(crate) struct SmallDisk {
    root: String,
}

impl SmallDisk {
    pub(crate) fn mount(host: &Host, options: &str) -> Self {
        let root = host.root().to_string_lossy().into_owned();
        let options = format!("mode=0700,{options}");
        run_program(&["mount", "-t", "tmpfs", "-o", &options, "rocker-test", &root]);
        Self { root }
    }

    fn remount(&self, options: &str) {
        run_program(&["mount", "-o", &format!("remount,{options}"), &self.root]);
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let gone = std::process::Command::new("umount")
            .arg(&self.root)
            .status();
        assert!(gone.is_ok_and(|status| status.success()) || std::thread::panicking());
    }
}

/// Everything in the data directory but the databases, which may grow.
pub(crate) fn files(host: &Host) -> Vec<String> {
    let listed = run_program(&[
        "find",
        &host.root().to_string_lossy(),
        "-printf",
        "%P %y %s\\n",
    ]);
    let lines = listed.lines().map(str::to_owned);
    // the sizes of directories of a tmpfs say nothing that their files do not
    let mut lines: Vec<_> = lines
        .filter(|line| !line.contains("rocker.db") && !line.contains(" d "))
        .collect();
    lines.sort();
    lines
}

pub(crate) fn assert_one_clear_error(output: &Output, context: &str) {
    assert_ne!(output.exit_code, 0, "{context}: {output:?}");
    let errors = output
        .stderr
        .lines()
        .filter(|line| line.starts_with("Error: "));
    assert_eq!(errors.count(), 1, "{context}: {output:?}");
    assert!(!output.stderr.contains("panicked"), "{context}: {output:?}");
}

fn many_files() -> Layer {
    (0..600).fold(Layer::new(), |layer, number| {
        layer.file(&format!("many/{number}"), "x")
    })
}

/// Archives to load and to import, made on another disk.
fn archives(host: &Host, layer: Layer) -> (String, String, String) {
    let source = host.pulled("source:1", ImageBuilder::busybox().layer(layer));
    let path = |name: &str| host.scratch().join(name).to_string_lossy().into_owned();
    let (saved, exported) = (path("saved.tar"), path("exported.tar"));
    host.ok(["save", "-o", &saved, &source]);
    host.ok(["create", "--name", "source", &source]);
    host.ok(["export", "-o", &exported, "source"]);
    host.ok(["rm", "source"]);
    host.ok(["rmi", &source]);
    (source, saved, exported)
}

#[test]
fn without_space_or_inodes_nothing_is_lost_and_a_later_try_works() {
    let host = require!(host());
    let content = "0123456789abcdef".repeat(1 << 20);
    let cases = [
        (
            "space",
            Layer::new().file("big", content),
            "size=12m",
            "size=200m",
        ),
        ("inodes", many_files(), "nr_inodes=500", "nr_inodes=20000"),
    ];
    for (name, layer, small, large) in cases {
        let (source, saved, exported) = archives(&host, layer);
        let disk = SmallDisk::mount(&host, small);
        let busybox = host.busybox();
        let before = files(&host);

        let tries: [&[&str]; 3] = [
            &["pull", "-q", &source],
            &["load", "-q", "-i", &saved],
            &["import", &exported, "own:1"],
        ];
        for words in tries {
            let output = host.rocker(words.iter().copied());
            assert_one_clear_error(&output, &format!("{name}: {words:?}"));
            assert!(output.stderr.contains("hint: "), "{name}: {output:?}");
            assert_eq!(files(&host), before, "{name}: {words:?}");
        }
        assert_eq!(
            host.ok([
                "run",
                "--rm",
                "--network",
                "none",
                &busybox,
                "echo",
                "works"
            ]),
            "works"
        );
        disk.remount(large);
        for words in tries {
            host.ok(words.iter().copied());
            host.ok(["rmi", "-a", "-f"]);
        }
        assert_eq!(
            host.rocker(["system", "check", "--deep"]).exit_code,
            0,
            "{name}"
        );
        drop(disk);
    }
    host.assert_nothing_left_behind();
}

#[test]
fn a_commit_on_a_full_disk_leaves_image_and_container_as_they_were() {
    let host = require!(host());
    let disk = SmallDisk::mount(&host, "size=24m");
    let image = host.busybox();
    let grow = "head -c 8000000 /dev/urandom > /big";
    host.ok([
        "run",
        "--name",
        "grown",
        "--network",
        "none",
        &image,
        "sh",
        "-c",
        grow,
    ]);
    let stop_gap = host.root().join("filler");
    run_program(&["fallocate", "-l", "7m", &stop_gap.to_string_lossy()]);
    host.await_monitors();
    let before = files(&host);

    let output = host.rocker(["commit", "grown", "made:1"]);

    assert_one_clear_error(&output, "commit");
    assert_eq!(files(&host), before);
    fs_err::remove_file(stop_gap).expect("removed");
    host.ok(["commit", "grown", "made:1"]);
    host.ok(["rm", "grown"]);
    host.ok(["rmi", "made:1", &image]);
    drop(disk);
    host.assert_nothing_left_behind();
}

#[test]
fn a_read_only_disk_is_named_and_changes_nothing() {
    let host = require!(host());
    let disk = SmallDisk::mount(&host, "size=64m");
    let image = host.busybox();
    let before = files(&host);
    disk.remount("ro");

    for words in [
        &["pull", "-q", &image][..],
        &["tag", &image, "b:1"],
        &["rmi", &image],
        &["volume", "create", "vol"],
        &["run", "--name", "xx", "--network", "none", &image, "true"],
    ] {
        let output = host.rocker(words.iter().copied());
        assert_one_clear_error(&output, &format!("{words:?}"));
        assert!(
            output.stderr.to_lowercase().contains("read-only")
                || output.stderr.contains("readonly"),
            "{output:?}"
        );
    }
    assert_eq!(files(&host), before);
    disk.remount("rw");
    assert_eq!(
        host.ok(["run", "--rm", "--network", "none", &image, "echo", "works"]),
        "works"
    );
    host.ok(["tag", &image, "b:1"]);
    host.ok(["rmi", &image, "b:1"]);
    drop(disk);
    host.assert_nothing_left_behind();
}

#[test]
fn few_descriptors_are_an_error_and_never_damage() {
    let host = require!(host());
    let image = host.busybox();
    let layers = (0..6).fold(ImageBuilder::busybox(), |image, number| {
        image.layer(Layer::new().file(&format!("f{number}"), "x"))
    });
    let other = host.registry().push("other:1", &layers.build());
    let rocker = |limit: u32, words: &str| {
        let line = format!(
            "ulimit -n {limit}; exec {} --root {} --runroot {} {words}",
            host.binary().display(),
            host.root().display(),
            host.runroot().display()
        );
        host.program("sh").arg("-c").arg(&line).run()
    };
    for limit in [16, 18, 20, 22, 24, 28, 32, 48, 64] {
        for words in [
            "images -q".to_owned(),
            format!("pull -q {other}"),
            format!("rmi {other}"),
            format!("run --rm --network none {image} true"),
            format!("create --name made {image}"),
            "rm made".to_owned(),
        ] {
            let output = rocker(limit, &words);
            assert!(!output.stderr.contains("panicked"), "{limit}: {output:?}");
            if output.exit_code != 0 {
                assert_one_clear_error(&output, &format!("{limit}: {words}"));
            }
            let left = fs_err::read_dir(host.root().join("tmp")).unwrap().count();
            assert!(left < 4, "{limit}: {words}: {left} directories");
        }
        host.rocker(["rm", "-f", "made"]);
        assert_eq!(
            host.ok(["run", "--rm", "--network", "none", &image, "echo", "works"]),
            "works"
        );
        assert_eq!(
            host.rocker(["system", "check", "--repair"]).exit_code,
            0,
            "{limit}"
        );
    }
    host.rocker(["rmi", &other]);
    host.assert_nothing_left_behind();
}

#[test]
fn limits_are_the_owners_and_a_refusal_names_the_key() {
    let host = require!(host());
    let big = Layer::new().file("big", "0123456789abcdef".repeat(200_000));
    let image = host
        .registry()
        .push("big:1", &ImageBuilder::busybox().layer(big).build());
    let config = host.scratch().join("config.toml");
    let pull = |text: &str| {
        fs_err::write(&config, text).expect("a configuration");
        let command = host.command(["pull", "-q", &image]);
        command
            .env("ROCKER_CONFIG", &config.to_string_lossy())
            .run()
    };

    let refused = pull("[limits]\nunpacked_bytes = \"3m\"\n");
    assert_one_clear_error(&refused, "unpacked_bytes");
    assert!(
        refused
            .stderr
            .contains("limits.unpacked_bytes in /etc/rocker/config.toml"),
        "{refused:?}"
    );
    let invalid = pull("[limits]\nratio = 0\n");
    assert_one_clear_error(&invalid, "ratio");
    assert!(
        invalid.stderr.contains("line 2: limits.ratio wants"),
        "{invalid:?}"
    );
    let allowed = pull("insecur = []\n[limits]\nunpacked_bytes = \"10m\"\n");
    assert_eq!(allowed.exit_code, 0, "{allowed:?}");
    assert!(
        allowed
            .stderr
            .contains("unknown key insecur: did you mean insecure?"),
        "{allowed:?}"
    );
    host.ok(["rmi", &image]);
    host.assert_nothing_left_behind();
}
