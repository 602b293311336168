//! The rtnetlink requests of a container's life: bridge, veth pair, addresses, routes.

use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsRawFd, BorrowedFd};

use netlink_packet_core::{Emitable, Parseable};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{
    InfoBridge, InfoBridgePort, InfoData, InfoKind, InfoPortData, InfoPortKind, InfoVeth,
    LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};

use super::error::NetlinkError;
use super::socket::flag::{ACK, CREATE, DUMP, EXCLUSIVE};
use super::socket::{Batch, Reply, Socket, attributes_of};
use crate::address::{Ipv4Net, Mac};
use crate::name::InterfaceName;

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
const RTM_SETLINK: u16 = 19;
const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
const RTM_NEWROUTE: u16 = 24;

/// A veth pair as one request makes it: the host's end is up and a port of `bridge`, the
/// container's end is `eth0` in the namespace behind `netns`, still down (the kernel brings
/// no pair up from one side: ENOTCONN).
#[derive(Debug)]
pub(crate) struct VethPlan<'a> {
    pub(crate) host: &'a InterfaceName,
    pub(crate) bridge_index: u32,
    pub(crate) netns: BorrowedFd<'a>,
    pub(crate) container_mac: Mac,
    pub(crate) mtu: Option<u32>,
}

/// What the container's end is called inside.
pub(crate) const CONTAINER_INTERFACE: &str = "eth0";

/// What matters of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) up: bool,
    /// Of a veth pair, the other end's index in its own namespace (`IFLA_LINK`).
    pub(crate) peer: Option<u32>,
}

/// One port of a bridge.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BridgePort {
    pub(crate) index: u32,
    pub(crate) name: String,
}

pub(crate) fn create_bridge(batch: &mut Batch, name: &InterfaceName, mac: Mac, mtu: Option<u32>) {
    let mut link = named(name);
    link.attributes
        .push(LinkAttribute::Address(mac.octets().to_vec()));
    link.attributes.extend(mtu.map(LinkAttribute::Mtu));
    // Without STP the bridge's timers have no use, and a port forwards from its first moment.
    link.attributes.push(LinkAttribute::LinkInfo(vec![
        LinkInfo::Kind(InfoKind::Bridge),
        LinkInfo::Data(InfoData::Bridge(vec![
            InfoBridge::ForwardDelay(0),
            InfoBridge::MulticastSnooping(false),
        ])),
    ]));
    push(
        batch,
        format!("create bridge {name}"),
        RTM_NEWLINK,
        CREATE | EXCLUSIVE | ACK,
        &link,
    );
}

pub(crate) fn create_veth(batch: &mut Batch, plan: &VethPlan<'_>) {
    let mut inner = LinkMessage::default();
    inner.attributes = vec![
        LinkAttribute::IfName(CONTAINER_INTERFACE.to_owned()),
        LinkAttribute::NetNsFd(plan.netns.as_raw_fd()),
        LinkAttribute::Address(plan.container_mac.octets().to_vec()),
    ];
    inner.attributes.extend(plan.mtu.map(LinkAttribute::Mtu));

    let mut link = named(plan.host);
    link.header.flags = LinkFlags::Up;
    link.header.change_mask = LinkFlags::Up;
    link.attributes
        .push(LinkAttribute::Controller(plan.bridge_index));
    link.attributes.extend(plan.mtu.map(LinkAttribute::Mtu));
    link.attributes.push(LinkAttribute::LinkInfo(vec![
        LinkInfo::Kind(InfoKind::Veth),
        LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(inner))),
    ]));
    let what = format!("create veth pair {} for the container", plan.host);
    push(batch, what, RTM_NEWLINK, CREATE | EXCLUSIVE | ACK, &link);
}

/// Lets a container reach its own published port through the host: the bridge otherwise
/// never sends a frame back out of the port that it came from.
pub(crate) fn set_port_hairpin(batch: &mut Batch, name: &InterfaceName) {
    let mut link = named(name);
    link.attributes.push(LinkAttribute::LinkInfo(vec![
        LinkInfo::PortKind(InfoPortKind::Bridge),
        LinkInfo::PortData(InfoPortData::BridgePort(vec![InfoBridgePort::HairpinMode(
            true,
        )])),
    ]));
    push(
        batch,
        format!("set hairpin mode of {name}"),
        RTM_NEWLINK,
        ACK,
        &link,
    );
}

pub(crate) fn set_link_up(batch: &mut Batch, index: u32) {
    let mut link = LinkMessage::default();
    link.header.index = index;
    link.header.flags = LinkFlags::Up;
    link.header.change_mask = LinkFlags::Up;
    push(
        batch,
        format!("bring interface {index} up"),
        RTM_SETLINK,
        ACK,
        &link,
    );
}

pub(crate) fn delete_link(batch: &mut Batch, name: &InterfaceName) {
    push(
        batch,
        format!("delete interface {name}"),
        RTM_DELLINK,
        ACK,
        &named(name),
    );
}

pub(crate) fn delete_link_at(batch: &mut Batch, index: u32) {
    let mut link = LinkMessage::default();
    link.header.index = index;
    push(
        batch,
        format!("delete interface {index}"),
        RTM_DELLINK,
        ACK,
        &link,
    );
}

pub(crate) fn add_address(batch: &mut Batch, index: u32, address: Ipv4Addr, net: Ipv4Net) {
    let mut message = AddressMessage::default();
    message.header.family = AddressFamily::Inet;
    message.header.prefix_len = net.prefix_len();
    message.header.index = index;
    message.attributes = vec![
        AddressAttribute::Local(IpAddr::V4(address)),
        AddressAttribute::Address(IpAddr::V4(address)),
        AddressAttribute::Broadcast(net.broadcast()),
    ];
    let what = format!(
        "give interface {index} the address {address}/{}",
        net.prefix_len()
    );
    push(batch, what, RTM_NEWADDR, CREATE | EXCLUSIVE | ACK, &message);
}

pub(crate) fn add_default_route(batch: &mut Batch, gateway: Ipv4Addr) {
    let mut message = RouteMessage::default();
    message.header.address_family = AddressFamily::Inet;
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = RouteProtocol::Boot;
    message.header.scope = RouteScope::Universe;
    message.header.kind = RouteType::Unicast;
    // The interface follows from the gateway, which the address just added made reachable.
    message.attributes = vec![RouteAttribute::Gateway(RouteAddress::Inet(gateway))];
    let what = format!("route everything to {gateway}");
    push(
        batch,
        what,
        RTM_NEWROUTE,
        CREATE | EXCLUSIVE | ACK,
        &message,
    );
}

fn named(name: &InterfaceName) -> LinkMessage {
    let mut link = LinkMessage::default();
    link.attributes = vec![LinkAttribute::IfName(name.as_str().to_owned())];
    link
}

fn push(batch: &mut Batch, what: String, kind: u16, flags: u16, message: &impl Emitable) {
    batch.push(what, kind, flags, |body| {
        let start = body.len();
        body.resize(start + message.buffer_len(), 0);
        message.emit(&mut body[start..]);
    });
}

/// A route socket in one network namespace.
#[derive(Debug)]
pub(crate) struct RouteSocket(Socket);

impl RouteSocket {
    /// Opens it in the caller's network namespace.
    pub(crate) fn open() -> Result<Self, NetlinkError> {
        Socket::route().map(Self)
    }

    /// Performs requests; the first refusal is the error.
    pub(crate) fn apply(&self, plan: impl FnOnce(&mut Batch)) -> Result<(), NetlinkError> {
        let mut batch = Batch::default();
        plan(&mut batch);
        self.0.exchange(batch).map(drop)
    }

    /// Makes a bridge and a veth pair in the socket's namespace, which the caller throws away.
    pub(crate) fn probe_links(&self) -> Result<(), NetlinkError> {
        for (name, kind) in [("probe0", InfoKind::Bridge), ("probe1", InfoKind::Veth)] {
            self.apply(|batch| {
                let mut link = LinkMessage::default();
                link.attributes = vec![
                    LinkAttribute::IfName(name.to_owned()),
                    LinkAttribute::LinkInfo(vec![LinkInfo::Kind(kind.clone())]),
                ];
                let what = format!("create a {kind} interface");
                push(batch, what, RTM_NEWLINK, CREATE | EXCLUSIVE | ACK, &link);
            })?;
        }
        Ok(())
    }

    /// The interface called `name`, if there is one.
    pub(crate) fn link(&self, name: &str) -> Result<Option<Link>, NetlinkError> {
        let mut link = LinkMessage::default();
        link.attributes = vec![LinkAttribute::IfName(name.to_owned())];
        let mut batch = Batch::default();
        push(
            &mut batch,
            format!("look up interface {name}"),
            RTM_GETLINK,
            0,
            &link,
        );
        match self.0.exchange(batch) {
            Ok(replies) => Ok(replies.first().and_then(parse_link)),
            Err(error) if error.errno() == Some(rustix::io::Errno::NODEV) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Every port of the bridge with index `bridge`.
    pub(crate) fn ports_of(&self, bridge: u32) -> Result<Vec<BridgePort>, NetlinkError> {
        let mut link = LinkMessage::default();
        link.attributes = vec![LinkAttribute::Controller(bridge)];
        let mut batch = Batch::default();
        push(
            &mut batch,
            "list the bridge's ports".to_owned(),
            RTM_GETLINK,
            DUMP,
            &link,
        );
        let replies = self.0.exchange(batch)?;
        // Kernels before 4.6 ignore the filter, so it is applied here too.
        Ok(replies
            .iter()
            .filter_map(|reply| port_of(reply, bridge))
            .collect())
    }

    /// The namespace's own IPv4 addresses.
    pub(crate) fn addresses(&self) -> Result<Vec<Ipv4Addr>, NetlinkError> {
        let mut message = AddressMessage::default();
        message.header.family = AddressFamily::Inet;
        let mut batch = Batch::default();
        let what = "list addresses".to_owned();
        push(&mut batch, what, RTM_GETADDR, DUMP, &message);
        let replies = self.0.exchange(batch)?;
        Ok(replies.iter().filter_map(address_of).collect())
    }
}

/// The address itself; of a point-to-point link `Address` is the other end's.
fn address_of(reply: &Reply) -> Option<Ipv4Addr> {
    let message = AddressMessage::parse(reply.body.as_slice()).ok()?;
    message.attributes.iter().find_map(|attribute| {
        if let AddressAttribute::Local(IpAddr::V4(address)) = attribute {
            Some(*address)
        } else {
            None
        }
    })
}

fn parse_link(reply: &Reply) -> Option<Link> {
    const IFF_UP: u32 = 1;
    const IFLA_LINK: u16 = 5;
    if reply.kind != RTM_NEWLINK {
        return None;
    }
    // struct ifinfomsg: family, pad and type in four bytes, index, flags, change mask. Of the
    // attributes, a kilobyte of them, one matters.
    let word = |offset: usize| {
        let bytes = reply.body.get(offset..)?.first_chunk()?;
        Some(u32::from_ne_bytes(*bytes))
    };
    let link = attributes_of(reply.body.get(16..)?).find(|(kind, _)| *kind == IFLA_LINK);
    let peer = link.and_then(|(_, value)| value.first_chunk().copied());
    Some(Link {
        index: word(4)?,
        up: word(8)? & IFF_UP != 0,
        peer: peer.map(u32::from_ne_bytes),
    })
}

fn port_of(reply: &Reply, bridge: u32) -> Option<BridgePort> {
    let link = LinkMessage::parse(reply.body.as_slice()).ok()?;
    let mut name = None;
    let mut controller = None;
    for attribute in link.attributes {
        if let LinkAttribute::IfName(text) = attribute {
            name = Some(text);
        } else if let LinkAttribute::Controller(index) = attribute {
            controller = Some(index);
        }
    }
    (controller == Some(bridge)).then_some(BridgePort {
        index: link.header.index,
        name: name?,
    })
}
