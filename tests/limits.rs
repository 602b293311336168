//! Limits bite: memory, CPU time, number of processes.

use rocker_testkit::require;

use crate::{host, inspect, shell};

#[test]
fn a_memory_eater_is_killed_and_the_reason_is_told() {
    let host = require!(host());
    let image = host.busybox();

    // tail keeps everything it reads until a line ends, and /dev/zero has no lines.
    let output = host.rocker([
        "run",
        "--name",
        "eater",
        "-m",
        "64m",
        &image,
        "tail",
        "/dev/zero",
    ]);

    assert_eq!(output.exit_code, 137, "{output:?}");
    assert_eq!(
        inspect(
            &host,
            "eater",
            "{{.State.OOMKilled}} {{.State.ExitCode}} {{.HostConfig.Memory}}"
        ),
        "true 137 67108864"
    );
    host.ok(["rm", "eater"]);
    host.assert_nothing_left_behind();
}

#[test]
fn a_child_out_of_memory_does_not_end_the_container() {
    let host = require!(host());
    let image = host.busybox();

    let output = host.rocker(shell(
        &["-m", "64m"],
        &image,
        "tail /dev/zero; echo child $?",
    ));

    assert_eq!(
        (output.exit_code, output.stdout.as_str()),
        (0, "child 137\n"),
        "{output:?}"
    );
    host.assert_nothing_left_behind();
}

#[test]
fn half_a_cpu_is_half_a_cpu() {
    let host = require!(host());
    let image = host.busybox();
    // Three seconds of a busy loop; /proc/1/stat's fields 16 and 17 are the ticks (1/100 s) that
    // the waited-for child spent.
    let busy = "timeout 3 sh -c 'while :; do :; done'; set -- $(cat /proc/1/stat); echo $(( ${16} + ${17} ))";

    let ticks: u32 = host
        .ok(shell(&["--cpus", "0.5"], &image, busy))
        .parse()
        .expect("a number of ticks");

    // 150 ticks at most, and one period more for the quota that was unused at the start.
    assert!((20..=175).contains(&ticks), "{ticks} ticks of 300");
    host.assert_nothing_left_behind();
}

#[test]
fn a_number_of_processes_is_not_exceeded() {
    let host = require!(host());
    let image = host.busybox();

    let output = host.rocker(shell(
        &["--pids-limit", "5"],
        &image,
        "for i in 1 2 3 4 5 6 7 8 9; do sleep 100 & done; echo never",
    ));

    assert_ne!(output.exit_code, 0, "{output:?}");
    assert!(output.stderr.contains("can't fork"), "{output:?}");
    host.assert_nothing_left_behind();
}

#[test]
fn without_flags_processes_are_bounded_and_memory_is_not() {
    let host = require!(host());
    let image = host.busybox();
    let id = host.ok(["create", &image, "true"]);

    assert_eq!(
        inspect(
            &host,
            &id,
            "{{.HostConfig.PidsLimit}} {{.HostConfig.Memory}}"
        ),
        "4096 0"
    );

    host.ok(["rm", &id]);
    host.assert_nothing_left_behind();
}

#[test]
fn limits_that_make_no_sense_are_refused_before_anything_is_made() {
    let host = require!(host());
    let image = host.busybox();

    for flags in [
        ["-m", "1m"],
        ["-m", "lots"],
        ["-m", "-5"],
        ["--cpus", "0x"],
        ["--cpus", "-1"],
        ["--cpus", "1000"],
        ["--pids-limit", "many"],
    ] {
        let output = host.rocker(shell(&flags, &image, "true"));
        assert_eq!(output.exit_code, 125, "{output:?}");
        assert!(
            output.stderr.contains(flags[1]) || output.stderr.contains(flags[0]),
            "{output:?}"
        );
    }
    host.assert_nothing_left_behind();
}
