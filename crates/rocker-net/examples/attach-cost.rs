//! What attaching and detaching cost on this machine, in a network namespace of its own.
//!
//! `cargo run --release -p rocker-net --example attach-cost [ROUNDS]`, as root. Prints medians
//! and the 90th percentile in microseconds. No test depends on it.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a measurement for people, not a part of the product"
)]

use std::net::Ipv4Addr;
use std::os::fd::{AsFd, OwnedFd};
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, unshare};
use rocker_net::{Attachment, BridgeConfig, attach, detach};
use rocker_types::{ContainerId, Protocol, PublishedPort};

fn main() {
    let rounds = std::env::args()
        .nth(1)
        .map_or(100, |text| text.parse().unwrap());
    unshare(CloneFlags::CLONE_NEWNET).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let bridge = BridgeConfig::new(
        "rocker0".parse().unwrap(),
        "10.120.0.0/16".parse().unwrap(),
        directory.path().join("lock"),
    );
    let port = PublishedPort {
        host_ip: Ipv4Addr::UNSPECIFIED,
        host_port: 8080,
        container_port: 80,
        protocol: Protocol::Tcp,
    };

    println!("{:58} {:>9} {:>9}", "", "median us", "p90 us");
    measure(
        "first container: attach makes the bridge",
        "last one out",
        rounds,
        &|n| cycle(&attachment(&bridge, n, &[]), Death::After),
    );
    measure(
        "the same after 300 ms of quiet",
        "last one out",
        rounds.min(20),
        &|n| {
            thread::sleep(Duration::from_millis(300));
            cycle(&attachment(&bridge, n, &[]), Death::After)
        },
    );
    let stay = netns();
    let resident = attachment(&bridge, 250, &[]);
    attach(&resident, stay.as_fd()).unwrap();
    measure(
        "bridge there: attach",
        "detach, namespace alive",
        rounds,
        &|n| cycle(&attachment(&bridge, n, &[]), Death::After),
    );
    measure(
        "bridge there: attach",
        "detach, namespace just closed",
        rounds,
        &|n| cycle(&attachment(&bridge, n, &[]), Death::Before),
    );
    measure(
        "bridge there: attach, one port",
        "detach, one port, alive",
        rounds,
        &|n| cycle(&attachment(&bridge, n, &[port]), Death::After),
    );
    detach(&resident).unwrap();
    measure(
        "back to back: attach while another thread takes down the last",
        "last one out, while another attaches",
        rounds,
        &|n| overlapping(&bridge, n),
    );
}

/// When the container's namespace is closed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Death {
    Before,
    After,
}

fn cycle(attachment: &Attachment, death: Death) -> (Duration, Duration) {
    let inside = netns();
    let begin = Instant::now();
    attach(attachment, inside.as_fd()).unwrap();
    let attached = begin.elapsed();
    if death == Death::Before {
        drop(inside);
        let begin = Instant::now();
        detach(attachment).unwrap();
        return (attached, begin.elapsed());
    }
    let begin = Instant::now();
    detach(attachment).unwrap();
    (attached, begin.elapsed())
}

/// The next container starts in the moment when the last one's monitor cleans up.
fn overlapping(bridge: &BridgeConfig, n: u8) -> (Duration, Duration) {
    let (old, new) = (
        attachment(bridge, n, &[]),
        attachment(bridge, n.wrapping_add(1), &[]),
    );
    let (inside, next) = (netns(), netns());
    attach(&old, inside.as_fd()).unwrap();
    drop(inside);
    let times = thread::scope(|scope| {
        let cleaner = scope.spawn(|| {
            let begin = Instant::now();
            detach(&old).unwrap();
            begin.elapsed()
        });
        let begin = Instant::now();
        attach(&new, next.as_fd()).unwrap();
        (begin.elapsed(), cleaner.join().unwrap())
    });
    detach(&new).unwrap();
    times
}

fn measure(first: &str, second: &str, rounds: u32, work: &dyn Fn(u8) -> (Duration, Duration)) {
    let mut times: (Vec<Duration>, Vec<Duration>) = (0..rounds)
        .map(|round| work(u8::try_from(round % 200).unwrap() + 2))
        .unzip();
    for (name, list) in [(first, &mut times.0), (second, &mut times.1)] {
        list.sort();
        let at =
            |percent: usize| list[(list.len() * percent / 100).min(list.len() - 1)].as_micros();
        println!("{name:58} {:>9} {:>9}", at(50), at(90));
    }
}

fn netns() -> OwnedFd {
    let made = thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        std::fs::File::open("/proc/thread-self/ns/net")
            .unwrap()
            .into()
    });
    made.join().unwrap()
}

fn attachment(bridge: &BridgeConfig, number: u8, ports: &[PublishedPort]) -> Attachment {
    Attachment {
        container: ContainerId::from_bytes([number; 32]),
        bridge: bridge.clone(),
        address: Ipv4Addr::new(10, 120, 0, number),
        ports: ports.to_vec(),
    }
}
