//! kill -9 at every named point: after one more command nothing is left, and the same command works.
//!
//! The points are listed by the binary itself (`rocker __crash-points`), and each is walked by the
//! scenario of its first word; a point without a scenario fails the test, so none is forgotten.

use rocker_testkit::host::{Missing, Process, kill_and_wait};
use rocker_testkit::image::{ImageBuilder, Layer};
use rocker_testkit::leak::Snapshot;
use rocker_testkit::{Host, require};
use rustix::process::Signal;

use crate::{HONOURS_TERM, host, shell};

/// The points whose names begin with one of `prefixes`.
fn points(host: &Host, prefixes: &[&str]) -> Result<Vec<String>, Missing> {
    let listed = host.rocker(["__crash-points"]);
    if listed.exit_code != 0 {
        return Err(Missing(
            "this rocker was built without the feature crash-points".to_owned(),
        ));
    }
    let points = listed.stdout.lines().map(str::to_owned);
    Ok(points
        .filter(|point| prefixes.iter().any(|prefix| point.starts_with(prefix)))
        .collect())
}

/// Runs `words` with the crash ordered at `point`. Returns whether the crash was noticed: by the
/// exit code, or by what lies around.
fn crash(host: &Host, point: &str, words: &[&str], before: &Snapshot) -> bool {
    let output = host
        .command(words.iter().copied())
        .env("ROCKER_CRASH_AT", point)
        .quiet()
        .run();
    output.exit_code != 0 || !before.difference(&host.snapshot()).is_empty()
}

/// One more command, whichever, and then nothing may be left of what was interrupted.
fn assert_recovers(host: &Host, point: &str, before: &Snapshot) {
    host.ok(["ps", "-a"]);
    let leaks = host.leaks_since(before);
    assert!(
        leaks.is_empty(),
        "left behind after a crash at {point}:\n{leaks:#?}"
    );
}

/// The state after the run that makes what stays (directories, databases), and after all of
/// that run's own things have gone.
fn after_a_first_run(host: &Host, image: &str) -> Snapshot {
    host.ok(shell(&[], image, "true"));
    host.assert_nothing_left_behind();
    host.snapshot()
}

#[test]
fn every_point_has_a_scenario() {
    let host = require!(host());
    let known = [
        "run-",
        "create-",
        "monitor-",
        "teardown-",
        "stop-",
        "remove-",
        "pull-",
        "rmi-",
        "import-",
        "volume-",
    ];

    let all = require!(points(&host, &[""]));
    let covered = require!(points(&host, &known));

    assert!(all.len() >= 30, "{all:?}");
    assert_eq!(all, covered);
    host.assert_nothing_left_behind();
}

#[test]
fn run_with_rm_recovers_from_every_point() {
    let host = require!(host());
    let image = host.busybox();
    let before = after_a_first_run(&host, &image);

    for point in require!(points(&host, &["run-", "monitor-", "teardown-"])) {
        if point.contains("durable") {
            // A container that goes with its end is never written to the durable database.
            continue;
        }
        let run = [
            "run",
            "--rm",
            "--name",
            "same",
            "-p",
            "8080:80",
            "-v",
            "/anonymous",
            &image,
            "true",
        ];
        let noticed = crash(&host, &point, &run, &before);
        assert!(noticed, "nothing happened at {point}");
        assert_recovers(&host, &point, &before);

        let again = host.rocker(run);
        assert_eq!(again.exit_code, 0, "after a crash at {point}: {again:?}");
        assert_recovers(&host, &point, &before);
    }
    host.assert_nothing_left_behind();
}

#[test]
fn a_kept_container_recovers_from_every_point_and_can_be_removed() {
    let host = require!(host());
    let image = host.busybox();
    let before = after_a_first_run(&host, &image);

    for point in require!(points(&host, &["run-", "create-", "monitor-", "teardown-"])) {
        let run = [
            "run",
            "-d",
            "--name",
            "same",
            "-p",
            "8080:80",
            &image,
            "sh",
            "-c",
            HONOURS_TERM,
        ];
        crash(&host, &point, &run, &before);
        host.ok(["ps", "-a"]);
        // It may exist, running or not, or not exist: rm -f is content with each.
        let removed = host.rocker(["rm", "-f", "same"]);
        assert_eq!(
            removed.exit_code, 0,
            "after a crash at {point}: {removed:?}"
        );
        assert_recovers(&host, &point, &before);

        let again = host.rocker(run);
        assert_eq!(again.exit_code, 0, "after a crash at {point}: {again:?}");
        host.ok(["rm", "-f", "same"]);
        assert_recovers(&host, &point, &before);
    }
    host.assert_nothing_left_behind();
}

#[test]
fn stop_and_rm_recover_from_every_point() {
    let host = require!(host());
    let image = host.busybox();
    let before = after_a_first_run(&host, &image);

    for point in require!(points(&host, &["stop-", "remove-", "teardown-"])) {
        host.ok([
            "run",
            "-d",
            "--name",
            "same",
            "-v",
            "/anonymous",
            &image,
            "sh",
            "-c",
            HONOURS_TERM,
        ]);
        let follower = host.command(["logs", "-f", "same"]).spawn();
        follower.await_stdout("ready\n");

        host.command(["stop", "same"])
            .env("ROCKER_CRASH_AT", &point)
            .quiet()
            .run();
        let stopped = host.rocker(["stop", "same"]);
        assert_eq!(
            stopped.exit_code, 0,
            "stop after a crash at {point}: {stopped:?}"
        );
        follower.finish();

        host.command(["rm", "-v", "same"])
            .env("ROCKER_CRASH_AT", &point)
            .quiet()
            .run();
        host.ok(["ps", "-a"]);
        // Gone, or still there as a whole: never half.
        let removed = host.rocker(["rm", "-f", "-v", "same"]);
        assert_eq!(
            removed.exit_code, 0,
            "rm after a crash at {point}: {removed:?}"
        );
        assert_recovers(&host, &point, &before);
    }
    host.assert_nothing_left_behind();
}

#[test]
fn pull_rmi_and_import_recover_from_every_point() {
    let host = require!(host());
    host.ok(["ps"]);
    let before = host.snapshot();
    let reference = host
        .registry()
        .push("crash:1", &ImageBuilder::busybox().build());
    let archive = host.scratch().join("root.tar");
    fs_err::write(&archive, Layer::busybox().tar()).expect("an archive");
    let archive = archive.to_string_lossy().into_owned();

    for point in require!(points(&host, &["pull-", "rmi-", "import-"])) {
        for (make, name) in [
            (vec!["pull", "-q", &reference], reference.as_str()),
            (vec!["import", &archive, "mine:1"], "mine:1"),
        ] {
            host.command(make.iter().copied())
                .env("ROCKER_CRASH_AT", &point)
                .quiet()
                .run();
            assert_recovers(&host, &point, &before);
            // It may have been made as a whole; what is made twice would stay once without a name.
            for id in host.ok(["images", "-q"]).split_whitespace() {
                host.ok(["rmi", id]);
            }
            host.assert_unchanged_since(&before);
            let again = host.rocker(make.iter().copied());
            assert_eq!(again.exit_code, 0, "after a crash at {point}: {again:?}");
            let run = host.rocker(["run", "--rm", "--pull", "never", name, "echo", "whole"]);
            assert_eq!(run.stdout, "whole\n", "after a crash at {point}: {run:?}");
            host.assert_nothing_left_behind();

            host.command(["rmi", name])
                .env("ROCKER_CRASH_AT", &point)
                .quiet()
                .run();
            host.ok(["ps"]);
            // Still listed as a whole, or gone as a whole.
            if host.ok(["images", "-q"]).is_empty() {
                host.assert_unchanged_since(&before);
            } else {
                assert_eq!(
                    host.ok(["run", "--rm", "--pull", "never", name, "echo", "whole"]),
                    "whole",
                    "{point}"
                );
                host.ok(["rmi", name]);
            }
            host.assert_unchanged_since(&before);
        }
    }
    host.assert_nothing_left_behind();
}

#[test]
fn volumes_recover_from_every_point() {
    let host = require!(host());
    host.ok(["volume", "ls"]);
    let before = host.snapshot();

    for point in require!(points(&host, &["volume-"])) {
        host.command(["volume", "create", "same"])
            .env("ROCKER_CRASH_AT", &point)
            .quiet()
            .run();
        host.ok(["volume", "create", "same"]);
        host.command(["volume", "rm", "same"])
            .env("ROCKER_CRASH_AT", &point)
            .quiet()
            .run();
        host.ok(["volume", "create", "same"]);
        host.ok(["volume", "rm", "same"]);
        assert_recovers(&host, &point, &before);
    }
    host.assert_nothing_left_behind();
}

#[test]
fn a_killed_monitor_is_noticed_and_its_container_can_be_started_again() {
    let host = require!(host());
    let image = host.busybox();
    host.ok([
        "run", "-d", "--name", "orphan", "-p", "8080:80", &image, "sleep", "1000",
    ]);

    let program = crate::inspect(&host, "orphan", "{{.State.Pid}}");
    let program = Process::of(program.parse().expect("a number"));
    kill_and_wait(&[monitor_of(program.pid())]);

    // The kernel ends the program; the state says so, and stop, start and rm work at once.
    program.await_end();
    host.ok(["stop", "-t", "1", "orphan"]);
    assert_eq!(
        crate::inspect(&host, "orphan", "{{.State.Running}}"),
        "false"
    );
    assert_ne!(
        crate::inspect(&host, "orphan", "{{.State.ExitCode}}"),
        "0",
        "nobody saw it succeed"
    );
    host.ok(["start", "orphan"]);
    assert_eq!(
        crate::inspect(&host, "orphan", "{{.State.Running}}"),
        "true"
    );
    host.ok(["rm", "-f", "orphan"]);
    host.assert_nothing_left_behind();
}

#[test]
fn monitor_and_program_killed_together_are_not_believed_to_run() {
    let host = require!(host());
    let image = host.busybox();
    host.ok([
        "run", "-d", "--name", "dead", "-p", "8080:80", &image, "sleep", "1000",
    ]);

    let program = crate::inspect(&host, "dead", "{{.State.Pid}}");
    let program = program.parse().expect("a number");
    kill_and_wait(&[monitor_of(program), program]);

    assert_eq!(host.ok(["ps", "-q"]), "");
    assert_eq!(
        host.ok([
            "run",
            "--rm",
            "-p",
            "8080:80",
            &image,
            "echo",
            "the port is free"
        ]),
        "the port is free"
    );
    host.ok(["rm", "dead"]);
    host.assert_nothing_left_behind();
}

/// The parent of a container's first process.
fn monitor_of(pid: i32) -> i32 {
    let status = fs_err::read_to_string(format!("/proc/{pid}/status")).expect("a running program");
    let parent = status
        .lines()
        .find_map(|line| line.strip_prefix("PPid:\t"))
        .expect("a parent");
    parent.parse().expect("a number")
}

#[test]
fn an_interrupted_rm_takes_the_anonymous_volumes_only_if_it_was_told_to() {
    let host = require!(host());
    let image = host.busybox();
    let before = after_a_first_run(&host, &image);

    for point in require!(points(&host, &["remove-"])) {
        for flags in [&["rm"][..], &["rm", "-v"]] {
            host.ok(["create", "--name", "same", "-v", "/data", &image]);
            let rm = flags.iter().copied().chain(["same"]);
            host.command(rm)
                .env("ROCKER_CRASH_AT", &point)
                .quiet()
                .run();
            host.ok(["ps", "-a"]);
            let volumes = host.ok(["volume", "ls", "-q"]);

            let kept = usize::from(flags.len() == 1);
            assert_eq!(volumes.lines().count(), kept, "{flags:?} killed at {point}");
            for volume in volumes.lines() {
                host.ok(["volume", "rm", volume]);
            }
            assert_recovers(&host, &point, &before);
        }
    }
    host.assert_nothing_left_behind();
}

/// What a reboot does to rocker's own state.
fn forget_what_runs(host: &Host) {
    for entry in fs_err::read_dir(host.runroot()).expect("the run root") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("live.db") {
            fs_err::remove_file(&path).expect("to delete it");
        }
    }
}

#[test]
fn what_died_while_it_was_created_does_not_come_back_with_a_reboot() {
    let host = require!(host());
    let image = host.busybox();
    let before = after_a_first_run(&host, &image);

    for point in require!(points(&host, &["create-", "monitor-", "teardown-"])) {
        let create = ["create", "--name", "same", &image, "true"];
        crash(&host, &point, &create, &before);
        crash(
            &host,
            &point,
            &["run", "--name", "two", &image, "no-such-program"],
            &before,
        );
        host.ok(["ps", "-a"]);
        host.ok(["rm", "-f", "same", "two"]);
        host.ok(create);

        forget_what_runs(&host);

        assert_eq!(
            host.ok(["ps", "-a", "--format", "{{.Names}}"]),
            "same",
            "{point}"
        );
        host.ok(["rm", "same"]);
        assert_recovers(&host, &point, &before);
    }
    host.assert_nothing_left_behind();
}

#[test]
fn a_monitor_outlives_what_ends_other_programs() {
    let host = require!(host());
    let image = host.busybox();
    host.ok(["run", "-d", "--name", "web", &image, "sleep", "1000"]);
    let program = crate::inspect(&host, "web", "{{.State.Pid}}");
    let monitor = monitor_of(program.parse().expect("a number"));

    let pid = rustix::process::Pid::from_raw(monitor).expect("a pid");
    for signal in [Signal::HUP, Signal::INT, Signal::TERM] {
        rustix::process::kill_process(pid, signal).expect("to signal the monitor");
    }

    assert_eq!(host.ok(["exec", "web", "echo", "alive"]), "alive");
    let comm = fs_err::read_to_string(format!("/proc/{monitor}/comm")).expect("the monitor");
    assert_eq!(comm, "rocker-monitor\n", "what ps calls it");
    host.ok(["rm", "-f", "web"]);
    host.assert_nothing_left_behind();
}
