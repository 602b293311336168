//! Slow clients, lost clients, many clients.

use std::time::{Duration, Instant};

use super::rig::{Rig, Shape};
use crate::control::{self, ControlListener, Event, Session, Wants};
use crate::monitor::{Delivery, Ended, InputEnd, STALL_LIMIT};

/// Far more than sockets and pipes hold.
const MUCH: &str = "seq 1 400000";

fn much() -> Vec<u8> {
    (1..=400_000)
        .flat_map(|i| format!("{i}\n").into_bytes())
        .collect()
}

#[test]
fn a_guest_that_stops_reading_is_dropped_and_the_foreground_loses_nothing() {
    let (mut rig, mut client) = Rig::attached(&format!("read x; {MUCH}"), Shape::Pipes);
    let mut guest = rig.connect(Wants::Output);
    let begin = Instant::now();
    client.type_in(b"\n");

    client.until_exit();

    assert!(begin.elapsed() >= STALL_LIMIT, "it was given its time");
    assert!(client.stdout == much());
    guest.until(|guest| guest.hung_up);
    assert!(guest.exit.is_none() && much().starts_with(&guest.stdout));
    rig.ended();
    assert!(rig.log().0.as_bytes() == much());
}

#[test]
fn a_slow_client_in_the_foreground_holds_the_container_and_gets_everything() {
    let (mut rig, mut client) = Rig::attached(&format!("{MUCH}; echo done >&2"), Shape::NoInput);
    // Longer than a guest would be given.
    let mut polled = [];
    let pause = rustix::event::Timespec::try_from(STALL_LIMIT + Duration::from_secs(1)).unwrap();
    rustix::event::poll(&mut polled, Some(&pause)).unwrap();
    assert!(!rig.log().1.contains("done"), "the container was not held");

    assert_eq!(client.until_exit(), 0);

    assert!(client.stdout == much());
    rig.ended();
}

#[test]
fn the_end_does_not_wait_for_a_slow_client_but_the_client_gets_it() {
    // 700 KB: more than the socket and the chunk take, less than the pipe.
    let script = "read x; seq 100000 199999";
    let (mut rig, mut client) = Rig::attached(script, Shape::PipesWide);
    let mut waiting = rig.connect(Wants::Exit);
    client.type_in(b"\n");

    assert_eq!(waiting.until_exit(), 0, "the end was told to others");
    assert_eq!(client.until_exit(), 0);

    let expected: String = (100_000..=199_999).map(|i| format!("{i}\n")).collect();
    assert!(client.stdout == expected.as_bytes());
    assert_eq!(rig.ended(), Delivery::Pending);
    assert!(rig.log().0 == expected);
}

#[test]
fn a_client_that_vanishes_in_the_middle_stops_nothing() {
    let (mut rig, mut client) = Rig::attached(MUCH, Shape::NoInput);
    client.until(|client| !client.stdout.is_empty());

    drop(client);
    rig.ended();

    assert!(rig.log().0.as_bytes() == much());
}

#[test]
fn many_clients_see_the_same() {
    let mut rig = Rig::detached(
        "read x; seq 1 50000; exit 3",
        Shape::Pipes,
        InputEnd::WithContainer,
    );
    let mut clients: Vec<_> = (0..20).map(|_| rig.connect(Wants::Output)).collect();
    rig.connect(Wants::OutputAndStdin).type_in(b"\n");

    let readers = clients
        .drain(..)
        .map(|mut client| std::thread::spawn(move || (client.until_exit(), client.stdout)));
    let seen: Vec<_> = readers
        .collect::<Vec<_>>()
        .into_iter()
        .map(|t| t.join().unwrap())
        .collect();

    let expected: String = (1..=50_000).map(|i| format!("{i}\n")).collect();
    assert!(
        seen.iter()
            .all(|(code, stdout)| *code == 3 && stdout == expected.as_bytes())
    );
    rig.ended();
}

#[test]
fn coming_and_going_leaves_nothing_open() {
    let mut rig = Rig::detached("exec sleep 1000", Shape::Pipes, InputEnd::WithContainer);
    let open = || fs_err::read_dir("/proc/self/fd").unwrap().count();
    drop(rig.connect(Wants::OutputAndStdin));
    let before = open();

    for _ in 0..2000 {
        drop(rig.connect(Wants::OutputAndStdin));
    }
    // The monitor saw the last one leave when it answers the next one.
    let last = rig.connect(Wants::Exit);

    // Other tests may run in this process: a leak would be 2000.
    assert!(
        open() < before + 500,
        "{} descriptors, {before} before",
        open()
    );
    drop(last);
    rig.kill();
    rig.ended();
}

#[test]
fn who_connects_after_the_end_is_told_too() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("control");
    let listener = ControlListener::bind(&path).unwrap();
    let mut late: Vec<_> = (0..5)
        .map(|_| Session::connect(&path, Wants::Exit).unwrap())
        .collect();

    let mut ended = Ended::new(Vec::new(), Vec::new());
    assert_eq!(ended.tell_exit(7), Delivery::Complete);
    ended.let_in(&listener);

    for session in &mut late {
        assert_eq!(session.next().unwrap(), Some(Event::Exited(7)));
    }
}

#[test]
fn a_full_queue_keeps_nobody_who_only_knocks() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("control");
    let _listener = ControlListener::bind(&path).unwrap();
    let waiting: Vec<_> = std::iter::from_fn(|| control::connect(&path).ok()).collect();

    Session::knock(&path);

    assert!(!waiting.is_empty());
}
