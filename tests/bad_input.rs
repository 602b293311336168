//! Hostile images, broken registries, full disks and wrong words: one line each, the right code,
//! nothing left and nothing touched.

use std::path::PathBuf;
use std::time::Duration;

use rocker_testkit::host::{Output, programs, run_program};
use rocker_testkit::image::{Entry, EntryKind, ImageBuilder, Layer};
use rocker_testkit::registry::{Action, On, Registry};
use rocker_testkit::{Host, require};

use crate::{host, shell};

/// Asserts `code`, and that stderr is one `Error:` line, perhaps with a hint after it.
pub(crate) fn assert_one_error(output: &Output, code: i32) {
    assert_eq!(output.exit_code, code, "{output:?}");
    assert_eq!(output.stdout, "", "{output:?}");
    let lines: Vec<_> = output
        .stderr
        .lines()
        .filter(|line| !line.starts_with("hint: "))
        .collect();
    assert!(
        lines.len() == 1 && lines[0].starts_with("Error: "),
        "{output:?}"
    );
    assert!(!output.stderr.contains("panicked"), "{output:?}");
}

/// A directory outside rocker's own that an attack would like to change, and its fingerprint.
pub(crate) struct Victim {
    directory: PathBuf,
}

impl Victim {
    pub(crate) fn new(host: &Host) -> Self {
        let directory = host.scratch().join("victim");
        fs_err::create_dir(&directory).expect("a directory");
        fs_err::write(directory.join("secret"), "untouched").expect("a file");
        run_program(&["chmod", "600", &directory.join("secret").to_string_lossy()]);
        run_program(&["mkfifo", &directory.join("fifo").to_string_lossy()]);
        Self { directory }
    }

    pub(crate) fn path(&self) -> String {
        self.directory.to_string_lossy().into_owned()
    }

    pub(crate) fn assert_untouched(&self, after: &str) {
        let listed = run_program(&["find", &self.path(), "-printf", "%P %y %m %u %s\n"]);
        let mut lines: Vec<_> = listed.lines().collect();
        lines.sort_unstable();
        assert_eq!(lines.len(), 3, "after {after}: {listed}");
        assert!(
            lines.contains(&"fifo p 644 root 0") && lines.contains(&"secret f 600 root 9"),
            "after {after}: {listed}"
        );
        assert_eq!(
            fs_err::read_to_string(self.directory.join("secret")).expect("the secret"),
            "untouched",
            "after {after}"
        );
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "most of it is one table of cases")]
fn a_registry_that_lies_is_found_out_before_anything_is_kept() {
    let host = require!(host());
    host.ok(["ps"]);
    let before = host.snapshot();
    let image = ImageBuilder::busybox().build();
    let layer = image.layers[0].digest.clone();
    let config = image.config.digest.clone();
    let another = ImageBuilder::new()
        .layer(Layer::new().file("another", "image"))
        .build();

    let manifest_body = |content_type: &str, body: Vec<u8>| Action::Answer {
        status: 200,
        content_type: content_type.to_owned(),
        body,
    };
    for (on, action) in [
        (On::Path(layer.clone()), Action::FlipByte),
        (On::Path(layer.clone()), Action::Shorten(1000)),
        (On::Path(layer.clone()), Action::Lengthen(1000)),
        (On::Path(config.clone()), Action::FlipByte),
        (On::Path(config), Action::Lengthen(1 << 20)),
        (On::Manifest, Action::FlipByte),
        (
            On::Manifest,
            manifest_body("text/html", b"<html>sign in</html>".to_vec()),
        ),
        (
            On::Manifest,
            manifest_body(
                "application/vnd.oci.image.manifest.v1+json",
                vec![b' '; 8 << 20],
            ),
        ),
        (
            On::Manifest,
            manifest_body("application/vnd.oci.image.manifest.v1+json", b"{}".to_vec()),
        ),
        (
            On::Manifest,
            manifest_body(
                "application/vnd.oci.image.manifest.v1+json",
                another.manifest.bytes.to_vec(),
            ),
        ),
        (On::Manifest, Action::Status(404)),
        (On::Manifest, Action::Status(403)),
        (On::Path(layer), Action::Status(404)),
    ] {
        let registry = Registry::start();
        let tagged = registry.push("liar:1", &image);
        // By digest, so that a manifest which is well-formed but another one is a lie too.
        let reference = format!(
            "{}@{}",
            tagged.trim_end_matches(":1"),
            image.manifest.digest
        );
        registry.fault(on.clone(), 1000, action.clone());

        let output = host
            .command(["pull", "-q", &reference])
            .time_limit(Duration::from_secs(50))
            .run();

        assert_one_error(&output, 1);
        let lines = host.difference_from(&before);
        assert!(lines.is_empty(), "{on:?} {action:?}: {lines:#?}");
    }
    host.assert_unchanged_since(&before);
}

#[test]
fn documents_that_contradict_themselves_are_refused() {
    let host = require!(host());
    host.ok(["ps"]);
    let before = host.snapshot();
    let wrong = format!("sha256:{}", "0".repeat(64));

    for image in [
        ImageBuilder::busybox().bend_config("/rootfs/diff_ids/0", wrong.clone()),
        ImageBuilder::busybox().bend_config("/rootfs/diff_ids", serde_json::json!([])),
        ImageBuilder::busybox().bend_config("/config/Env", "not a list"),
        ImageBuilder::busybox().bend_manifest("/layers/0/size", 12),
        ImageBuilder::busybox().bend_manifest("/layers/0/size", -1),
        ImageBuilder::busybox().bend_manifest("/layers/0/digest", "sha256:../../../../etc/passwd"),
        ImageBuilder::busybox()
            .bend_manifest("/layers/0/digest", "md5:d41d8cd98f00b204e9800998ecf8427e"),
        ImageBuilder::busybox().bend_manifest("/layers/0/mediaType", "application/x-unheard-of"),
        ImageBuilder::busybox().bend_manifest("/schemaVersion", 1),
        ImageBuilder::busybox().bend_manifest("/config/digest", wrong),
    ] {
        let image = image.build();
        let reference = host.registry().push("crooked:1", &image);

        let output = host.rocker(["pull", "-q", &reference]);

        assert_one_error(&output, 1);
        let lines = host.difference_from(&before);
        assert!(
            lines.is_empty(),
            "{}: {lines:#?}",
            String::from_utf8_lossy(&image.manifest.bytes)
        );
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "most of it is one table of cases")]
fn layers_that_try_to_escape_do_not() {
    let host = require!(host());
    host.ok(["ps"]);
    let before = host.snapshot();
    let victim = Victim::new(&host);
    let to = victim.path();
    let file = |name: &str| Entry::new(name, EntryKind::File(b"evil".to_vec()));

    for (what, layer) in [
        (
            "dot-dot",
            Layer::new().entry(file("../../../../../../../../tmp/evil")),
        ),
        (
            "dot-dot inside",
            Layer::new().entry(file(&format!("a/../../../../../../../..{to}/evil"))),
        ),
        ("absolute", Layer::new().entry(file(&format!("{to}/evil")))),
        (
            "through a link",
            Layer::new().symlink("out", &to).entry(file("out/evil")),
        ),
        (
            "over a link",
            Layer::new()
                .symlink("out", &format!("{to}/secret"))
                .entry(file("out")),
        ),
        (
            "hard link out",
            Layer::new().hardlink("stolen", &format!("{to}/secret")),
        ),
        (
            "hard link dot-dot",
            Layer::new().hardlink("stolen", &format!("../../../../../../../..{to}/secret")),
        ),
        (
            "hard link through a link",
            Layer::new()
                .symlink("out", &to)
                .hardlink("stolen", "out/secret"),
        ),
        (
            "whiteout through a link",
            Layer::new().symlink("out", &to).whiteout("out/secret"),
        ),
        (
            "opaque through a link",
            Layer::new().symlink("out", &to).opaque("out"),
        ),
        ("whiteout of dot-dot", Layer::new().file(".wh...", "")),
        (
            "mode through a link",
            Layer::new()
                .symlink("out", &to)
                .entry(Entry::new("out", EntryKind::Dir).mode(0o777)),
        ),
        ("a name with nothing in it", Layer::new().file("", "x")),
    ] {
        let reference = host
            .registry()
            .push("escape:1", &ImageBuilder::busybox().layer(layer).build());

        let pulled = host.rocker(["pull", "-q", &reference]);
        if pulled.exit_code == 0 {
            // Kept inside is as good as refused.
            host.rocker(shell(
                &[],
                &reference,
                "cat /stolen /out/evil; echo evil >/out/evil; true",
            ));
            host.ok(["rmi", &reference]);
        } else {
            assert_one_error(&pulled, 1);
        }

        victim.assert_untouched(what);
        assert!(fs_err::metadata("/tmp/evil").is_err(), "{what}");
        let lines = host.difference_from(&before);
        assert!(lines.is_empty(), "{what}: {lines:#?}");
    }
}

#[test]
fn system_directories_that_are_links_do_not_lead_out() {
    let host = require!(host());
    let victim = Victim::new(&host);
    let to = victim.path();
    // The base must not have the directories itself.
    let base = || {
        Layer::new().dir("bin", 0o755).program(
            "bin/busybox",
            fs_err::read("/bin/busybox").expect("busybox"),
        )
    };

    for name in [
        "dev",
        "proc",
        "sys",
        "etc",
        "run",
        "dev/pts",
        "dev/shm",
        "dev/null",
        "dev/console",
        "etc/hosts",
        "etc/resolv.conf",
        "etc/hostname",
        "etc/mtab",
    ] {
        for target in [
            to.clone(),
            format!("{to}/secret"),
            "/".to_owned(),
            "../../../../../../..".to_owned() + &to,
        ] {
            let image = ImageBuilder::new()
                .layer(base().symlink(name, &target))
                .cmd(["/bin/busybox", "true"]);
            let reference = host.registry().push("links:1", &image.build());

            let output = host
                .command(["run", "--rm", "--pull", "always", &reference])
                .time_limit(Duration::from_secs(20))
                .run();

            if output.exit_code != 0 {
                assert_one_error(
                    &Output {
                        stderr: last_error(&output),
                        ..output.clone()
                    },
                    125,
                );
            }
            victim.assert_untouched(&format!("{name} -> {target}"));
        }
    }
    host.assert_nothing_left_behind();
}

/// stderr without the progress of a pull.
fn last_error(output: &Output) -> String {
    let lines = output
        .stderr
        .lines()
        .filter(|line| line.starts_with("Error: ") || line.starts_with("hint: "));
    lines.map(|line| format!("{line}\n")).collect()
}

#[test]
fn account_files_that_are_traps_are_answered_in_time() {
    let host = require!(host());
    let victim = Victim::new(&host);

    for (what, entry) in [
        ("a FIFO", Entry::new("etc/passwd", EntryKind::Fifo)),
        (
            "a link to an endless device",
            Entry::new("etc/passwd", EntryKind::Symlink("/dev/zero".into())),
        ),
        (
            "a device",
            Entry::new("etc/passwd", EntryKind::CharDevice(1, 5)),
        ),
        ("a directory", Entry::new("etc/passwd", EntryKind::Dir)),
        (
            "a link to the host",
            Entry::new(
                "etc/passwd",
                EntryKind::Symlink(format!("{}/secret", victim.path())),
            ),
        ),
        (
            "a link to itself",
            Entry::new("etc/passwd", EntryKind::Symlink("passwd".into())),
        ),
        (
            "a large file",
            Entry::new(
                "etc/passwd",
                EntryKind::File(b"x:x:1:1::/:/bin/sh\n".repeat(400_000)),
            ),
        ),
    ] {
        let layer = Layer::new().entry(entry.clone());
        let group = Entry {
            name: "etc/group".to_owned(),
            ..entry
        };
        let reference = host.registry().push(
            "trap:1",
            &ImageBuilder::busybox().layer(layer.entry(group)).build(),
        );
        host.ok(["pull", "-q", &reference]);

        for user in ["user", "1000", "root:extra"] {
            let output = host
                .command(["run", "--rm", "-u", user, &reference, "true"])
                .time_limit(Duration::from_secs(10))
                .run();
            assert!(
                [0, 125].contains(&output.exit_code),
                "{what} {user}: {output:?}"
            );
            assert!(!output.stderr.contains("untouched"), "{what}: {output:?}");
        }
        host.ok(["rmi", &reference]);
        victim.assert_untouched(what);
    }
    host.assert_nothing_left_behind();
}

#[test]
fn a_registry_that_is_not_there_is_said_in_one_line() {
    let host = require!(host());

    // Port 1 of the test's own loopback: nobody listens.
    let pull = host.rocker(["pull", "-q", "127.0.0.1:1/nobody:1"]);
    let run = host.rocker(["run", "--rm", "127.0.0.1:1/nobody:1", "true"]);

    assert_one_error(&pull, 1);
    assert!(pull.stderr.contains("127.0.0.1:1"), "{pull:?}");
    assert_eq!(run.exit_code, 125, "{run:?}");
    host.assert_nothing_left_behind();
}

#[test]
fn words_that_make_no_sense_are_refused_before_anything_is_made() {
    let host = require!(host());
    let image = host.busybox();
    let before = host.snapshot();

    for (flag, value) in [
        ("-p", "notaport"),
        ("-p", "99999:80"),
        ("-p", "80:0"),
        ("-v", "relative/path:/data:nonsense"),
        ("-v", "/a:relative"),
        ("-v", "/a:/b:rx"),
        ("-e", "=novalue"),
        ("-u", "4294967296"),
        ("-u", "2147483648"),
        ("-u", "-1"),
        ("-u", "nosuchuser"),
        ("--network", "nosuch"),
        ("--restart", "sometimes"),
        ("--restart", "on-failure:x"),
        ("--cap-add", "FLY"),
        ("--name", "a/b"),
        ("--name", "-x"),
        ("--stop-signal", "SIGNOTHING"),
        ("--tmpfs", "relative"),
        ("--hostname", "a\nb"),
        ("--hostname", "a..b"),
        ("--label", "=x"),
        ("--pull", "perhaps"),
        ("--detach-keys", "ctrl-"),
    ] {
        let output = host.rocker(["run", "--rm", flag, value, &image, "true"]);
        assert_one_error(&output, 125);
        // Either the flag is named, or the value is quoted.
        let long = flag.starts_with("--") && output.stderr.contains(flag);
        let quoted = format!("{value:?}");
        assert!(
            long || output.stderr.contains(&quoted) || output.stderr.contains(value),
            "{output:?}"
        );
    }
    host.assert_unchanged_since(&before);
    // Labels may hold any text, which comes back as it was.
    let label = "x\ny=z\u{0007}";
    let id = host.ok(["create", "--label", label, &image, "true"]);
    assert_eq!(
        crate::inspect(&host, &id, "{{json .Config.Labels}}"),
        r#"{"x\ny":"z\u0007"}"#
    );
    host.ok(["rm", &id]);
    host.assert_unchanged_since(&before);
}

#[test]
fn a_taken_name_is_refused_and_the_container_that_has_it_named() {
    let host = require!(host());
    let image = host.busybox();
    let id = host.ok(["create", "--name", "taken", &image, "true"]);

    let run = host.rocker(["run", "--rm", "--name", "taken", &image, "true"]);
    let create = host.rocker(["create", "--name", "taken", &image, "true"]);

    assert_one_error(&run, 125);
    assert!(
        run.stderr.contains("taken") && run.stderr.contains(&id[..12]),
        "{run:?}"
    );
    assert_one_error(&create, 1);
    host.ok(["rm", "taken"]);
    host.assert_nothing_left_behind();
}

#[test]
fn references_that_are_none_are_refused() {
    let host = require!(host());

    for reference in [
        "",
        "UPPER",
        "a//b",
        "a:b:c",
        "a@sha256:12",
        "-x",
        "a b",
        "../x",
        "x:$(true)",
        &"a".repeat(300),
    ] {
        // Nothing is looked for before the reference is known to be one.
        for (words, code) in [
            (&["pull", "-q"][..], 1),
            (&["create"], 1),
            (&["run", "--rm"], 125),
            (&["run", "--rm", "--pull", "always"], 125),
        ] {
            let output = host.rocker([words, &["--", reference]].concat());
            assert_one_error(&output, code);
        }
    }
    host.assert_nothing_left_behind();
}

#[test]
fn a_full_disk_ends_a_pull_and_a_run_cleanly() {
    let host = require!(host());
    require!(programs(&["mke2fs", "losetup"]));
    let disk = host.scratch().join("disk");
    let root = host.root().to_string_lossy().into_owned();
    run_program(&["truncate", "-s", "24M", &disk.to_string_lossy()]);
    run_program(&[
        "mke2fs",
        "-q",
        "-t",
        "ext4",
        "-m",
        "0",
        &disk.to_string_lossy(),
    ]);
    run_program(&["mount", "-o", "loop", &disk.to_string_lossy(), &root]);
    let image = host.busybox();
    let before = host.snapshot();
    // Thirty-two megabytes that do not shrink, on a disk with less than that.
    let noise: Vec<u8> = (0..4_000_000_u64)
        .flat_map(|n| n.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes())
        .collect();
    let big = host.registry().push(
        "big:1",
        &ImageBuilder::busybox()
            .layer(Layer::new().file("noise", noise))
            .build(),
    );

    let pull = host.rocker(["pull", "-q", &big]);
    assert_one_error(&pull, 1);
    // rocker keeps some space free, so the disk itself need not be full.
    assert!(
        pull.stderr.contains("space") || pull.stderr.contains("keep_free"),
        "{pull:?}"
    );
    host.assert_unchanged_since(&before);

    let inside = host.rocker(shell(
        &[],
        &image,
        "dd if=/dev/zero of=/fill bs=1M 2>/dev/null; echo full",
    ));
    assert_eq!(
        (inside.exit_code, inside.stdout.as_str()),
        (0, "full\n"),
        "{inside:?}"
    );
    host.assert_unchanged_since(&before);
    assert_eq!(
        host.ok(shell(&[], &image, "echo still works")),
        "still works"
    );
    // The monitor of the last one is on the disk until it has ended.
    host.assert_unchanged_since(&before);
    run_program(&["umount", &root]);
}
