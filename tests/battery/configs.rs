//! Configs: what cannot be an image is not pulled, what would only hurt in a container is
//! refused when one is made, and harmless nonsense is harmless.

use rocker_testkit::image::ImageBuilder;
use rocker_testkit::require;
use serde_json::{Value, json};

use super::{Case, Ground, good, image};
use crate::bad_input::assert_one_error;
use crate::host;

fn bent(name: &'static str, pointer: &str, value: impl Into<Value>, words: &'static str) -> Case {
    image(name, good().bend_config(pointer, value).build(), words)
}

#[test]
#[expect(clippy::too_many_lines, reason = "most of it is one table of cases")]
fn configs_that_lie_are_refused() {
    let ground = Ground::new(require!(host()));
    let id = |n: u32| format!("sha256:{n:064x}");
    let ids = good().build().diff_ids;
    ground.refuse_all(&[
        bent(
            "a command that is a string",
            "/config/Cmd",
            "sh",
            "config.Cmd",
        ),
        bent(
            "variables that are a string",
            "/config/Env",
            "A=1",
            "config.Env",
        ),
        bent("a list for the config", "/config", json!([]), "config"),
        bent("a number for a user", "/config/User", 7, "config.User"),
        bent("windows", "/os", "windows", "windows"),
        bent("no system", "/os", "", "system"),
        bent(
            "layers of another kind",
            "/rootfs/type",
            "foo",
            "rootfs.type",
        ),
        bent("no layers", "/rootfs/diff_ids", json!([]), "0 diff_ids"),
        bent(
            "a layer more",
            "/rootfs/diff_ids",
            json!([ids[0], ids[1], id(3)]),
            "3 diff_ids",
        ),
        bent(
            "swapped layers",
            "/rootfs/diff_ids",
            json!([ids[1], ids[0]]),
            "promised",
        ),
        bent(
            "layers of another image",
            "/rootfs/diff_ids",
            json!([id(1), id(2)]),
            "promised",
        ),
        bent(
            "a layer without digest",
            "/rootfs/diff_ids/0",
            "sha256:x",
            "rootfs.diff_ids[0]",
        ),
        bent(
            "a path for a layer",
            "/rootfs/diff_ids/0",
            "sha256:../../../../etc",
            "rootfs.diff_ids[0]",
        ),
        bent(
            "a config of 8 MiB",
            "/config/Labels",
            json!({ "a": "x".repeat(8 << 20) }),
            "config_bytes of 8388608",
        ),
        bent("a key in another case", "/rootFS", json!({}), "rootFS"),
    ]);
}

/// What `run` makes of an image that can be pulled.
enum Fate {
    /// Exit code 125, with these words.
    Refused(&'static str),
    /// Exit code 0, and this on stdout.
    Says(&'static str),
    /// This exit code, and words on stderr.
    Fails(i32, &'static str),
}
use Fate::{Fails, Refused, Says};

/// A key of `config`, its value, the script that the container runs, and what comes of it.
type Try = (&'static str, Value, &'static str, Fate);

fn users() -> Vec<Try> {
    let text = |user: &'static str, fate| ("User", json!(user), "id -u; id -g", fate);
    vec![
        text("1", Says("1\n0\n")),
        text("01", Says("1\n0\n")),
        text(":1", Says("0\n1\n")),
        text("1000", Says("1000\n1000\n")),
        text("+1", Refused("invalid user")),
        text("-1", Refused("invalid user")),
        text("2147483647", Says("2147483647\n0\n")),
        text("2147483648", Refused("invalid user")),
        text("4294967295", Refused("invalid user")),
        text("4294967296", Refused("invalid user")),
        text("1:", Refused("invalid user")),
        text("0x0", Refused("invalid user")),
        text("1e0", Refused("invalid user")),
        text(" 1", Refused("invalid user")),
        text("root\nx", Refused("invalid user")),
        text("nobodyhere", Refused("nobodyhere")),
    ]
}

fn environments() -> Vec<Try> {
    let env = |env: Value, script, fate| ("Env", env, script, fate);
    vec![
        env(json!(["NAMEONLY"]), "true", Refused("NAMEONLY")),
        env(json!(["=x"]), "true", Refused("\"=x\"")),
        env(
            json!(["A=1\u{0}B=2"]),
            "true",
            Refused("environment variable"),
        ),
        env(
            json!(["HOME=/\nroot::0:0::/:/bin/sh"]),
            "true",
            Refused("HOME"),
        ),
        env(json!(["A=1\nB"]), "echo \"$A\"", Says("1\nB\n")),
        env(json!(["A=1", "A=2"]), "echo $A", Says("2\n")),
        env(json!(["PATH="]), "true", Fails(127, "sh")),
        env(
            json!([]),
            "echo $PATH",
            Says("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n"),
        ),
    ]
}

#[expect(clippy::too_many_lines, reason = "most of it is one table of cases")]
fn others() -> Vec<Try> {
    let any = |key, value, fate| (key, value, "echo in", fate);
    vec![
        (
            "WorkingDir",
            json!("relative/path"),
            "pwd",
            Says("/relative/path\n"),
        ),
        ("WorkingDir", json!("../../up"), "pwd", Says("/up\n")),
        (
            "WorkingDir",
            json!("/proc/self/fd/7"),
            "pwd",
            Refused("working directory"),
        ),
        any(
            "WorkingDir",
            json!("x".repeat(5 << 10)),
            Refused("working directory"),
        ),
        any(
            "WorkingDir",
            json!("/a\u{0}b"),
            Refused("working directory"),
        ),
        any("Volumes", json!({ "": {} }), Refused("impossible volume")),
        any("Volumes", json!({ "/": {} }), Refused("impossible volume")),
        any(
            "Volumes",
            json!({ "/proc/sys": {} }),
            Refused("impossible volume"),
        ),
        any(
            "Volumes",
            json!({ "/etc:/host": {} }),
            Refused("impossible volume"),
        ),
        any(
            "Volumes",
            json!({ "/../..": {} }),
            Refused("impossible volume"),
        ),
        any(
            "ExposedPorts",
            json!({ "99999/tcp": {}, "x/y": {} }),
            Says("in\n"),
        ),
        any("StopSignal", json!("SIGNOPE"), Refused("stop signal")),
        any("StopSignal", json!("0"), Refused("stop signal")),
        any("StopSignal", json!("200"), Refused("stop signal")),
        any(
            "Healthcheck",
            json!({ "Test": ["CMD", "true"], "Interval": -1, "Retries": -1 }),
            Says("in\n"),
        ),
        any(
            "Labels",
            json!({ "": "", "a\nb": "\u{1b}[31m" }),
            Says("in\n"),
        ),
        any(
            "Entrypoint",
            json!(["/no/such/program"]),
            Fails(127, "/no/such/program"),
        ),
        any(
            "Entrypoint",
            json!(["/etc/passwd"]),
            Fails(126, "/etc/passwd"),
        ),
        any("Entrypoint", json!([""]), Refused("no command")),
    ]
}

#[test]
fn odd_configs_are_pulled_and_then_refused_or_harmless() {
    let ground = Ground::new(require!(host()));
    // The layer is there for all of them.
    ground.host.busybox();
    let before = ground.host.snapshot();
    for (key, value, script, fate) in users().into_iter().chain(environments()).chain(others()) {
        let case = format!("{key} {value:.60}");
        let image = ImageBuilder::busybox().set(key, value).build();
        let reference = ground.host.registry().push("odd:1", &image);
        ground.host.ok(["pull", "-q", &reference]);

        let output = ground
            .host
            .rocker(["run", "--rm", &reference, "sh", "-c", script]);

        match fate {
            Says(text) => assert_eq!(
                (output.exit_code, output.stdout.as_str()),
                (0, text),
                "{case}: {output:?}"
            ),
            Refused(words) => {
                assert_one_error(&output, 125);
                assert!(
                    output.stderr.contains(words),
                    "{case}: want {words:?}: {output:?}"
                );
            }
            Fails(code, words) => {
                assert_one_error(&output, code);
                assert!(
                    output.stderr.contains(words),
                    "{case}: want {words:?}: {output:?}"
                );
            }
        }
        ground.assert_bounded(&case, &output);
        ground.host.ok(["rmi", &reference]);
        let lines = ground.host.difference_from(&before);
        assert!(lines.is_empty(), "{case}: {lines:#?}");
    }
    ground.victim.assert_untouched("configs");
}

#[test]
fn an_image_without_a_command_or_for_another_machine_can_be_had_but_not_run() {
    let ground = Ground::new(require!(host()));
    let cases = [
        (
            good().bend_config("/config/Cmd", Value::Null),
            &["run", "--rm"][..],
            "no command",
        ),
        (
            good().platform("s390x", None),
            &["run", "--rm"],
            "linux/s390x",
        ),
    ];
    for (image, command, words) in cases {
        let reference = ground.host.registry().push("odd:1", &image.build());
        ground.host.ok(["pull", "-q", &reference]);
        let output = ground.host.rocker([command, &[&reference]].concat());
        assert_one_error(&output, 125);
        assert!(output.stderr.contains(words), "want {words:?}: {output:?}");
        ground.host.ok(["rmi", &reference]);
    }
    ground.victim.assert_untouched("configs");
    ground.host.assert_nothing_left_behind();
}

#[test]
fn dates_and_histories_that_make_no_sense_are_shown_somehow() {
    let ground = Ground::new(require!(host()));
    let entry = |created: &str| json!({ "created": created, "created_by": "\u{1b}[31mred\nline" });
    for (pointer, value) in [
        ("/created", json!("+10000-01-01T00:00:00Z")),
        ("/created", json!("10000-01-01T00:00:00Z")),
        ("/created", json!("yesterday")),
        ("/created", json!("")),
        ("/created", json!("1969-12-31T23:59:59Z")),
        ("/author", json!("a\u{7}b")),
        ("/history", json!([])),
        (
            "/history",
            json!([entry("9999-99-99T99:99:99Z"), entry("x"), entry("")]),
        ),
        ("/history", json!(vec![entry("2026-01-02T03:04:05Z"); 1000])),
    ] {
        let reference = ground
            .host
            .registry()
            .push("odd:1", &good().bend_config(pointer, value.clone()).build());
        ground.host.ok(["pull", "-q", &reference]);
        for command in [
            &["images"][..],
            &["images", "--format", "{{json .}}"],
            &["history", &reference],
            &["inspect", &reference],
        ] {
            let shown = ground.host.ok(command.iter().copied());
            assert!(
                !shown.contains(['\u{1b}', '\u{7}']),
                "{pointer} {value:.60} {command:?}: {shown:?}"
            );
        }
        ground.host.ok(["rmi", &reference]);
    }
    ground.host.assert_nothing_left_behind();
}
