//! From clients to the process.

use std::hash::{DefaultHasher, Hasher as _};

use rocker_types::Signal;

use super::rig::{Rig, Shape};
use crate::control::message::{MAX_CONTENT, Request, VERSION};
use crate::control::{Link, Session, Wants, WindowSize};
use crate::monitor::InputEnd;

/// Bytes that repeat nowhere near each other, of any value.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..len / 8).flat_map(|_| next()).collect()
}

fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}

#[test]
fn sixty_four_mebibytes_through_cat_come_back_equal() {
    let (mut rig, mut client) = Rig::attached("exec cat", Shape::Pipes);
    let sent = noise(64 << 20);

    client.type_in(&sent);
    client.session.close_stdin().unwrap();

    assert_eq!(client.until_exit(), 0);
    assert_eq!(
        (client.stdout.len(), hash(&client.stdout)),
        (sent.len(), hash(&sent))
    );
    rig.ended();
}

#[test]
fn input_goes_on_after_one_client_left_if_the_container_outlives_its_clients() {
    let mut rig = Rig::detached("exec cat", Shape::Pipes, InputEnd::WithContainer);
    let mut first = rig.connect(Wants::OutputAndStdin);
    first.type_in(b"one\n");
    first.session.close_stdin().unwrap();
    first.until_stdout("one\n");
    drop(first);

    let mut second = rig.connect(Wants::OutputAndStdin);
    second.type_in(b"two\n");
    second.until_stdout("two\n");
    second.session.signal(Signal::TERM).unwrap();

    assert_eq!(second.until_exit(), 128 + 15);
    rig.ended();
}

#[test]
fn a_client_that_is_killed_ends_the_input_and_loses_none_of_it() {
    let (mut rig, mut client) = Rig::attached("echo ready; read x; exec wc -c", Shape::Pipes);
    client.until_stdout("ready\n");
    client.until(|client| client.session.stdin_room() > 0);
    assert_eq!(client.session.send_stdin(&[b'\n'; 60_000]).unwrap(), 60_000);

    drop(client);
    rig.ended();

    assert_eq!(rig.log().0.trim_end(), "ready\n59999");
}

#[test]
fn who_watches_without_input_does_not_end_it() {
    let mut rig = Rig::detached(
        "read x; echo got $x",
        Shape::Pipes,
        InputEnd::WithFirstClient,
    );
    drop(rig.connect(Wants::Output));

    let mut client = rig.connect(Wants::OutputAndStdin);
    client.type_in(b"it\n");

    assert_eq!(client.until_exit(), 0);
    assert_eq!(client.stdout, b"got it\n");
    rig.ended();
}

#[test]
fn a_signal_gets_through_while_the_container_reads_nothing() {
    let (mut rig, mut client) = Rig::attached("echo ready; exec sleep 1000", Shape::Pipes);
    client.until_stdout("ready\n");
    // The pipe and the window take this much, and then no more.
    client.type_in(&noise(2 * MAX_CONTENT));
    assert_eq!(client.session.send_stdin(b"more").unwrap(), 0);

    client.session.signal(Signal::TERM).unwrap();

    assert_eq!(client.until_exit(), 128 + 15);
    rig.ended();
}

#[test]
fn a_client_learns_that_the_container_closed_its_input() {
    let (mut rig, mut client) =
        Rig::attached("exec <&-; echo closed; exec sleep 1000", Shape::Pipes);

    client.until(|client| client.stdin_closed);
    assert_eq!(client.session.stdin_room(), 0);
    assert_eq!(client.session.send_stdin(b"into the void").unwrap(), 0);
    let mut late = rig.connect(Wants::OutputAndStdin);
    late.until(|client| client.stdin_closed);
    client.session.signal(Signal::KILL).unwrap();

    assert_eq!(client.until_exit(), 128 + 9);
    rig.ended();
}

#[test]
fn without_input_there_is_no_window() {
    let (mut rig, mut client) = Rig::attached("exec sleep 1000", Shape::NoInput);

    client.until(|client| client.stdin_closed);
    client.session.signal(Signal::KILL).unwrap();

    client.until_exit();
    rig.ended();
}

#[test]
fn the_terminal_has_the_size_that_a_client_sets_last() {
    let (mut rig, mut client) = Rig::attached("read x; stty size", Shape::Terminal);

    for rows in 1..=1000 {
        client
            .session
            .resize(WindowSize { rows, columns: 132 })
            .unwrap();
    }
    client.type_in(b"\n");

    client.until_exit();
    assert_eq!(client.stdout, b"\r\n1000 132\r\n");
    rig.ended();
}

#[test]
fn leaving_a_terminal_does_not_end_its_input_but_saying_so_does() {
    let (mut rig, client) = Rig::attached("exec cat", Shape::Terminal);
    drop(client);

    let mut second = rig.connect(Wants::OutputAndStdin);
    second.type_in(b"still here\n");
    second.until_stdout("still here\r\nstill here\r\n");
    second.session.close_stdin().unwrap();

    assert_eq!(second.until_exit(), 0);
    rig.ended();
}

#[test]
fn packets_of_a_later_version_are_ignored() {
    let mut rig = Rig::detached("read x; echo $x", Shape::Pipes, InputEnd::WithFirstClient);
    let link = Link::from(crate::control::connect(&rig.socket()).unwrap());
    let raw =
        |bytes: &[u8]| rustix::net::send(&link, bytes, rustix::net::SendFlags::empty()).unwrap();
    raw(&[b'H', 200, 2, 1, 2, 3]);
    raw(b"~something new");
    raw(b"Ithrough\n");

    let mut seen = Vec::new();
    let mut packet = [0; 100];
    while !seen.ends_with(b"x\0\0\0\0") {
        let (len, _) =
            rustix::net::recv(&link, &mut packet, rustix::net::RecvFlags::empty()).unwrap();
        assert!(len > 0, "hung up after {seen:?}");
        seen.extend_from_slice(&packet[..len]);
    }

    assert_eq!(
        &seen[..6],
        [b'W', VERSION, 0, 0, 1, 0],
        "version, and a window of 64 KiB"
    );
    assert!(seen.windows(8).any(|part| part == b"othrough"), "{seen:?}");
    rig.ended();
}

#[test]
fn a_client_that_exceeds_its_window_is_hung_up_on() {
    let mut rig = Rig::detached("exec sleep 1000", Shape::Pipes, InputEnd::WithContainer);
    let link = Link::from(crate::control::connect(&rig.socket()).unwrap());
    let send = |request: Request<'_>| {
        let packet = request.encode().parts().concat();
        rustix::net::send(&link, &packet, rustix::net::SendFlags::NOSIGNAL)
    };
    send(Request::Hello {
        version: VERSION,
        wants: Wants::OutputAndStdin,
    })
    .unwrap();

    let flood = vec![0; MAX_CONTENT];
    let refused = (0..100).any(|_| send(Request::Stdin(&flood)).is_err());

    assert!(refused);
    drop(Session::connect(&rig.socket(), Wants::Exit).unwrap());
    rig.kill();
    rig.ended();
}
