//! Proxies: which requests go through one, and what is said where it leads nowhere.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use rocker_testkit::image::ImageBuilder;
use rocker_testkit::registry::{Auth, Distribution, Entrance, Registry, certificate};
use rocker_testkit::{Host, require};

use crate::host;
use crate::reach::{away_from_loopback, insecure};

/// What a proxy of the tests does with `CONNECT`.
#[derive(Clone)]
enum Tunnel {
    /// Leads all to this address.
    To(String),
    /// Answers with this status.
    Refuse(&'static str),
}

/// A proxy on an address of this host that is not loopback, and the first lines that it hears.
fn proxy(tunnel: Tunnel) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind((Host::ADDRESS, 0)).expect("a free port");
    let address = listener.local_addr().expect("an address").to_string();
    let heard = Arc::new(Mutex::default());
    let lines: Arc<Mutex<Vec<String>>> = Arc::clone(&heard);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (tunnel, lines) = (tunnel.clone(), Arc::clone(&lines));
            std::thread::spawn(move || carry(stream, &tunnel, &lines));
        }
    });
    (format!("http://{address}"), heard)
}

fn carry(stream: TcpStream, tunnel: &Tunnel, heard: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(stream.try_clone().expect("a copy"));
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).is_ok_and(|read| read > 0) {}
    let first = head.lines().next().unwrap_or_default().to_owned();
    heard.lock().expect("nobody panicked").push(first.clone());
    let mut client = stream;
    let mut words = first.split(' ');
    let (method, target) = (
        words.next().unwrap_or_default(),
        words.next().unwrap_or_default(),
    );
    if method != "CONNECT" {
        // a request for what it names whole
        let rest = target.trim_start_matches("http://");
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let mut server = TcpStream::connect(host).expect("the registry");
        let head = head.replacen(target, &format!("/{path}"), 1);
        let head = head.replacen("\r\n", "\r\nConnection: close\r\n", 1);
        server.write_all(head.as_bytes()).expect("it reads");
        pass(server, client);
        return;
    }
    match tunnel {
        Tunnel::Refuse(status) => {
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
            let _gone = client.write_all(answer.as_bytes());
        }
        Tunnel::To(address) => {
            let server = TcpStream::connect(address).expect("the registry");
            client
                .write_all(b"HTTP/1.1 200 OK\r\n\r\n")
                .expect("it reads");
            let (from, to) = (client.try_clone(), server.try_clone());
            let (from, to) = (from.expect("a copy"), to.expect("a copy"));
            std::thread::spawn(move || pass(from, to));
            pass(server, client);
        }
    }
}

/// Until one side has enough.
fn pass(mut from: impl Read, mut to: impl Write) {
    let _end = std::io::copy(&mut from, &mut to);
}

#[test]
fn a_proxy_is_used_for_what_is_not_excepted() {
    let host = require!(host());
    let registry = away_from_loopback(Auth::Open);
    let reference = registry.push("app:1", &ImageBuilder::busybox().build());
    let config = insecure(&host, &registry.host());
    let (address, heard) = proxy(Tunnel::Refuse("403 Forbidden"));
    let (address, subnet) = (address.as_str(), format!("{}/24", Host::ADDRESS));
    for (variables, used) in [
        (&[("HTTP_PROXY", address)][..], true),
        (&[("http_proxy", address)], true),
        (&[("ALL_PROXY", address)], true),
        (&[("HTTPS_PROXY", address)], false),
        (&[("HTTP_PROXY", address), ("NO_PROXY", "192.0.2.1")], false),
        (
            &[("HTTP_PROXY", address), ("no_proxy", subnet.as_str())],
            false,
        ),
        (&[("http_proxy", address), ("NO_PROXY", "*")], false),
    ] {
        heard.lock().expect("nobody panicked").clear();
        let command = host
            .command(["pull", "-q", &reference])
            .env("ROCKER_CONFIG", &config);
        let command = variables
            .iter()
            .fold(command, |command, (name, value)| command.env(name, value));
        let pulled = command.run();
        assert_eq!(pulled.exit_code, 0, "{variables:?} {pulled:?}");
        let count = heard.lock().expect("nobody panicked").len();
        assert_eq!(count > 0, used, "{variables:?}");
        host.ok(["rmi", &reference]);
    }
    host.assert_nothing_left_behind();
}

#[test]
fn tls_goes_through_a_proxy_that_learns_the_name_alone() {
    let host = require!(host());
    let tls = require!(certificate(&host.scratch()));
    let certificates = host.scratch().join("certs");
    fs_err::create_dir(&certificates).expect("a directory");
    fs_err::copy(&tls.0, certificates.join("ca.crt")).expect("a copy");
    let entrance = Entrance {
        tls: Some(tls),
        ..Entrance::default()
    };
    let server = require!(Distribution::start_with(&host.scratch(), 5000, &entrance));
    // nobody but the proxy knows where that is
    let name = "registry.test:5000/app:1";
    let directory = certificates.to_string_lossy().into_owned();
    let through = |proxy: &str, words: &[&str]| {
        let command = host.command(words.iter().copied());
        let command = command.args(["--cert-dir", &directory]);
        command.env("HTTPS_PROXY", proxy).run()
    };
    let image = ImageBuilder::busybox().build();
    let origin = Registry::start();
    host.ok(["pull", "-q", &origin.push("app:1", &image)]);
    host.ok(["tag", &format!("{}/app:1", origin.host()), name]);
    let (address, heard) = proxy(Tunnel::To(server.host().to_owned()));

    let pushed = through(&address, &["push", name]);
    assert!(pushed.stdout.contains(&image.manifest.digest), "{pushed:?}");
    let id = host.ok(["images", "-q"]);
    host.ok(["rmi", "-f", &id]);
    let pulled = through(&address, &["pull", "-q", name]);
    assert_eq!(pulled.exit_code, 0, "{pulled:?}");
    let heard = heard.lock().expect("nobody panicked").clone();
    let all = heard
        .iter()
        .all(|line| line.starts_with("CONNECT registry.test:5000 "));
    assert!(all && !heard.is_empty(), "{heard:?}");
    host.ok(["rmi", name]);

    drop(server);
    host.assert_nothing_left_behind();
}

#[test]
fn a_proxy_that_leads_nowhere_is_told_once_and_without_its_password() {
    let host = require!(host());
    let through = |proxy: &str| {
        let command = host.command(["pull", "registry.test:5000/app:1"]);
        command.env("HTTPS_PROXY", proxy).run()
    };
    for (status, says) in [
        ("403 Forbidden", "proxy"),
        ("407 Proxy Authentication Required", "proxy"),
    ] {
        let (address, heard) = proxy(Tunnel::Refuse(status));
        let refused = through(&address);
        assert_eq!(refused.exit_code, 1, "{refused:?}");
        assert!(refused.stderr.contains(says), "{status} {refused:?}");
        assert!(refused.stderr.contains("hint: "), "{status} {refused:?}");
        assert_eq!(
            heard.lock().expect("nobody panicked").len(),
            1,
            "{refused:?}"
        );
    }
    for (value, says) in [
        ("socks5://127.0.0.1:1", "HTTPS_PROXY"),
        ("http://", "HTTPS_PROXY"),
        ("http://user:hunter2@127.0.0.1:1", "refused"),
    ] {
        let refused = through(value);
        assert_eq!(refused.exit_code, 1, "{refused:?}");
        assert!(refused.stderr.contains(says), "{value} {refused:?}");
        assert!(!refused.stderr.contains("hunter2"), "{refused:?}");
    }
    host.assert_nothing_left_behind();
}
