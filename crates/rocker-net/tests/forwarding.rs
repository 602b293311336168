//! The userspace forwarder, between clients and services on loopback of a private network
//! namespace.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and may print and use std::fs"
)]

#[expect(dead_code, reason = "each test program uses a part of it")]
mod support;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream, UdpSocket};
use std::thread;

use rocker_net::PortForwarder;
use rocker_types::Protocol::{Tcp, Udp};
use support::{Host, Service, drive, in_host, port, tcp, udp};

const LOOPBACK: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// Forwards a free port to `container_port` of this namespace's loopback.
fn forward(host: &Host, container_port: u16, protocol: rocker_types::Protocol) -> (u16, Service) {
    let ports = [port([127, 0, 0, 1], 0, container_port, protocol)];
    let forwarder = PortForwarder::bind(&ports, LOOPBACK).unwrap();
    let number = forwarder.ports()[0].host_port;
    (number, drive(host.netns(), forwarder))
}

/// Bytes that repeat only after a long while, so that a lost or doubled block shows.
fn pattern(length: usize) -> Vec<u8> {
    (0..length / 8)
        .flat_map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes())
        .collect()
}

#[test]
fn large_transfers_arrive_whole_in_both_directions_at_once() {
    in_host(|host| {
        let _echo = host.netns().tcp_echo(80);
        let (number, _driver) = forward(host, 80, Tcp);
        let sent = pattern(64 << 20);

        let mut stream = TcpStream::connect((LOOPBACK, number)).unwrap();
        let mut reader = stream.try_clone().unwrap();
        let received = thread::scope(|scope| {
            let reading = scope.spawn(move || {
                let mut received = Vec::new();
                reader.read_to_end(&mut received).unwrap();
                received
            });
            stream.write_all(&sent).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            reading.join().unwrap()
        });

        let body = &received[received.iter().position(|byte| *byte == b'\n').unwrap() + 1..];
        assert!(
            body == sent.as_slice(),
            "{} of {} bytes",
            body.len(),
            sent.len()
        );
    });
}

#[test]
fn a_client_that_does_not_read_stops_the_container_instead_of_filling_memory() {
    in_host(|host| {
        let listener = TcpListener::bind((LOOPBACK, 80)).unwrap();
        let (number, _driver) = forward(host, 80, Tcp);
        let client = TcpStream::connect((LOOPBACK, number)).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        server
            .set_write_timeout(Some(std::time::Duration::from_millis(300)))
            .unwrap();
        let block = vec![7; 1 << 20];
        let mut written = 0u64;

        // Socket buffers and one pipe take some; then nothing more goes.
        while let Ok(count) = server.write(&block) {
            written += count as u64;
            assert!(written < 256 << 20, "nobody stops the writer");
        }
        drop(server);
        let received = std::io::copy(&mut &client, &mut std::io::sink()).unwrap();

        assert_eq!(received, written, "what was taken is delivered");
    });
}

#[test]
fn a_side_that_ends_its_half_still_receives_the_other() {
    in_host(|host| {
        let listener = TcpListener::bind((LOOPBACK, 80)).unwrap();
        let (number, _driver) = forward(host, 80, Tcp);
        let mut client = TcpStream::connect((LOOPBACK, number)).unwrap();
        client.write_all(b"question").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        let mut question = String::new();
        server.read_to_string(&mut question).unwrap();
        server.write_all(b"answer").unwrap();
        drop(server);

        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();

        assert_eq!((question.as_str(), answer.as_str()), ("question", "answer"));
    });
}

#[test]
fn a_reset_is_passed_on_as_a_reset_and_a_closed_port_ends_the_client() {
    in_host(|host| {
        let listener = TcpListener::bind((LOOPBACK, 80)).unwrap();
        let (number, _driver) = forward(host, 80, Tcp);
        let mut client = TcpStream::connect((LOOPBACK, number)).unwrap();
        let (server, _) = listener.accept().unwrap();
        client.write_all(b"unread").unwrap();
        // Closing with unread bytes resets the connection.
        server.peek(&mut [0; 1]).unwrap();
        drop(server);
        let error = client.read(&mut [0; 1]).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);

        drop(listener);
        assert_eq!(tcp(LOOPBACK, number), support::Outcome::Refused);
    });
}

#[test]
fn many_short_connections_leave_no_descriptors() {
    in_host(|host| {
        let _echo = host.netns().tcp_echo(80);
        let (number, driver) = forward(host, 80, Tcp);
        let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
        let before = open();

        for _ in 0..20 {
            thread::scope(|scope| {
                for _ in 0..20 {
                    let client = || host.netns().run(|| tcp(LOOPBACK, number));
                    scope.spawn(move || assert!(matches!(client(), support::Outcome::Seen(_))));
                }
            });
        }

        // The last ends may still be on their way through the forwarder.
        let settled = (0..200).any(|_| {
            thread::sleep(std::time::Duration::from_millis(10));
            open() <= before
        });
        assert!(settled, "{before} descriptors became {}", open());
        drop(driver);
    });
}

#[test]
fn datagrams_of_many_clients_come_back_to_whom_they_belong() {
    in_host(|host| {
        let _echo = host.netns().udp_echo(53);
        let (number, _driver) = forward(host, 53, Udp);
        let clients: Vec<UdpSocket> = (0..40)
            .map(|_| {
                let socket = UdpSocket::bind((LOOPBACK, 0)).unwrap();
                socket.connect((LOOPBACK, number)).unwrap();
                socket
                    .set_read_timeout(Some(std::time::Duration::from_secs(5)))
                    .unwrap();
                socket
            })
            .collect();

        for (index, client) in clients.iter().enumerate() {
            client.send(format!("datagram {index}").as_bytes()).unwrap();
        }

        for (index, client) in clients.iter().enumerate() {
            let mut buffer = [0; 64];
            let count = client.recv(&mut buffer).unwrap();
            let text = String::from_utf8_lossy(&buffer[..count]).into_owned();
            assert_eq!(text, format!("127.0.0.1\ndatagram {index}"));
        }
        assert!(matches!(udp(LOOPBACK, number), support::Outcome::Seen(_)));
    });
}
