//! bridge, none, host; addresses, names, published ports, the way out.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::sched::{CloneFlags, setns};
use rocker_testkit::host::run_program;
use rocker_testkit::{Host, require};
use rustix::event::{PollFd, PollFlags, poll};

use crate::{host, inspect, shell};

/// A web server in the container that answers every request with the file /www/index.html.
const WEB: &str =
    "mkdir /www && echo hello from $(hostname) >/www/index.html && exec httpd -f -p 80 -h /www";

/// What a `GET /` to `address` brings, or the error's text.
fn get(address: SocketAddr) -> String {
    let fetch = || {
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        std::io::Result::Ok(answer)
    };
    fetch().unwrap_or_else(|error| error.to_string())
}

/// Starts the web server and waits until it listens.
fn start_web(host: &Host, flags: &[&str], image: &str) {
    host.ok([&["run", "-d"][..], flags, &[image, "sh", "-c", WEB]].concat());
    let name = flags[1];
    host.ok([
        "exec",
        name,
        "sh",
        "-c",
        "until wget -q -O /dev/null http://127.0.0.1/; do usleep 10000; done 2>/dev/null",
    ]);
}

#[test]
fn a_published_port_answers_on_loopback_and_on_the_hosts_address() {
    let host = require!(host());
    let image = host.busybox();

    start_web(
        &host,
        &[
            "--name",
            "web",
            "--hostname",
            "webbox",
            "-p",
            "8080:80",
            "-p",
            "127.0.0.1:8081:80",
        ],
        &image,
    );

    let everywhere = |ip: Ipv4Addr, port| get(SocketAddr::from((ip, port)));
    assert!(
        everywhere(Ipv4Addr::LOCALHOST, 8080).contains("hello from webbox"),
        "{}",
        everywhere(Ipv4Addr::LOCALHOST, 8080)
    );
    assert!(
        everywhere(Host::ADDRESS, 8080).contains("hello from webbox"),
        "{}",
        everywhere(Host::ADDRESS, 8080)
    );
    assert!(
        everywhere(Ipv4Addr::LOCALHOST, 8081).contains("hello from webbox"),
        "{}",
        everywhere(Ipv4Addr::LOCALHOST, 8081)
    );
    assert!(
        !everywhere(Host::ADDRESS, 8081).contains("hello"),
        "published on loopback only"
    );
    assert_eq!(
        host.ok(["ps", "--format", "{{.Ports}}"]),
        "0.0.0.0:8080->80/tcp, 127.0.0.1:8081->80/tcp"
    );

    host.ok(["rm", "-f", "web"]);
    assert!(
        !everywhere(Ipv4Addr::LOCALHOST, 8080).contains("hello"),
        "closed with the container"
    );
    host.assert_nothing_left_behind();
}

#[test]
fn a_port_that_is_taken_is_refused_and_the_holder_named() {
    let host = require!(host());
    let image = host.busybox();
    let _taken = TcpListener::bind("127.0.0.1:9090").expect("a free port");
    host.ok([
        "run", "-d", "--name", "holder", "-p", "9091:80", &image, "sleep", "1000",
    ]);

    let by_stranger = host.rocker(["run", "--rm", "-p", "9090:80", &image, "true"]);
    let by_container = host.rocker(["run", "--rm", "-p", "9091:80", &image, "true"]);

    assert_eq!(by_stranger.exit_code, 125, "{by_stranger:?}");
    assert!(by_stranger.stderr.contains("9090"), "{by_stranger:?}");
    assert_eq!(by_container.exit_code, 125, "{by_container:?}");
    assert!(
        by_container.stderr.contains("9091") && by_container.stderr.contains("holder"),
        "{by_container:?}"
    );
    host.ok(["rm", "-f", "holder"]);
    assert_eq!(
        host.ok(["run", "--rm", "-p", "9091:80", &image, "echo", "free again"]),
        "free again"
    );
    host.assert_nothing_left_behind();
}

#[test]
fn containers_on_the_bridge_reach_each_other() {
    let host = require!(host());
    let image = host.busybox();
    start_web(&host, &["--name", "web"], &image);
    let address = inspect(&host, "web", "{{.NetworkSettings.IPAddress}}");

    let fetched = host.ok([
        "run",
        "--rm",
        &image,
        "wget",
        "-q",
        "-O",
        "-",
        &format!("http://{address}/"),
    ]);

    assert!(fetched.starts_with("hello from"), "{fetched}");
    assert!(
        get(SocketAddr::new(address.parse().expect("an address"), 80)).contains("hello from"),
        "the host as well"
    );
    host.ok(["rm", "-f", "web"]);
    host.assert_nothing_left_behind();
}

#[test]
fn traffic_passes_where_another_tool_drops_forwarded_packets() {
    let host = require!(host());
    let image = host.busybox();
    // What dockerd leaves on a machine: policy DROP on FORWARD.
    run_program(&[
        "nft",
        "add table ip filter; add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }",
    ]);
    let outside = Outside::start();
    start_web(&host, &["--name", "web", "-p", "8080:80"], &image);
    let address = inspect(&host, "web", "{{.NetworkSettings.IPAddress}}");

    let between = host.rocker([
        "run",
        "--rm",
        &image,
        "wget",
        "-q",
        "-O",
        "-",
        &format!("http://{address}/"),
    ]);
    let out = host.rocker(shell(&[], &image, &outside.fetch()));
    let inward = outside.get(SocketAddr::from((Host::ADDRESS, 8080)));

    assert!(between.stdout.starts_with("hello from"), "{between:?}");
    assert!(
        out.stdout.contains(&Host::ADDRESS.to_string()),
        "the way out, with the host's address: {out:?}"
    );
    assert!(inward.contains("hello from"), "{inward}");
    host.ok(["rm", "-f", "web"]);
    drop(outside);
    run_program(&["nft", "delete table ip filter"]);
    host.assert_nothing_left_behind();
}

#[test]
fn a_container_reaches_the_outside_with_the_hosts_address() {
    let host = require!(host());
    let image = host.busybox();
    let outside = Outside::start();

    let seen = host.ok(shell(&[], &image, &outside.fetch()));

    assert_eq!(seen, format!("you are {}", Host::ADDRESS));
    drop(outside);
    host.assert_nothing_left_behind();
}

#[test]
fn none_has_only_loopback_and_host_has_the_hosts_links() {
    let host = require!(host());
    let image = host.busybox();
    let links = "cd /sys/class/net; echo *; cat /proc/net/dev | tail -n +3 | cut -d: -f1 | tr -d ' ' | sort | xargs";

    let none = host.ok(shell(&["--network", "none"], &image, links));
    let bridge = host.ok(shell(&[], &image, links));
    let of_host = host.ok(shell(
        &["--network", "host"],
        &image,
        "ip -o link | grep -c uplink0",
    ));
    let loopback = host.ok(shell(
        &["--network", "none"],
        &image,
        "ip -o link show lo | grep -c LOOPBACK,UP",
    ));

    assert_eq!(none, "lo\nlo");
    assert_eq!(bridge, "eth0 lo\neth0 lo");
    assert_eq!(of_host, "1");
    assert_eq!(loopback, "1");
    host.assert_nothing_left_behind();
}

#[test]
fn resolv_conf_hosts_and_hostname_are_made_for_the_container() {
    let host = require!(host());
    let image = host.busybox();

    let id = host.ok(["run", "-d", &image, "sleep", "1000"]);
    let read = |path: &str| host.ok(["exec", &id, "cat", path]);
    let address = inspect(&host, &id, "{{.NetworkSettings.IPAddress}}");

    assert_eq!(read("/etc/hostname"), id[..12]);
    let hosts = read("/etc/hosts").replace('\t', " ");
    assert!(
        hosts.contains("127.0.0.1 localhost")
            && hosts.contains(&format!("{address} {}", &id[..12])),
        "{hosts}"
    );
    let of_host = fs_err::read_to_string("/etc/resolv.conf").expect("the host's resolv.conf");
    let loopback_only = of_host
        .lines()
        .filter(|line| line.starts_with("nameserver"))
        .all(|line| line.contains(" 127."));
    if !loopback_only {
        for line in of_host
            .lines()
            .filter(|line| line.starts_with("nameserver") && !line.contains(" 127."))
        {
            assert!(read("/etc/resolv.conf").contains(line), "{line}");
        }
    }
    // The container may fill it, but not the tmpfs that the live database needs.
    let path = inspect(&host, &id, "{{.HostsPath}}");
    assert!(
        std::path::Path::new(&path).starts_with(host.root()),
        "{path}"
    );
    host.ok(["rm", "-f", &id]);
    host.assert_nothing_left_behind();
}

#[test]
fn an_address_is_used_by_one_container_at_a_time() {
    let host = require!(host());
    let image = host.busybox();

    let ids: Vec<_> = (0..5)
        .map(|_| host.ok(["run", "-d", &image, "sleep", "1000"]))
        .collect();
    let mut addresses: Vec<_> = ids
        .iter()
        .map(|id| inspect(&host, id, "{{.NetworkSettings.IPAddress}}"))
        .collect();
    addresses.sort();
    addresses.dedup();

    assert_eq!(addresses.len(), 5, "{addresses:?}");
    host.ok(["rm", "-f"]
        .into_iter()
        .chain(ids.iter().map(String::as_str)));
    host.assert_nothing_left_behind();
}

/// A second machine: a network namespace joined to the host's by a veth pair, in which a server
/// tells each caller its address.
struct Outside {
    server: Option<std::thread::JoinHandle<()>>,
    /// Dropped to end the server.
    stop: Option<UnixStream>,
}

impl Outside {
    const ADDRESS: &str = "192.0.2.2";
    const NAME: &str = "outside";

    fn start() -> Self {
        // In the test's own mount namespace, so that the name is not seen by other tests.
        run_program(&["mkdir", "-p", "/run/netns"]);
        run_program(&["mount", "-t", "tmpfs", "netns", "/run/netns"]);
        run_program(&["ip", "netns", "add", Self::NAME]);
        run_program(&[
            "ip",
            "link",
            "add",
            "to-outside",
            "type",
            "veth",
            "peer",
            "name",
            "eth0",
            "netns",
            Self::NAME,
        ]);
        run_program(&[
            "ip",
            "link",
            "set",
            "to-outside",
            "master",
            "uplink0",
            "addrgenmode",
            "none",
        ]);
        run_program(&["ip", "link", "set", "to-outside", "up"]);
        for words in [
            &["address", "add", "192.0.2.2/24", "dev", "eth0"][..],
            &["link", "set", "eth0", "up"],
            &["link", "set", "lo", "up"],
        ] {
            run_program(&[&["ip", "-n", Self::NAME], words].concat());
        }
        let (stop, stopped) = UnixStream::pair().expect("a pair of sockets");
        let (ready, is_ready) = std::sync::mpsc::channel();
        let server = std::thread::spawn(move || {
            enter_outside();
            let listener = TcpListener::bind("0.0.0.0:7").expect("a free port");
            ready.send(()).expect("the test waits");
            tell_callers_their_address(&listener, &stopped);
        });
        is_ready.recv().expect("the server listens");
        Self {
            server: Some(server),
            stop: Some(stop),
        }
    }

    /// A shell command for a container that prints what the server says.
    fn fetch(&self) -> String {
        format!("nc -w 5 {} 7 </dev/null", Self::ADDRESS)
    }

    /// What a `GET /` from outside brings.
    fn get(&self, address: SocketAddr) -> String {
        let fetch = move || {
            enter_outside();
            get(address)
        };
        std::thread::spawn(fetch).join().expect("a thread outside")
    }
}

/// Moves this thread, which must not be the test's own, into the other namespace.
fn enter_outside() {
    let namespace = fs_err::File::open("/run/netns/outside").expect("the namespace's name");
    setns(&namespace, CloneFlags::CLONE_NEWNET).expect("the namespace");
}

fn tell_callers_their_address(listener: &TcpListener, stopped: &UnixStream) {
    loop {
        let mut ready = [
            PollFd::new(listener, PollFlags::IN),
            PollFd::new(stopped, PollFlags::IN),
        ];
        poll(&mut ready, None).expect("poll");
        if !ready[1].revents().is_empty() {
            return;
        }
        let (mut stream, peer) = listener.accept().expect("a caller");
        // A caller that goes away early is nobody's failure here.
        let _ = writeln!(stream, "you are {}", peer.ip());
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(server) = self.server.take() {
            server.join().expect("the server ends in peace");
        }
        run_program(&["ip", "link", "delete", "to-outside"]);
        run_program(&["ip", "netns", "delete", Self::NAME]);
        run_program(&["umount", "/run/netns"]);
    }
}

#[test]
fn published_ports_that_somebody_flushed_come_back_with_the_next_container() {
    let host = require!(host());
    let image = host.busybox();
    start_web(&host, &["--name", "web", "-p", "8080:80"], &image);
    let rules = || run_program(&["nft", "-s", "list ruleset"]);
    let before = rules();
    run_program(&["nft", "flush ruleset"]);

    host.ok(["run", "--rm", &image, "true"]);

    assert!(before.contains("tcp . 8080"), "{before}");
    assert_eq!(rules(), before);
    host.ok(["rm", "-f", "web"]);
    host.assert_nothing_left_behind();
}
