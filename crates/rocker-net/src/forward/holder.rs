//! Who holds a port.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};

use rocker_types::Protocol;

/// A process that holds a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    pid: u32,
    name: String,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} ({})", self.pid, self.name)
    }
}

/// Looks for the process with a socket on `address`. For an error message only: it reads all
/// of `/proc`, and what it finds may be gone.
pub(super) fn find_holder(protocol: Protocol, address: SocketAddrV4) -> Option<Holder> {
    let inode = ["", "6"].iter().find_map(|version| {
        let path = format!("/proc/thread-self/net/{protocol}{version}");
        let table = fs_err::read_to_string(path).ok()?;
        table
            .lines()
            .skip(1)
            .find_map(|line| inode_of(line, protocol, address))
    })?;
    let wanted = format!("socket:[{inode}]");
    fs_err::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        has_open(pid, &wanted).then(|| Holder {
            pid,
            name: name_of(pid),
        })
    })
}

fn has_open(pid: u32, wanted: &str) -> bool {
    let Ok(descriptors) = fs_err::read_dir(format!("/proc/{pid}/fd")) else {
        return false;
    };
    descriptors
        .flatten()
        .filter_map(|entry| fs_err::read_link(entry.path()).ok())
        .any(|link| link.as_os_str() == wanted)
}

/// The process's name; a process chooses it freely, so only printable text is shown.
fn name_of(pid: u32) -> String {
    let name = fs_err::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    name.trim()
        .chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}

/// The inode of the socket in one line of `/proc/net/tcp` and its like, if it holds `address`.
fn inode_of(line: &str, protocol: Protocol, address: SocketAddrV4) -> Option<u64> {
    /// `TCP_LISTEN`.
    const LISTEN: &str = "0A";
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (local, state, inode) = (fields.get(1)?, fields.get(3)?, fields.get(9)?);
    let (host, port) = local.split_once(':')?;
    let same_port = u16::from_str_radix(port, 16).ok()? == address.port();
    let listens = protocol == Protocol::Udp || *state == LISTEN;
    if !same_port || !listens || !overlaps(host, *address.ip()) {
        return None;
    }
    inode.parse().ok()
}

/// Whether a socket on `host` (hexadecimal, in the machine's byte order) and one on `address`
/// exclude each other.
fn overlaps(host: &str, address: Ipv4Addr) -> bool {
    if host.bytes().all(|digit| digit == b'0') || address.is_unspecified() {
        return true;
    }
    // The last eight digits of an IPv6 address are those of the IPv4 address mapped into it.
    let Some(digits) = host
        .len()
        .checked_sub(8)
        .and_then(|start| host.get(start..))
    else {
        return false;
    };
    u32::from_str_radix(digits, 16).is_ok_and(|bits| bits.to_ne_bytes() == address.octets())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_holds_a_port_when_its_address_covers_it() {
        let tcp = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4242 1 0 100 0 0 10 0";
        let established = tcp.replace(" 0A ", " 01 ");
        let any6 = "   1: 00000000000000000000000000000000:1F90 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 77 1 0 100 0 0 10 0";
        let cases = [
            (tcp, [127, 0, 0, 1], 8080, Some(4242)),
            (tcp, [0, 0, 0, 0], 8080, Some(4242)),
            (tcp, [10, 0, 0, 1], 8080, None),
            (tcp, [127, 0, 0, 1], 8081, None),
            (established.as_str(), [127, 0, 0, 1], 8080, None),
            (any6, [10, 0, 0, 1], 8080, Some(77)),
            ("", [127, 0, 0, 1], 8080, None),
        ];
        for (line, ip, port, expected) in cases {
            let address = SocketAddrV4::new(ip.into(), port);
            assert_eq!(
                inode_of(line, Protocol::Tcp, address),
                expected,
                "{line} {address}"
            );
        }
    }

    #[test]
    fn a_port_of_this_process_is_found_by_its_number() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, listener.local_addr().unwrap().port());

        let holder = find_holder(Protocol::Tcp, address).unwrap();

        assert_eq!(holder.pid, std::process::id());
    }
}
