//! Forgetting where UDP clients of a published port were redirected.
//!
//! Connection tracking redirects by its memory, not by our maps: a UDP client that never falls
//! silent would be sent to the container that had the port before (or, if it began before the
//! port was published, to nobody), for ever. TCP heals itself by a reset.

use std::net::Ipv4Addr;

use rocker_types::{Protocol, PublishedPort};

use crate::address::Ipv4Net;
use crate::netlink::{Batch, NetlinkError, Reply, RouteSocket, Socket, attributes_of, flag};

/// `NFNL_SUBSYS_CTNETLINK << 8`, plus `IPCTNL_MSG_CT_GET` or `…_DELETE`.
const GET: u16 = 0x101;
const DELETE: u16 = 0x102;
/// `struct nfgenmsg`: `AF_INET`, version 0, no resource.
const IPV4: [u8; 4] = [2, 0, 0, 0];

const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_ID: u16 = 12;
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_IP_V4_SRC: u16 = 1;
const CTA_IP_V4_DST: u16 = 2;
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_DST_PORT: u16 = 3;
/// `NLA_F_NESTED`.
const NESTED: u16 = 0x8000;

/// Deletes what connection tracking remembers of UDP clients of `ports`, which containers of
/// `subnet` published. Reads the whole memory, so it costs nothing only where no UDP port is
/// published.
///
/// That there is nothing to delete, or that the kernel cannot list it, is no error: the
/// entries expire, only later.
pub(crate) fn forget_udp_clients(ports: &[PublishedPort], subnet: Ipv4Net) {
    let udp: Vec<&PublishedPort> = ports
        .iter()
        .filter(|port| port.protocol == Protocol::Udp)
        .collect();
    if udp.is_empty() {
        return;
    }
    if let Err(error) = forget(&udp, subnet) {
        tracing::debug!(%error, "UDP clients keep their old redirection until they fall silent");
    }
}

fn forget(ports: &[&PublishedPort], subnet: Ipv4Net) -> Result<(), NetlinkError> {
    let local = RouteSocket::open()?.addresses()?;
    let is_ours =
        |entry: &Entry| entry.is_redirected_into(subnet) || local.contains(&entry.destination);
    let socket = Socket::netfilter()?;
    let mut query = Batch::default();
    query.push("list tracked connections", GET, flag::DUMP, |body| {
        body.extend(IPV4)
    });
    let entries: Vec<Entry> = socket
        .exchange(query)?
        .iter()
        .filter_map(Entry::of)
        .filter(|entry| ports.iter().any(|port| entry.is_to(port)) && is_ours(entry))
        .collect();
    for entry in entries {
        let mut batch = Batch::default();
        batch.push("forget a tracked connection", DELETE, flag::ACK, |body| {
            body.extend(IPV4);
            append(body, CTA_TUPLE_ORIG | NESTED, &entry.tuple);
            append(body, CTA_ID, &entry.id);
        });
        match socket.exchange(batch) {
            Err(error) if error.errno() != Some(rustix::io::Errno::NOENT) => return Err(error),
            // Deleted, or expired meanwhile.
            _ => {}
        }
    }
    Ok(())
}

fn append(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
    body.extend_from_slice(&length.to_ne_bytes());
    body.extend_from_slice(&kind.to_ne_bytes());
    body.extend_from_slice(value);
    body.resize(body.len().next_multiple_of(4), 0);
}

/// A tracked connection.
#[derive(Debug, PartialEq, Eq)]
struct Entry {
    /// How its first packet was addressed, as the kernel encodes it.
    tuple: Vec<u8>,
    id: Vec<u8>,
    protocol: u8,
    destination: Ipv4Addr,
    port: u16,
    /// Who answers; another than the destination if the packets are redirected.
    answers: Ipv4Addr,
}

impl Entry {
    fn of(reply: &Reply) -> Option<Self> {
        let find = |bytes, wanted| attributes_of(bytes).find(|(kind, _)| *kind == wanted);
        let attributes = reply.body.get(4..)?;
        let (_, tuple) = find(attributes, CTA_TUPLE_ORIG)?;
        let (_, reply) = find(attributes, CTA_TUPLE_REPLY)?;
        let (_, id) = find(attributes, CTA_ID)?;
        let address = |tuple, wanted| {
            let (_, addresses) = find(tuple, CTA_TUPLE_IP)?;
            let octets: [u8; 4] = *find(addresses, wanted)?.1.first_chunk()?;
            Some(Ipv4Addr::from(octets))
        };
        let (_, transport) = find(tuple, CTA_TUPLE_PROTO)?;
        Some(Self {
            tuple: tuple.to_vec(),
            id: id.to_vec(),
            protocol: *find(transport, CTA_PROTO_NUM)?.1.first()?,
            destination: address(tuple, CTA_IP_V4_DST)?,
            port: u16::from_be_bytes(*find(transport, CTA_PROTO_DST_PORT)?.1.first_chunk()?),
            answers: address(reply, CTA_IP_V4_SRC)?,
        })
    }

    fn is_to(&self, port: &PublishedPort) -> bool {
        self.protocol == port.protocol.number()
            && self.port == port.host_port
            && (port.host_ip.is_unspecified() || port.host_ip == self.destination)
    }

    /// What a container asks of a server elsewhere may well have the same port.
    fn is_redirected_into(&self, subnet: Ipv4Net) -> bool {
        self.answers != self.destination && subnet.contains(self.answers)
    }
}
