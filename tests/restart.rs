//! Restart policies without a daemon.

use rocker_testkit::require;

use crate::{host, inspect};

#[test]
fn on_failure_tries_so_often_and_keeps_the_last_code() {
    let host = require!(host());
    let image = host.busybox();

    let id = host.ok([
        "run",
        "-d",
        "--restart",
        "on-failure:2",
        &image,
        "sh",
        "-c",
        "echo try; exit 3",
    ]);
    // Unlike wait, which ends with the first exit, the log ends with the last one.
    let log = host.command(["logs", "-f", &id]).spawn().finish();

    assert_eq!(
        inspect(
            &host,
            &id,
            "{{.RestartCount}} {{.State.Status}} {{.State.ExitCode}}"
        ),
        "2 exited 3"
    );
    assert_eq!(log.stdout, "try\ntry\ntry\n", "{log:?}");
    host.ok(["rm", &id]);
    host.assert_nothing_left_behind();
}

#[test]
fn on_failure_does_not_restart_a_success() {
    let host = require!(host());
    let image = host.busybox();

    let id = host.ok(["run", "-d", "--restart", "on-failure", &image, "true"]);

    // The log ends with the last run, however many there were.
    host.command(["logs", "-f", &id]).spawn().finish();
    assert_eq!(host.ok(["wait", &id]), "0");
    assert_eq!(
        inspect(&host, &id, "{{.RestartCount}} {{.State.Status}}"),
        "0 exited"
    );
    host.ok(["rm", &id]);
    host.assert_nothing_left_behind();
}

#[test]
fn always_goes_on_until_stop_and_stop_is_the_end() {
    let host = require!(host());
    let image = host.busybox();

    let id = host.ok([
        "run",
        "-d",
        "--restart",
        "always",
        &image,
        "sh",
        "-c",
        "echo again",
    ]);
    let follower = host.command(["logs", "-f", &id]).spawn();
    for _ in 0..3 {
        follower.await_stdout("again\n");
    }
    host.ok(["stop", &id]);

    assert_eq!(
        follower.finish().exit_code,
        0,
        "no restart after stop, so the log ends"
    );
    assert_eq!(inspect(&host, &id, "{{.State.Running}}"), "false");
    host.ok(["rm", &id]);
    host.assert_nothing_left_behind();
}

#[test]
fn a_restart_policy_and_rm_contradict_each_other() {
    let host = require!(host());
    let image = host.busybox();

    let output = host.rocker(["run", "--rm", "--restart", "always", &image, "true"]);

    assert_eq!(output.exit_code, 125, "{output:?}");
    host.assert_nothing_left_behind();
}

#[test]
fn restarts_that_fail_count_too() {
    let host = require!(host());
    let image = host.busybox();

    let id = host.ok([
        "run",
        "-d",
        "--restart",
        "on-failure:2",
        &image,
        "sh",
        "-c",
        "echo once; rm /bin/sh; exit 3",
    ]);
    let log = host.command(["logs", "-f", &id]).spawn().finish();

    assert_eq!(log.stdout, "once\n", "{log:?}");
    assert_eq!(
        inspect(
            &host,
            &id,
            "{{.RestartCount}} {{.State.Status}} {{.State.ExitCode}}"
        ),
        "2 exited 127"
    );
    host.ok(["rm", &id]);
    host.assert_nothing_left_behind();
}

#[test]
fn wait_between_two_runs_waits_for_the_next() {
    let host = require!(host());
    let image = host.busybox();
    let shared = host.scratch().join("shared");
    fs_err::create_dir(&shared).expect("a directory");
    let volume = format!("{}:/shared", shared.display());

    let id = host.ok([
        "run",
        "-d",
        "--restart",
        "on-failure:1",
        "-v",
        &volume,
        &image,
        "sh",
        "-c",
        "test -e /shared/seen && exit 4; touch /shared/seen; exit 3",
    ]);
    let codes: Vec<_> = (0..3).map(|_| host.ok(["wait", &id])).collect();

    assert_eq!(codes.last().map(String::as_str), Some("4"), "{codes:?}");
    host.ok(["rm", &id]);
    host.assert_nothing_left_behind();
}
