//! Ctrl-C while an image is pulled: the prompt comes back at once, whatever is waited for.

use std::cell::RefCell;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use rocker_testkit::host::{patience, run_program};
use rocker_testkit::image::{ImageBuilder, Layer};
use rocker_testkit::registry::{Action, On};
use rocker_testkit::{Host, require};
use rustix::process::Signal;

use crate::host;

/// What a user takes for "at once".
const AT_ONCE: Duration = Duration::from_millis(200);

/// How often a machine with other things to do may take longer.
const ATTEMPTS: u32 = 4;

/// Starts `words`, sends the signal once `is_there`, and says how the command ended and how long
/// after the signal.
fn stop(
    host: &Host,
    words: &[&str],
    signal: Signal,
    is_there: &dyn Fn() -> bool,
) -> (i32, Duration) {
    // what the attempt before left
    while is_there() {}
    let pull = host.command(words.iter().copied()).spawn();
    pull.await_stderr("Pulling from");
    let deadline = Instant::now() + Duration::from_secs(10) * patience();
    while !is_there() {
        assert!(Instant::now() < deadline, "{words:?} did not come that far");
        std::thread::park_timeout(Duration::from_micros(200));
    }
    pull.signal(signal);
    let start = Instant::now();
    let output = pull.finish();
    let took = start.elapsed();
    assert!(output.stderr.contains("stopped by"), "{output:?}");
    (output.exit_code, took)
}

/// Does so until it is quick once; only what is slow by itself is slow each time.
fn assert_stops_at_once(host: &Host, words: &[&str], is_there: &dyn Fn() -> bool) {
    let before = host.snapshot();
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let mut quickest = Duration::MAX;
        for _ in 0..ATTEMPTS {
            let (exit_code, took) = stop(host, words, signal, is_there);
            assert_eq!(exit_code, code, "{words:?}");
            quickest = quickest.min(took);
            host.ok(["image", "prune", "-f"]);
            host.assert_unchanged_since(&before);
            if quickest < AT_ONCE * patience() {
                break;
            }
        }
        assert!(
            quickest < AT_ONCE * patience(),
            "{words:?} took {quickest:?}"
        );
    }
}

#[test]
fn a_registry_that_is_silent_does_not_hold_ctrl_c_up() {
    let host = require!(host());
    let layer = Layer::new().file("f", vec![7; 100_000]);
    let image = ImageBuilder::new().layer(layer).build();
    let reference = host.registry().push("app:1", &image);
    host.ok(["ps"]);
    let asked = RefCell::new(0);
    let is_asked_again = || {
        let now = host.registry().requests().len();
        now > asked.replace(now)
    };

    let wait = Action::RetryAfter {
        status: 429,
        seconds: 59,
    };
    host.registry().fault(On::Manifest, 8, wait);
    assert_stops_at_once(&host, &["pull", &reference], &is_asked_again);
    host.registry()
        .fault(On::Manifest, u32::MAX, Action::StallAfter(10));
    assert_stops_at_once(&host, &["pull", &reference], &is_asked_again);
    host.assert_nothing_left_behind();
}

#[test]
fn a_handshake_that_nobody_answers_does_not_hold_ctrl_c_up() {
    let host = require!(host());
    host.ok(["ps"]);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.set_nonblocking(true).expect("a socket");
    let reference = format!("{}/app:1", listener.local_addr().expect("an address"));
    let accepted: RefCell<Vec<TcpStream>> = RefCell::default();
    let is_there = || {
        let stream = listener.accept().map(|(stream, _)| stream).ok();
        stream
            .map(|stream| accepted.borrow_mut().push(stream))
            .is_some()
    };

    assert_stops_at_once(&host, &["pull", "--tls-verify=true", &reference], &is_there);
    host.assert_nothing_left_behind();
}

#[test]
fn a_name_that_nobody_resolves_does_not_hold_ctrl_c_up() {
    let host = require!(host());
    host.ok(["ps"]);
    let server = UdpSocket::bind("127.0.0.1:53").expect("a network of our own");
    server.set_nonblocking(true).expect("a socket");
    let conf = host.scratch().join("resolv.conf");
    fs_err::write(&conf, "nameserver 127.0.0.1\noptions timeout:30\n").expect("a file");
    run_program(&[
        "mount",
        "--bind",
        &conf.to_string_lossy(),
        "/etc/resolv.conf",
    ]);
    let is_there = || server.recv_from(&mut [0; 512]).is_ok();

    assert_stops_at_once(&host, &["pull", "registry.example.org/app:1"], &is_there);
    run_program(&["umount", "/etc/resolv.conf"]);
    host.assert_nothing_left_behind();
}

#[test]
fn unpacking_many_files_does_not_hold_ctrl_c_up() {
    let host = require!(host());
    let layer = |n: u64| {
        let files = (0..5_000).map(|file| (format!("d{n}/{}/{file}", file % 50), file.to_string()));
        files.fold(Layer::new(), |layer, (name, content)| {
            layer.file(&name, content)
        })
    };
    let layers = (0..3).map(layer);
    let image = layers
        .fold(ImageBuilder::new(), ImageBuilder::layer)
        .build();
    let reference = host.registry().push("many:1", &image);
    host.ok(["ps"]);
    let tmp = host.root().join("tmp");
    let is_there = || {
        let places = fs_err::read_dir(&tmp).into_iter().flatten().flatten();
        let layers = places.map(|place| place.path().join("layer-0"));
        let mut files = layers.flat_map(|layer| fs_err::read_dir(layer).into_iter().flatten());
        files.next().is_some()
    };

    assert_stops_at_once(&host, &["pull", &reference], &is_there);
    let output = host.rocker(["pull", &reference]);
    assert_eq!(output.exit_code, 0, "{output:?}");
    host.assert_nothing_left_behind();
}
