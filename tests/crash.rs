//! kill -9 at every named point: after one more command nothing is left, and the same command works.
//!
//! The points are listed by the binary itself (`rocker __crash-points`). Each has a scenario that
//! reaches it: the dying process leaves its number, and a point that nobody met fails the test.

use std::time::{Duration, Instant};

use rocker_testkit::host::{Missing, Process, kill_and_wait, patience, run_program};
use rocker_testkit::image::{ImageBuilder, Layer};
use rocker_testkit::leak::Snapshot;
use rocker_testkit::{Host, require};
use rustix::process::Signal;

use crate::resume::await_that;
use crate::{HONOURS_TERM, host, shell};

/// The points whose names begin with one of `prefixes`.
pub(crate) fn points(host: &Host, prefixes: &[&str]) -> Result<Vec<String>, Missing> {
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

/// Every scenario's points: what is not reached where it stands here fails the scenario.
const TO_START: &[&str] = &[
    "run-before-claim",
    "run-after-claim",
    "run-after-volumes",
    "run-after-spawn",
    "monitor-before-files",
    "monitor-after-files",
    "monitor-after-ports",
    "monitor-after-create",
    "monitor-after-network",
    "monitor-after-start",
    "monitor-after-record",
    "monitor-after-durable",
    "monitor-after-report",
];
const TO_END: &[&str] = &[
    "monitor-after-exit",
    "monitor-after-exit-record",
    "monitor-after-tell-exit",
    "teardown-after-network",
    "teardown-after-cgroup",
    "teardown-after-run-dir",
    "teardown-after-release",
    "monitor-after-let-go",
];
/// What a start that fails does not come to.
const NOT_WITHOUT_PROGRAM: &[&str] = &[
    "monitor-after-start",
    "monitor-after-record",
    "monitor-after-durable",
    "monitor-after-report",
    "monitor-after-exit",
    "monitor-after-exit-record",
    "monitor-after-tell-exit",
    "monitor-after-let-go",
];
/// The monitor forgets a container with `--rm` by the same steps as `rm`, after its own intent.
const TO_FORGET: &[&str] = &[
    "remove-after-durable",
    "remove-after-directory",
    "remove-after-volumes",
    "remove-after-delete",
];
const OF_RM: &[&str] = &["remove-after-intent"];
const OF_STOP: &[&str] = &["stop-after-request", "stop-after-signal"];
const OF_CREATE: &[&str] = &["create-after-insert", "create-after-durable"];
const OF_PULL: &[&str] = &[
    "pull-after-intent",
    "pull-after-commit",
    "pull-after-record",
];
const OF_IMPORT: &[&str] = &["import-after-commit"];
const OF_LOAD: &[&str] = &["load-after-commit", "load-after-record"];
const OF_SAVE: &[&str] = &["save-after-note", "save-after-layers"];
const OF_COMMIT: &[&str] = &["commit-after-pause", "commit-after-layer"];
const OF_RMI: &[&str] = &["rmi-after-record", "rmi-after-layers", "trash-before-empty"];
const OF_MOUNT: &[&str] = &["mount-after-directory", "mount-after-mount"];
const OF_UNMOUNT: &[&str] = &["unmount-after-unmount", "unmount-after-directory"];
const OF_VOLUME_CREATE: &[&str] = &["volume-after-record"];
const OF_VOLUME_RM: &[&str] = &["volume-remove-after-record"];

/// How a command ended in which a crash was ordered.
const KILLED: i32 = -9;

/// The file in which the process that dies writes its number.
fn mark(host: &Host) -> String {
    host.scratch()
        .join("crashed")
        .to_string_lossy()
        .into_owned()
}

/// What orders a crash at `point`; [`await_crash`] sees it come.
fn order(host: &Host, point: &str) -> String {
    let mark = mark(host);
    // That of the crash before; there is none before the first.
    let _ = fs_err::remove_file(&mark);
    format!("{point},{mark}")
}

/// Waits until the process that met the point is dead; panics if none met it.
fn await_crash(host: &Host, point: &str) -> i32 {
    let deadline = Instant::now() + Duration::from_secs(10) * patience();
    loop {
        let marked = fs_err::read_to_string(mark(host)).unwrap_or_default();
        if let Ok(pid) = marked.parse::<i32>() {
            if is_alive(pid) && Instant::now() < deadline {
                std::thread::park_timeout(Duration::from_millis(2));
                continue;
            }
            return pid;
        }
        assert!(Instant::now() < deadline, "nobody came to {point}");
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

/// Neither gone nor a zombie: a dead process holds no lock any more.
fn is_alive(pid: i32) -> bool {
    let stat = fs_err::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat
        .rsplit(") ")
        .next()
        .and_then(|rest| rest.chars().next());
    state.is_some_and(|state| !matches!(state, 'Z' | 'X'))
}

/// Runs `words` with a crash ordered at `point`, and sees it come: in the command, which then has
/// ended by SIGKILL, or in a monitor that it started.
fn crash(host: &Host, point: &str, words: &[&str]) {
    let command = host.command(words.iter().copied());
    let running = command
        .env("ROCKER_CRASH_AT", &order(host, point))
        .quiet()
        .spawn();
    let own = running.pid();
    let output = running.finish();
    let died = await_crash(host, point);
    assert_eq!(
        output.exit_code == KILLED,
        died == own,
        "at {point}: {output:?}"
    );
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

/// What most walks begin with: a host whose binary has crash points, an image, and the state after
/// a first run.
fn walk() -> Result<(Host, String, Snapshot), Missing> {
    let host = host()?;
    points(&host, &[""])?;
    let image = host.busybox();
    let before = after_a_first_run(&host, &image);
    Ok((host, image, before))
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

    let mut all = require!(points(&host, &[""]));
    let mut covered: Vec<&str> = [
        TO_START,
        TO_END,
        TO_FORGET,
        OF_RM,
        OF_STOP,
        OF_CREATE,
        OF_PULL,
        OF_IMPORT,
        OF_LOAD,
        OF_SAVE,
        OF_COMMIT,
        OF_RMI,
        OF_MOUNT,
        OF_UNMOUNT,
        OF_VOLUME_CREATE,
        OF_VOLUME_RM,
    ]
    .concat();

    all.sort();
    covered.sort_unstable();
    assert_eq!(all, covered);
    host.assert_nothing_left_behind();
}

#[test]
fn run_with_rm_recovers_from_every_point() {
    let (host, image, before) = require!(walk());
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

    for point in [TO_START, TO_END, TO_FORGET].concat() {
        crash(&host, point, &run);
        assert_recovers(&host, point, &before);

        let again = host.rocker(run);
        assert_eq!(again.exit_code, 0, "after a crash at {point}: {again:?}");
        assert_recovers(&host, point, &before);
    }
    host.assert_nothing_left_behind();
}

#[test]
fn create_recovers_from_every_point() {
    let (host, image, before) = require!(walk());
    let create = [
        "create",
        "--name",
        "same",
        "-v",
        "/anonymous",
        &image,
        "true",
    ];

    for point in [OF_CREATE, OF_VOLUME_CREATE].concat() {
        crash(&host, point, &create);
        host.ok(["ps", "-a"]);
        // Made as a whole, or not at all: what is listed can be started.
        if host.ok(["ps", "-aq"]).is_empty() {
            assert_recovers(&host, point, &before);
            host.ok(create);
        }
        assert_eq!(host.ok(["start", "-a", "same"]), "", "{point}");
        host.ok(["rm", "-v", "same"]);
        assert_recovers(&host, point, &before);
    }
    host.assert_nothing_left_behind();
}

#[test]
fn a_kept_container_recovers_from_every_point_and_can_be_removed() {
    let (host, image, before) = require!(walk());
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

    for point in TO_START {
        crash(&host, point, &run);
        host.ok(["ps", "-a"]);
        // It may exist, running or not, or not exist: rm -f is content with each.
        let removed = host.rocker(["rm", "-f", "same"]);
        assert_eq!(
            removed.exit_code, 0,
            "after a crash at {point}: {removed:?}"
        );
        assert_recovers(&host, point, &before);

        let again = host.rocker(run);
        assert_eq!(again.exit_code, 0, "after a crash at {point}: {again:?}");
        host.ok(["rm", "-f", "same"]);
        assert_recovers(&host, point, &before);
    }
    host.assert_nothing_left_behind();
}

#[test]
fn start_recovers_from_every_point_and_starts_again() {
    let (host, image, before) = require!(walk());

    for point in TO_START.iter().filter(|point| !point.starts_with("run-")) {
        host.ok([
            "create",
            "--name",
            "same",
            "-p",
            "8080:80",
            &image,
            "sh",
            "-c",
            HONOURS_TERM,
        ]);
        crash(&host, point, &["start", "same"]);
        host.ok(["ps", "-a"]);
        let state = crate::inspect(&host, "same", "{{.State.Running}}");
        assert_eq!(state, "false", "after a crash at {point}");
        host.ok(["start", "same"]);
        host.ok(["stop", "same"]);
        host.ok(["rm", "same"]);
        assert_recovers(&host, point, &before);
    }
    host.assert_nothing_left_behind();
}

/// A container that runs, whose monitor is to die at `point`; `""` for none.
fn started(host: &Host, image: &str, point: &str) {
    let run = host.command([
        "run",
        "-d",
        "--name",
        "same",
        "-v",
        "/anonymous",
        image,
        "sh",
        "-c",
        HONOURS_TERM,
    ]);
    let run = run.env("ROCKER_CRASH_AT", &order(host, point)).run();
    assert_eq!(run.exit_code, 0, "{run:?}");
    let follower = host.command(["logs", "-f", "same"]).spawn();
    follower.await_stdout("ready\n");
    follower.signal(rustix::process::Signal::KILL);
    follower.finish();
}

#[test]
fn stop_recovers_from_every_point_of_its_own_and_of_the_monitor() {
    let (host, image, before) = require!(walk());

    for point in [OF_STOP, TO_END].concat() {
        if OF_STOP.contains(&point) {
            started(&host, &image, "");
            crash(&host, point, &["stop", "same"]);
        } else {
            started(&host, &image, point);
            let stopped = host.rocker(["stop", "same"]);
            assert_eq!(stopped.exit_code, 0, "at {point}: {stopped:?}");
            await_crash(&host, point);
        }
        let stopped = host.rocker(["stop", "same"]);
        assert_eq!(
            stopped.exit_code, 0,
            "stop after a crash at {point}: {stopped:?}"
        );
        let state = crate::inspect(&host, "same", "{{.State.Running}}");
        assert_eq!(state, "false", "after a crash at {point}");
        host.ok(["rm", "-v", "same"]);
        assert_recovers(&host, point, &before);
    }
    host.assert_nothing_left_behind();
}

#[test]
fn rm_recovers_from_every_point() {
    let (host, image, before) = require!(walk());

    for point in [OF_RM, TO_FORGET, OF_VOLUME_RM].concat() {
        started(&host, &image, "");
        host.ok(["stop", "same"]);
        crash(&host, point, &["rm", "-v", "same"]);
        // Gone after one more command, whichever: what was begun is brought to its end.
        assert_eq!(host.ok(["ps", "-aq"]), "", "after a crash at {point}");
        assert_recovers(&host, point, &before);
    }
    host.assert_nothing_left_behind();
}

#[test]
fn image_mount_and_unmount_recover_from_every_point() {
    let (host, image, before) = require!(walk());

    for point in OF_MOUNT {
        crash(&host, point, &["image", "mount", &image]);
        assert_recovers(&host, point, &before);
    }
    for point in OF_UNMOUNT {
        let path = host.ok(["image", "mount", &image]);
        crash(&host, point, &["image", "unmount", &image]);
        assert_recovers(&host, point, &before);
        assert!(!std::path::Path::new(&path).exists(), "{point}");
    }
    host.assert_nothing_left_behind();
}

#[test]
fn pull_rmi_import_and_load_recover_from_every_point() {
    let host = require!(host());
    require!(points(&host, &[""]));
    host.ok(["ps"]);
    let before = host.snapshot();
    let reference = host
        .registry()
        .push("crash:1", &ImageBuilder::busybox().build());
    let archive = host.scratch().join("root.tar");
    fs_err::write(&archive, Layer::busybox().tar()).expect("an archive");
    let archive = archive.to_string_lossy().into_owned();
    let pull = ["pull", "-q", &reference];
    let import = ["import", &archive, "mine:1"];
    let saved = host.scratch().join("saved.tar");
    let saved = saved.to_string_lossy().into_owned();
    host.ok(["import", &archive, "saved:1"]);
    host.ok(["save", "-o", &saved, "saved:1"]);
    host.ok(["rmi", "saved:1"]);
    let load = ["load", "-i", &saved];

    for (make, name, of_making) in [
        (pull, reference.as_str(), OF_PULL),
        (import, "mine:1", OF_IMPORT),
        (load, "saved:1", OF_LOAD),
    ] {
        for point in of_making {
            crash(&host, point, &make);
            // what the next pull of the image could go on with
            host.ok(["image", "prune", "-f"]);
            assert_recovers(&host, point, &before);
            // It may have been made as a whole; what is made twice would stay once without a name.
            for id in host.ok(["images", "-q"]).split_whitespace() {
                host.ok(["rmi", id]);
            }
            host.assert_unchanged_since(&before);
            assert_whole_when_made(&host, point, &make, name);
            host.ok(["rmi", name]);
            host.assert_unchanged_since(&before);
        }
        for point in OF_RMI {
            assert_whole_when_made(&host, point, &make, name);
            crash(&host, point, &["rmi", name]);
            host.ok(["ps"]);
            // Both points are past the record: it is gone as a whole.
            assert_eq!(host.ok(["images", "-q"]), "", "after a crash at {point}");
            host.assert_unchanged_since(&before);
        }
    }
    host.assert_nothing_left_behind();
}

#[test]
fn a_layout_whose_save_dies_is_taken_away() {
    let host = require!(host());
    require!(points(&host, &[""]));
    let image = host.busybox();
    let parent = host.scratch().join("kept");
    fs_err::create_dir(&parent).expect("a directory");
    let layout = parent.join("layout").to_string_lossy().into_owned();
    let save = ["save", "--format", "oci-dir", "-o", &layout, &image];
    host.ok(["ps"]);
    let before = host.snapshot();

    for point in OF_SAVE {
        crash(&host, point, &save);
        host.ok(["ps"]);
        let left = fs_err::read_dir(&parent).expect("a directory").count();
        assert_eq!(left, 0, "after a crash at {point}");
        host.assert_unchanged_since(&before);
    }
    host.ok(save);
    let names: Vec<_> = fs_err::read_dir(&parent)
        .expect("a directory")
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    assert_eq!(names, ["layout"]);
    host.assert_nothing_left_behind();
}

#[test]
fn what_a_save_left_on_a_disk_that_lets_nothing_go_is_in_nobodys_way() {
    let host = require!(host());
    require!(points(&host, &[""]));
    let image = host.busybox();
    let stick = host.scratch().join("stick");
    fs_err::create_dir(&stick).expect("a directory");
    let place = stick.to_string_lossy().into_owned();
    run_program(&["mount", "-t", "tmpfs", "rocker-test", &place]);
    let layout = stick.join("layout").to_string_lossy().into_owned();
    crash(
        &host,
        "save-after-layers",
        &["save", "--format", "oci-dir", "-o", &layout, &image],
    );
    run_program(&["mount", "-o", "remount,ro", &place]);

    for words in [
        &["ps"][..],
        &["tag", &image, "more:1"],
        &["rmi", "more:1"],
        &["pull", &image],
        &["image", "prune", "-f"],
        &["ps"],
    ] {
        let done = host.rocker(words.iter().copied());
        assert_eq!(done.exit_code, 0, "{done:?}");
        assert!(!done.stderr.contains("cannot delete"), "{done:?}");
    }

    // back again, it is taken away
    let left = || fs_err::read_dir(&stick).expect("the stick").count();
    assert_eq!(left(), 1);
    run_program(&["mount", "-o", "remount,rw", &place]);
    host.ok(["image", "prune", "-f"]);
    assert_eq!(left(), 0);
    run_program(&["umount", &place]);
    host.assert_nothing_left_behind();
}

#[test]
fn a_commit_that_dies_lets_its_container_go_on() {
    let host = require!(host());
    require!(points(&host, &[""]));
    let image = host.busybox();
    host.ok([
        "run",
        "-d",
        "--name",
        "kept",
        "--network",
        "none",
        &image,
        "sleep",
        "1000",
    ]);
    let before = host.snapshot();

    for point in OF_COMMIT {
        crash(&host, point, &["commit", "kept", "made:1"]);
        // A container that stood still would not answer.
        assert_eq!(
            host.ok(["exec", "kept", "echo", "on"]),
            "on",
            "after a crash at {point}"
        );
        host.assert_unchanged_since(&before);
        host.ok(["commit", "kept", "made:1"]);
        host.ok(["rmi", "made:1"]);
        host.assert_unchanged_since(&before);
    }
    host.ok(["rm", "-f", "kept"]);
    host.assert_nothing_left_behind();
}

/// Makes an image and runs it.
fn assert_whole_when_made(host: &Host, point: &str, make: &[&str], name: &str) {
    let again = host.rocker(make.iter().copied());
    assert_eq!(again.exit_code, 0, "after a crash at {point}: {again:?}");
    let run = host.rocker(["run", "--rm", "--pull", "never", name, "echo", "whole"]);
    assert_eq!(run.stdout, "whole\n", "after a crash at {point}: {run:?}");
    host.assert_nothing_left_behind();
}

#[test]
fn volumes_recover_from_every_point() {
    let host = require!(host());
    require!(points(&host, &[""]));
    host.ok(["volume", "ls"]);
    let before = host.snapshot();

    for point in OF_VOLUME_CREATE {
        crash(&host, point, &["volume", "create", "same"]);
        host.ok(["volume", "create", "same"]);
        host.ok(["volume", "rm", "same"]);
        assert_recovers(&host, point, &before);
    }
    for point in OF_VOLUME_RM {
        host.ok(["volume", "create", "same"]);
        crash(&host, point, &["volume", "rm", "same"]);
        host.ok(["volume", "create", "same"]);
        host.ok(["volume", "rm", "same"]);
        assert_recovers(&host, point, &before);
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

#[test]
fn what_a_killed_rmi_left_is_deleted_while_a_command_in_the_foreground_goes_on() {
    let host = require!(host());
    let busybox = host.busybox();
    let image = ImageBuilder::busybox().layer(Layer::new().file("f", "x"));
    let image = host.pulled("gone:1", image);
    crash(&host, "trash-before-empty", &["rmi", &image]);
    assert_ne!(crate::resume::staged(&host), [""; 0]);

    let words = shell(&["--network", "none"], &busybox, HONOURS_TERM);
    let running = host.command(words).spawn();
    running.await_stdout("ready");
    await_that(&running, || crate::resume::staged(&host).is_empty());
    assert_eq!(crate::resume::staged(&host), [""; 0]);
    running.signal(Signal::TERM);
    assert_eq!(running.finish().exit_code, 0);
    host.ok(["rmi", &busybox]);
    host.assert_nothing_left_behind();
}

/// The parent of a container's first process.
pub(crate) fn monitor_of(pid: i32) -> i32 {
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
            crash(&host, &point, &[flags, &["same"]].concat());
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

#[test]
fn an_interface_of_a_namespace_that_somebody_holds_goes_with_the_next_command() {
    let (host, image, before) = require!(walk());
    let point = "monitor-after-let-go";

    started(&host, &image, point);
    let program = crate::inspect(&host, "same", "{{.State.Pid}}");
    let held = fs_err::File::open(format!("/proc/{program}/ns/net")).expect("its namespace");
    let id = crate::inspect(&host, "same", "{{.Id}}");
    // not by a command, which might tidy up itself
    kill_and_wait(&[program.parse().expect("a number")]);
    await_crash(&host, point);
    // the kernel takes only those along whose namespace is gone
    let interface = format!("/sys/class/net/rk{}", &id[..11]);
    assert!(fs_err::exists(&interface).expect("sysfs"), "{interface}");

    host.ok(["rm", "-v", "same"]);
    assert_recovers(&host, point, &before);
    drop(held);
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
        if OF_CREATE.contains(&point.as_str()) {
            crash(&host, &point, &create);
        } else if NOT_WITHOUT_PROGRAM.contains(&point.as_str()) {
            continue;
        } else {
            let run = ["run", "--name", "two", &image, "no-such-program"];
            crash(&host, &point, &run);
        }
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
