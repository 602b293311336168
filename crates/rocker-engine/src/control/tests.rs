//! The door and the conversation, without a monitor behind.

use std::os::unix::fs::PermissionsExt as _;

use rocker_types::{Diagnose as _, ErrorKind};

use super::link::Sent;
use super::message::{MAX_CONTENT, Report, Request, VERSION};
use super::*;

fn accepted(listener: &ControlListener) -> Link {
    match listener.accept().unwrap() {
        Accepted::Client(link) => link,
        nobody @ (Accepted::Refused | Accepted::Nobody) => panic!("{nobody:?}"),
    }
}

fn received(link: &Link) -> Vec<u8> {
    let mut packet = Vec::new();
    assert_eq!(link.receive(&mut packet).unwrap(), Received::Packet);
    packet
}

#[test]
fn the_socket_is_for_its_owner_alone_whatever_the_path() {
    let directory = tempfile::tempdir().unwrap();
    let long = directory.path().join("d".repeat(120)).join("e".repeat(120));
    fs_err::create_dir_all(&long).unwrap();

    for path in [directory.path().join("control"), long.join("control")] {
        let listener = ControlListener::bind(&path).unwrap();
        let mode = fs_err::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);

        let _client = Session::connect(&path, Wants::Output).unwrap();
        let hello = Request::Hello {
            version: VERSION,
            wants: Wants::Output,
        };
        assert_eq!(
            Request::decode(&received(&accepted(&listener))),
            Some(hello)
        );
    }
}

#[test]
fn a_socket_that_a_dead_monitor_left_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("control");
    drop(ControlListener::bind(&path).unwrap());
    let error = Session::connect(&path, Wants::Exit).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);

    let listener = ControlListener::bind(&path).unwrap();

    let _client = Session::connect(&path, Wants::Exit).unwrap();
    accepted(&listener);
}

#[test]
fn nobody_at_the_door_is_an_error_that_names_it() {
    let error =
        Session::connect(std::path::Path::new("/nowhere/control"), Wants::Exit).unwrap_err();

    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("/nowhere/control"), "{error}");
}

#[test]
fn input_never_exceeds_the_window() {
    let (client, monitor) = pair().unwrap();
    let (mut session, monitor) = (
        Session::from_fd(client, Wants::OutputAndStdin).unwrap(),
        Link::from(monitor),
    );
    received(&monitor);
    assert_eq!(session.send_stdin(b"early").unwrap(), 0);

    monitor
        .send(
            &Report::Welcome {
                version: VERSION,
                window: 7,
            }
            .encode(),
        )
        .unwrap();
    assert_eq!(session.next().unwrap(), Some(Event::StdinReady));
    assert_eq!(session.send_stdin(b"one two three").unwrap(), 7);
    assert_eq!(received(&monitor), b"Ione two");
    assert_eq!(session.send_stdin(b" three").unwrap(), 0);
    monitor.send(&Report::StdinTaken(2).encode()).unwrap();
    assert_eq!(session.next().unwrap(), Some(Event::StdinReady));
    assert_eq!(session.send_stdin(b" three").unwrap(), 2);
}

#[test]
fn what_a_monitor_said_last_is_heard_though_it_did_not_listen() {
    let (client, monitor) = pair().unwrap();
    let mut session = Session::from_fd(client, Wants::Output).unwrap();
    let monitor = Link::from(monitor);
    let output = vec![b'x'; MAX_CONTENT];
    monitor.send(&Report::Stdout(&output).encode()).unwrap();
    monitor.send(&Report::Exited(42).encode()).unwrap();

    // The greeting is still unread: to the client this is a reset connection.
    drop(monitor);
    session.signal(rocker_types::Signal::TERM).unwrap();

    assert_eq!(session.next().unwrap(), Some(Event::Stdout(&output)));
    assert_eq!(session.next().unwrap(), Some(Event::Exited(42)));
    assert_eq!(session.next().unwrap(), Some(Event::Closed));
}

#[test]
fn reports_of_a_later_version_are_skipped_but_a_later_protocol_is_refused() {
    let (client, monitor) = pair().unwrap();
    let mut session = Session::from_fd(client, Wants::Output).unwrap();
    let monitor = Link::from(monitor);
    rustix::net::send(&monitor, b"?new", rustix::net::SendFlags::empty()).unwrap();
    monitor.send(&Report::Stderr(b"known").encode()).unwrap();
    assert_eq!(session.next().unwrap(), Some(Event::Stderr(b"known")));
    assert_eq!(session.next().unwrap(), None);

    monitor
        .send(
            &Report::Welcome {
                version: VERSION + 1,
                window: 0,
            }
            .encode(),
        )
        .unwrap();

    let error = session.next().unwrap_err();
    assert!(
        matches!(error, SessionError::Version { .. }) && error.hint().is_some(),
        "{error}"
    );
}

#[test]
fn a_full_socket_takes_nothing_of_a_packet() {
    let (client, monitor) = pair().unwrap();
    let monitor = Link::from(monitor);
    let output = vec![0; MAX_CONTENT];
    let mut sent = 0;
    while monitor.send(&Report::Stdout(&output).encode()).unwrap() == Sent::Whole {
        sent += 1;
    }

    let mut session = Session::from_fd(client, Wants::Output).unwrap();
    for _ in 0..sent {
        assert_eq!(session.next().unwrap(), Some(Event::Stdout(&output)));
    }
    assert_eq!(session.next().unwrap(), None);
    drop(session);
    assert_eq!(
        monitor.send(&Report::Exited(0).encode()).unwrap(),
        Sent::HungUp
    );
}
