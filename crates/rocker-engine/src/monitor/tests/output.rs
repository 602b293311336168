//! From the process to clients and log.

use super::rig::{Rig, Shape};
use crate::control::Wants;
use crate::monitor::{Delivery, InputEnd};

#[test]
fn both_streams_and_the_exit_code_arrive_and_are_logged() {
    let (mut rig, mut client) =
        Rig::attached("echo out; echo err >&2; printf end; exit 7", Shape::NoInput);

    assert_eq!(client.until_exit(), 7);

    assert_eq!(
        (&client.stdout[..], &client.stderr[..]),
        (&b"out\nend"[..], &b"err\n"[..])
    );
    assert_eq!(rig.ended(), Delivery::Complete);
    assert_eq!(rig.log(), ("out\nend".to_owned(), "err\n".to_owned()));
}

#[test]
fn nothing_of_a_terminals_last_output_is_lost() {
    let (mut rig, mut client) = Rig::attached("seq 1 20000", Shape::Terminal);

    assert_eq!(client.until_exit(), 0);

    let expected: String = (1..=20_000).map(|i| format!("{i}\r\n")).collect();
    assert!(
        client.stdout == expected.as_bytes(),
        "{} bytes",
        client.stdout.len()
    );
    rig.ended();
    assert!(rig.log().0 == expected);
}

#[test]
fn a_process_that_keeps_the_pipes_does_not_keep_the_monitor() {
    let (mut rig, mut client) = Rig::attached("sleep 1000 & echo $!; echo bye >&2", Shape::NoInput);

    assert_eq!(client.until_exit(), 0);
    rig.ended();

    assert_eq!(client.stderr, b"bye\n");
    let pid = String::from_utf8(client.stdout)
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

#[test]
fn a_process_that_keeps_writing_into_the_pipes_does_not_keep_the_monitor() {
    let (mut rig, mut client) = Rig::attached("yes & echo $! >&2; read x", Shape::Pipes);
    client.until(|client| client.stderr.ends_with(b"\n"));

    client.session.close_stdin().unwrap();
    client.until_exit();
    rig.ended();

    // Nobody reads any more: the writer dies of SIGPIPE.
    let pid = String::from_utf8(client.stderr)
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    let pidfd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty());
    if let Ok(pidfd) = pidfd {
        let mut polled = [rustix::event::PollFd::new(
            &pidfd,
            rustix::event::PollFlags::IN,
        )];
        rustix::event::poll(&mut polled, None).unwrap();
    }
}

#[test]
fn a_stream_that_is_closed_early_does_not_cost_the_other_one() {
    let (mut rig, mut client) = Rig::attached(
        "exec 1>&-; echo one >&2; read x; echo two >&2",
        Shape::Pipes,
    );
    client.until(|client| client.stderr == b"one\n");

    client.type_in(b"go\n");

    assert_eq!(client.until_exit(), 0);
    assert_eq!(client.stderr, b"one\ntwo\n");
    rig.ended();
}

#[test]
fn a_terminal_that_is_closed_for_a_moment_goes_on() {
    let script =
        "echo one; exec <&- >&- 2>&-; exec </dev/tty >/dev/tty 2>&1; echo two; read x; echo $x";
    let (mut rig, mut client) = Rig::attached(script, Shape::Terminal);
    client.until_stdout("two");

    client.type_in(b"three\n");

    client.until_exit();
    assert_eq!(client.stdout, b"one\r\ntwo\r\nthree\r\nthree\r\n");
    rig.ended();
}

#[test]
fn who_comes_late_gets_what_is_written_from_then_on() {
    let mut rig = Rig::detached(
        "read a; echo $a; read b; echo $b",
        Shape::Pipes,
        InputEnd::WithContainer,
    );
    let mut early = rig.connect(Wants::OutputAndStdin);
    early.type_in(b"first\n");
    early.until_stdout("first\n");

    let mut late = rig.connect(Wants::Output);
    let mut waiting = rig.connect(Wants::Exit);
    early.type_in(b"second\n");

    for (client, seen) in [
        (&mut early, "first\nsecond\n"),
        (&mut late, "second\n"),
        (&mut waiting, ""),
    ] {
        assert_eq!(client.until_exit(), 0);
        assert_eq!(String::from_utf8_lossy(&client.stdout), seen);
    }
    rig.ended();
    assert_eq!(rig.log().0, "first\nsecond\n");
}
