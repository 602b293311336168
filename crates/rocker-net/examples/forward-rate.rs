//! Forwards one port, in the caller's network namespace, until killed: for `ab` and `iperf3`.
//!
//! `forward-rate HOST_PORT ADDRESS CONTAINER_PORT`.
#![expect(
    clippy::unwrap_used,
    reason = "a measurement for people, not a part of the product"
)]

use std::net::Ipv4Addr;

use rocker_net::PortForwarder;
use rocker_types::{Protocol, PublishedPort};
use rustix::event::{PollFd, PollFlags, poll};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [host_port, target, container_port] = arguments.as_slice() else {
        panic!("want HOST_PORT ADDRESS CONTAINER_PORT")
    };
    let port = PublishedPort {
        host_ip: Ipv4Addr::UNSPECIFIED,
        host_port: host_port.parse().unwrap(),
        container_port: container_port.parse().unwrap(),
        protocol: Protocol::Tcp,
    };
    let mut forwarder = PortForwarder::bind(&[port], target.parse().unwrap()).unwrap();
    loop {
        poll(&mut [PollFd::new(&forwarder, PollFlags::IN)], None).unwrap();
        forwarder.drive();
    }
}
