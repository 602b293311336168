//! A private world per test: a "host" network namespace, containers, and an "internet".
//!
//! A network namespace belongs to a thread, so a test is a thread that left the real one.
//! Nothing here touches the machine's own network.

use std::fmt::Debug;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use nix::sched::{CloneFlags, setns, unshare};
use rocker_net::{Attachment, BridgeConfig, Census, HostInterface, attach, detach};
use rocker_types::{ContainerId, Protocol, PublishedPort};

/// A refusal or an answer comes at once; only a dropped packet takes this long.
const PATIENCE: Duration = Duration::from_secs(2);
/// So long does an answer take that is to come, on a machine with much else to do: a port of the
/// bridge passes packets when a worker of the kernel has seen it come up, and TCP tries again after
/// one second and after three.
const LONG_PATIENCE: Duration = Duration::from_secs(30);

/// Whether the test may run; says why not, and fails then if the suite is strict.
pub(crate) fn privileged() -> bool {
    let missing = if !nix::unistd::geteuid().is_root() {
        "root"
    } else if Command::new("nft").arg("--version").output().is_err() {
        "the nft program"
    } else if Command::new("ip").arg("-V").output().is_err() {
        "the ip program"
    } else {
        return true;
    };
    println!("skipped: needs {missing}");
    assert!(
        std::env::var_os("ROCKER_TEST_STRICT").is_none(),
        "needs {missing}"
    );
    false
}

/// A network namespace.
#[derive(Clone, Debug)]
pub(crate) struct Netns(Arc<OwnedFd>);

impl Netns {
    /// A new one with loopback up.
    pub(crate) fn new() -> Self {
        let made = thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            current()
        });
        Self(Arc::new(made.join().unwrap()))
    }

    /// Runs `work` in it, on a thread of its own.
    pub(crate) fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let worker = scope.spawn(|| {
                setns(self.0.as_fd(), CloneFlags::CLONE_NEWNET).unwrap();
                work()
            });
            worker
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Runs `work` in it until the returned service is dropped.
    fn serve(&self, work: impl FnOnce(&AtomicBool) + Send + 'static) -> Service {
        let stop = Arc::new(AtomicBool::new(false));
        let (netns, flag) = (self.clone(), Arc::clone(&stop));
        let thread = thread::spawn(move || netns.run(|| work(&flag)));
        Service {
            stop,
            thread: Some(thread),
        }
    }

    pub(crate) fn fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// A path that other programs can open it by.
    pub(crate) fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }

    /// Answers every connection with the client's address and a newline, then what it says.
    pub(crate) fn tcp_echo(&self, port: u16) -> Service {
        let listener = self.run(|| TcpListener::bind(("0.0.0.0", port)).unwrap());
        listener.set_nonblocking(true).unwrap();
        self.serve(move |stop| {
            while !stop.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok((stream, client)) => {
                        thread::spawn(move || echo(stream, client));
                    }
                    Err(_) => wait_readable(listener.as_fd()),
                }
            }
        })
    }

    /// Answers every datagram with the client's address, a newline, and the datagram.
    pub(crate) fn udp_echo(&self, port: u16) -> Service {
        let socket = self.run(|| UdpSocket::bind(("0.0.0.0", port)).unwrap());
        socket
            .set_read_timeout(Some(Duration::from_millis(100)))
            .unwrap();
        self.serve(move |stop| {
            let mut buffer = [0; 2048];
            while !stop.load(Ordering::Relaxed) {
                if let Ok((count, client)) = socket.recv_from(&mut buffer) {
                    let mut answer = format!("{}\n", client.ip()).into_bytes();
                    answer.extend_from_slice(&buffer[..count]);
                    let _lost = socket.send_to(&answer, client);
                }
            }
        })
    }
}

fn wait_readable(fd: std::os::fd::BorrowedFd<'_>) {
    let mut fds = [nix::poll::PollFd::new(fd, nix::poll::PollFlags::POLLIN)];
    let _ready = nix::poll::poll(&mut fds, nix::poll::PollTimeout::from(100u8));
}

fn echo(mut stream: TcpStream, client: SocketAddr) {
    stream.set_nonblocking(false).unwrap();
    if stream
        .write_all(format!("{}\n", client.ip()).as_bytes())
        .is_err()
    {
        return;
    }
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        if stream.write_all(&buffer[..count]).is_err() {
            return;
        }
    }
}

fn current() -> OwnedFd {
    ip("link set lo up");
    std::fs::OpenOptions::new()
        .read(true)
        .open("/proc/thread-self/ns/net")
        .unwrap()
        .into()
}

/// Something that runs until it is dropped.
pub(crate) struct Service {
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Drop for Service {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ended = thread.join();
        }
    }
}

/// Runs a program in the calling thread's network namespace and returns what it prints.
pub(crate) fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

/// `ip`, its arguments separated by spaces.
pub(crate) fn ip(arguments: &str) -> String {
    run("ip", &arguments.split_whitespace().collect::<Vec<_>>())
}

/// The host of one test: its network namespace, where `work` runs.
pub(crate) fn in_host(work: impl FnOnce(&Host) + Send) {
    if !privileged() {
        return;
    }
    Netns::new().run(|| {
        let host = Host::new();
        let before = leftovers();
        work(&host);
        assert_eq!(leftovers(), before, "something was left behind");
    });
}

/// Links and firewall rules of the calling thread's network namespace.
pub(crate) fn leftovers() -> (Vec<String>, String) {
    let links = ip("-o link");
    let links = links
        .lines()
        .map(|line| line.split_whitespace().nth(1).unwrap().to_owned());
    (links.collect(), run("nft", &["-s", "list", "ruleset"]))
}

/// The test's host. It has the address 203.0.113.1 towards [`Host::internet`], once that is made.
pub(crate) struct Host {
    directory: tempfile::TempDir,
    netns: Netns,
    next: Mutex<u8>,
}

pub(crate) const HOST_ADDRESS: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
pub(crate) const INTERNET_ADDRESS: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 2);

impl Host {
    fn new() -> Self {
        let own = std::fs::OpenOptions::new()
            .read(true)
            .open("/proc/thread-self/ns/net")
            .unwrap();
        Self {
            directory: tempfile::tempdir().unwrap(),
            netns: Netns(Arc::new(own.into())),
            next: Mutex::new(2),
        }
    }

    pub(crate) fn netns(&self) -> &Netns {
        &self.netns
    }

    pub(crate) fn bridge(&self) -> BridgeConfig {
        self.bridge_called("rocker0", "10.120.0.0/16")
    }

    pub(crate) fn bridge_called(&self, name: &str, subnet: &str) -> BridgeConfig {
        let lock = self.directory.path().join(format!("{name}.lock"));
        BridgeConfig::new(name.parse().unwrap(), subnet.parse().unwrap(), lock)
    }

    /// Deletes the directory of the locks as soon as somebody lingers.
    pub(crate) fn delete_locks_when_lingering(&self) {
        while !self.directory.path().join("rocker0.lock.linger").exists() {
            thread::yield_now();
        }
        for lock in fs_err::read_dir(self.directory.path()).unwrap() {
            fs_err::remove_file(lock.unwrap().path()).unwrap();
        }
        fs_err::remove_dir(self.directory.path()).unwrap();
    }

    /// What the next command after that begins with.
    pub(crate) fn make_directory_of_locks(&self) {
        fs_err::create_dir(self.directory.path()).unwrap();
    }

    /// A machine outside, which even has a route to the containers, as a hostile neighbour would.
    pub(crate) fn internet(&self) -> Netns {
        let outside = Netns::new();
        ip(&format!(
            "link add up0 type veth peer name eth0 netns {}",
            outside.path()
        ));
        ip(&format!("addr add {HOST_ADDRESS}/24 dev up0"));
        ip("link set up0 up");
        outside.run(|| {
            ip(&format!("addr add {INTERNET_ADDRESS}/24 dev eth0"));
            ip("link set eth0 up");
            ip(&format!("route add 10.120.0.0/16 via {HOST_ADDRESS}"));
            ip(&format!("route add 10.121.0.0/16 via {HOST_ADDRESS}"));
        });
        outside
    }

    pub(crate) fn container(&self, ports: &[PublishedPort]) -> Container {
        self.container_on(self.bridge(), ports)
    }

    pub(crate) fn container_on(&self, bridge: BridgeConfig, ports: &[PublishedPort]) -> Container {
        let netns = Netns::new();
        let attachment = self.attachment(bridge, ports);
        let interface = attach(&attachment, netns.fd()).unwrap().interface;
        Container {
            attachment,
            interface,
            netns,
        }
    }

    pub(crate) fn attachment(&self, bridge: BridgeConfig, ports: &[PublishedPort]) -> Attachment {
        let mut next = self.next.lock().unwrap();
        let number = *next;
        *next += 1;
        let [a, b, c, _] = bridge.subnet.address().octets();
        Attachment {
            container: ContainerId::from_bytes([number; 32]),
            address: Ipv4Addr::new(a, b, c, number),
            bridge,
            ports: ports.to_vec(),
        }
    }
}

/// What an installation is made to know.
#[derive(Default)]
pub(crate) struct Known {
    pub(crate) all_are_dead: bool,
    pub(crate) bridge_is_gone: bool,
}

impl Census for Known {
    fn is_dead(&mut self, _: &str) -> bool {
        self.all_are_dead
    }

    fn bridge_gone(&mut self) {
        self.bridge_is_gone = true;
    }
}

/// A container that is nothing but a network namespace on a bridge.
pub(crate) struct Container {
    pub(crate) attachment: Attachment,
    pub(crate) interface: HostInterface,
    pub(crate) netns: Netns,
}

impl Container {
    pub(crate) fn address(&self) -> Ipv4Addr {
        self.attachment.address
    }

    pub(crate) fn leave(self) {
        rocker_net::leave(&self.attachment).unwrap();
    }

    pub(crate) fn detach(self) {
        detach(&self.attachment).unwrap();
    }
}

pub(crate) fn port(
    host_ip: [u8; 4],
    host_port: u16,
    container_port: u16,
    protocol: Protocol,
) -> PublishedPort {
    PublishedPort {
        host_ip: host_ip.into(),
        host_port,
        container_port,
        protocol,
    }
}

/// What the calling thread's network namespace gets of an echo service: the address that the
/// service saw, after checking that the echo is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Answered; the service saw this address.
    Seen(Ipv4Addr),
    /// Refused at once: nobody listens, but packets arrive.
    Refused,
    /// No answer: packets are dropped.
    Silence,
}

/// What becomes of a connection that is to be answered or refused.
pub(crate) fn tcp(address: Ipv4Addr, port: u16) -> Outcome {
    tcp_within(address, port, LONG_PATIENCE)
}

/// What becomes of a connection whose packets are to be dropped.
pub(crate) fn tcp_briefly(address: Ipv4Addr, port: u16) -> Outcome {
    tcp_within(address, port, PATIENCE)
}

fn tcp_within(address: Ipv4Addr, port: u16, patience: Duration) -> Outcome {
    let target = SocketAddr::V4(SocketAddrV4::new(address, port));
    let mut stream = match TcpStream::connect_timeout(&target, patience) {
        Ok(stream) => stream,
        // A forwarder takes the connection before it learns that the port behind is closed.
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset
            ) =>
        {
            return Outcome::Refused;
        }
        Err(_) => return Outcome::Silence,
    };
    stream.set_read_timeout(Some(patience)).unwrap();
    if stream.write_all(b"hello").is_err() || stream.shutdown(std::net::Shutdown::Write).is_err() {
        return Outcome::Refused;
    }
    let mut answer = String::new();
    match stream.read_to_string(&mut answer) {
        Ok(_) => seen(&answer),
        Err(error) if error.kind() == ErrorKind::ConnectionReset => Outcome::Refused,
        Err(error) => panic!("{target}: {error}, after {answer:?}"),
    }
}

pub(crate) fn udp(address: Ipv4Addr, port: u16) -> Outcome {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.connect((address, port)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.send(b"hello").unwrap();
    let mut buffer = [0; 64];
    match socket.recv(&mut buffer) {
        Ok(count) => seen(std::str::from_utf8(&buffer[..count]).unwrap()),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Outcome::Refused,
        Err(_) => Outcome::Silence,
    }
}

fn seen(answer: &str) -> Outcome {
    match answer.split_once('\n') {
        Some((address, "hello")) => Outcome::Seen(address.parse().unwrap()),
        // The container closed without a word: its port is closed behind the forwarder.
        None if answer.is_empty() => Outcome::Refused,
        other => panic!("garbled echo: {other:?}"),
    }
}

/// Drives a forwarder until it is dropped, as the monitor does.
pub(crate) fn drive(netns: &Netns, mut forwarder: rocker_net::PortForwarder) -> Service {
    netns.serve(move |stop| {
        while !stop.load(Ordering::Relaxed) {
            wait_readable(forwarder.as_fd());
            forwarder.drive();
        }
    })
}
