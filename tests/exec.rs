//! exec: another program in a running container.

use rocker_testkit::require;

use crate::{HONOURS_TERM, host};

#[test]
fn exec_runs_beside_the_first_program_with_its_own_flags() {
    let host = require!(host());
    let image = host.busybox();
    host.ok([
        "run",
        "-d",
        "--name",
        "box",
        "-e",
        "A=container",
        "-w",
        "/tmp",
        &image,
        "sh",
        "-c",
        HONOURS_TERM,
    ]);

    for (flags, script, expected) in [
        (&[][..], "echo $A; pwd", "container\n/tmp"),
        (
            &["-e", "A=exec", "-w", "/etc"],
            "echo $A; pwd",
            "exec\n/etc",
        ),
        (
            &["-u", "1000"],
            "id -u; grep CapEff /proc/self/status | cut -f2",
            "1000\n0000000000000000",
        ),
        (&[], "cat /proc/1/comm", "sh"),
        (&[], "hostname | grep -c .", "1"),
    ] {
        let words = [&["exec"][..], flags, &["box", "sh", "-c", script]].concat();
        assert_eq!(host.ok(words), expected);
    }
    for (words, code) in [
        (&["sh", "-c", "exit 7"][..], 7),
        (&["/no/such"], 127),
        (&["/etc"], 126),
        (&["sh", "-c", "kill -9 $$"], 137),
    ] {
        let output = host.rocker([&["exec", "box"], words].concat());
        assert_eq!(output.exit_code, code, "{output:?}");
    }
    let echoed = host
        .command(["exec", "-i", "box", "cat"])
        .stdin("through\n")
        .run();
    assert_eq!(echoed.stdout, "through\n", "{echoed:?}");

    host.ok(["rm", "-f", "box"]);
    host.assert_nothing_left_behind();
}

#[test]
fn a_detached_exec_goes_on_and_ends_with_the_container() {
    let host = require!(host());
    let image = host.busybox();
    host.ok([
        "run",
        "-d",
        "--name",
        "box",
        &image,
        "sh",
        "-c",
        HONOURS_TERM,
    ]);

    let printed = host.ok([
        "exec",
        "-d",
        "box",
        "sh",
        "-c",
        "mkfifo /f; echo there >/f; sleep 1000",
    ]);
    let read = host.ok([
        "exec",
        "box",
        "sh",
        "-c",
        "until [ -p /f ]; do usleep 1000; done; cat /f",
    ]);

    assert_eq!((printed.as_str(), read.as_str()), ("", "there"));
    host.ok(["stop", "box"]);
    host.ok(["rm", "box"]);
    host.assert_nothing_left_behind();
}

#[test]
fn exec_needs_a_running_container() {
    let host = require!(host());
    let image = host.busybox();
    host.ok(["create", "--name", "idle", &image, "true"]);

    let stopped = host.rocker(["exec", "idle", "true"]);
    let missing = host.rocker(["exec", "nobody", "true"]);

    assert_eq!(stopped.exit_code, 1, "{stopped:?}");
    assert!(stopped.stderr.contains("not running"), "{stopped:?}");
    assert_eq!(missing.exit_code, 1, "{missing:?}");
    host.ok(["rm", "idle"]);
    host.assert_nothing_left_behind();
}

#[test]
fn a_terminal_for_a_detached_exec_is_refused() {
    let host = require!(host());
    let image = host.busybox();
    host.ok(["run", "-d", "--name", "box", &image, "sleep", "1000"]);

    let refused = host.rocker(["exec", "-dt", "box", "touch", "/made"]);
    let with_input = host.rocker(["exec", "-di", "box", "true"]);

    assert_eq!(refused.exit_code, 125, "{refused:?}");
    assert!(refused.stderr.contains("--tty"), "{refused:?}");
    assert_eq!(with_input.exit_code, 0, "{with_input:?}");
    assert_eq!(host.rocker(["exec", "box", "ls", "/made"]).exit_code, 1);
    host.ok(["rm", "-f", "box"]);
    host.assert_nothing_left_behind();
}

#[test]
fn exec_is_confined_like_the_container() {
    let host = require!(host());
    let image = host.busybox();
    host.ok([
        "run", "-d", "--name", "box", "-m", "64m", &image, "sleep", "1000",
    ]);
    let status = "grep -E '^(CapEff|CapPrm|CapBnd|CapInh|CapAmb|Seccomp):' /proc/self/status";

    let of_the_container = host.ok([
        "exec",
        "box",
        "sh",
        "-c",
        &format!("{status}; readlink /proc/1/ns/* | sort -u"),
    ]);
    let own = host.ok([
        "exec",
        "box",
        "sh",
        "-c",
        &format!("{status}; readlink /proc/self/ns/* | sort -u"),
    ]);

    assert_eq!(own, of_the_container);
    assert!(
        own.contains("CapEff:\t00000000800405fb") && own.contains("Seccomp:\t2"),
        "{own}"
    );
    assert_eq!(
        host.ok(["exec", "box", "sh", "-c", "ls /proc/self/fd | wc -l"]),
        "4",
        "0, 1, 2 and the directory itself"
    );
    host.ok(["rm", "-f", "box"]);
    host.assert_nothing_left_behind();
}
