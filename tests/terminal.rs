//! Containers at a terminal: the window, the keys, and the state in which the terminal is left.

use rocker_testkit::require;
use rustix::process::Signal;
use rustix::termios::LocalModes;

use crate::{HONOURS_TERM, host, inspect};

#[test]
fn run_at_a_terminal_gives_a_prompt_without_any_flag() {
    let host = require!(host());
    let image = host.busybox();

    let mut terminal = host.terminal(["run", "--rm", &image, "sh"]);
    terminal.await_text("/ # ");
    terminal.type_in("tty; stty size; echo $TERM\r");
    terminal.await_text("/dev/");
    terminal.await_text("24 80");
    terminal.await_text("xterm");
    terminal.resize(40, 132);
    // The new size comes as a signal; the shell is asked until it shows.
    terminal.type_in("until stty size | grep 132; do usleep 10000; done\r");
    terminal.await_text("40 132");
    terminal.type_in("exit 3\r");

    assert_eq!(terminal.wait(), 3);
    host.assert_nothing_left_behind();
}

#[test]
fn a_terminal_without_input_follows_the_size_of_the_window_too() {
    let host = require!(host());
    let image = host.busybox();

    let script = "trap 'echo size $(stty size)' WINCH; until [ \"$(stty size)\" = '24 80' ]; do usleep 10000; done; echo ready; while :; do sleep 1000 & wait; done";
    let terminal = host.terminal(["run", "-t", "--name", "shown", &image, "sh", "-c", script]);
    // The first size comes after the start, as in docker.
    terminal.await_text("ready");
    terminal.resize(40, 132);
    terminal.await_text("size 40 132");

    host.ok(["rm", "-f", "shown"]);
    drop(terminal);
    host.assert_nothing_left_behind();
}

#[test]
fn the_keys_of_a_terminal_go_to_the_program() {
    let host = require!(host());
    let image = host.busybox();

    let mut terminal = host.terminal(["run", "--rm", "-it", &image, "sh"]);
    terminal.await_text("/ # ");
    // The quotes keep what is typed apart from what is printed; who prints is who is interrupted.
    terminal.type_in("sh -c 'echo star\"\"ted; exec sleep 1000'\r");
    terminal.await_text("started");
    // Ctrl-C ends the sleep, not rocker.
    terminal.type_in("\x03");
    terminal.await_text("/ # ");
    terminal.type_in("sh -c 'echo rea\"\"dy; exec cat >/f'\r");
    terminal.await_text("ready");
    terminal.type_in("text\r\x04");
    terminal.await_text("/ # ");
    terminal.type_in("cat /f; echo code $?\r");
    terminal.await_text("text");
    terminal.await_text("code 0");
    terminal.await_text("/ # ");
    terminal.type_in("\x04");

    assert_eq!(terminal.wait(), 0);
    host.assert_nothing_left_behind();
}

#[test]
fn detach_keys_leave_the_container_running_and_attach_returns() {
    let host = require!(host());
    let image = host.busybox();

    let mut first = host.terminal(["run", "-it", "--name", "shell", &image, "sh"]);
    first.await_text("/ # ");
    first.type_in("word=remembered\r");
    first.await_text("/ # ");
    first.type_in("\x10\x11");
    assert_eq!(first.wait(), 0);
    assert_eq!(inspect(&host, "shell", "{{.State.Running}}"), "true");

    let mut second = host.terminal(["attach", "shell"]);
    // Nothing is printed by attaching itself; Enter asks the shell for its prompt.
    second.type_in("\r");
    second.await_text("/ # ");
    second.type_in("echo $word; exit 4\r");
    second.await_text("remembered");

    assert_eq!(second.wait(), 4);
    host.ok(["rm", "shell"]);
    host.assert_nothing_left_behind();
}

#[test]
fn other_detach_keys_are_taken_and_a_single_ctrl_p_reaches_the_program() {
    let host = require!(host());
    let image = host.busybox();

    let mut terminal = host.terminal([
        "run",
        "-it",
        "--name",
        "keys",
        "--detach-keys",
        "ctrl-x,d",
        &image,
        "sh",
    ]);
    terminal.await_text("/ # ");
    // Ctrl-P is "the line before" to the shell, and Enter runs it.
    terminal.type_in("echo once\r");
    terminal.await_text("once\r\n/ # ");
    terminal.type_in("\x10\r");
    terminal.await_text("once\r\n/ # ");
    terminal.type_in("\x18d");
    assert_eq!(terminal.wait(), 0);

    assert_eq!(inspect(&host, "keys", "{{.State.Running}}"), "true");
    host.ok(["rm", "-f", "keys"]);
    host.assert_nothing_left_behind();
}

#[test]
fn the_terminal_is_sane_after_every_kind_of_end() {
    let host = require!(host());
    let image = host.busybox();
    let sane = LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG;

    for end in ["exit", "detach", "term", "kill"] {
        let mut terminal = host.terminal(["run", "-it", "--name", "shell", &image, "sh"]);
        terminal.await_text("/ # ");
        terminal.await_settings(|settings| !settings.local_modes.contains(LocalModes::ICANON));
        match end {
            "exit" => terminal.type_in("exit\r"),
            "detach" => terminal.type_in("\x10\x11"),
            "term" => terminal.signal(Signal::TERM),
            _ => terminal.signal(Signal::KILL),
        }
        if end == "term" {
            // With a terminal, signals to rocker itself are its own; the shell ignores TERM.
            terminal.type_in("exit\r");
        }
        terminal.wait();
        terminal.await_settings(|settings| settings.local_modes.contains(sane));
        host.ok(["rm", "-f", "shell"]);
    }
    host.assert_nothing_left_behind();
}

#[test]
fn exec_at_a_terminal_has_one_of_its_own() {
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

    let mut terminal = host.terminal(["exec", "-it", "box", "sh"]);
    terminal.await_text("/ # ");
    terminal.type_in("stty size; exit 6\r");
    terminal.await_text("24 80");

    assert_eq!(terminal.wait(), 6);
    host.ok(["rm", "-f", "box"]);
    host.assert_nothing_left_behind();
}

#[test]
fn a_terminal_is_not_made_where_stdin_is_none() {
    let host = require!(host());
    let image = host.busybox();

    let piped = host
        .command(["run", "--rm", "-it", &image, "sh"])
        .stdin("echo x\n")
        .run();
    let without = host.rocker([
        "run",
        "--rm",
        &image,
        "sh",
        "-c",
        "test -t 0 || test -t 1 || echo no terminal",
    ]);
    let alone = host.ok([
        "run",
        "-dt",
        "--name",
        "alone",
        &image,
        "sh",
        "-c",
        "tty; read x",
    ]);

    assert_eq!(piped.exit_code, 1, "{piped:?}");
    assert!(
        piped.stderr.contains("stdin") || piped.stderr.contains("terminal"),
        "{piped:?}"
    );
    assert_eq!(without.stdout, "no terminal\n", "{without:?}");
    let follower = host.command(["logs", "-f", &alone]).spawn();
    follower.await_stdout("/dev/");
    host.ok(["rm", "-f", "alone"]);
    host.assert_nothing_left_behind();
}

#[test]
fn the_callers_terminal_is_not_reachable_from_inside() {
    let host = require!(host());
    let image = host.busybox();

    let mut terminal = host.terminal(["run", "--rm", &image, "sh"]);
    terminal.await_text("/ # ");
    terminal.type_in("ls /proc/self/fd; readlink /proc/self/fd/0; stat -f -c %T /dev/pts\r");
    terminal.await_text("/dev/");
    terminal.type_in("ls /dev/pts | xargs\r");
    // A devpts of its own: the container's terminal is number 0, and the only one.
    terminal.await_text("0 ptmx");
    terminal.type_in("exit\r");

    assert_eq!(terminal.wait(), 0);
    host.assert_nothing_left_behind();
}
