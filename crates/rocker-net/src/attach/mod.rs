//! Putting a container on its bridge.

mod error;
mod sockets;

use std::net::Ipv4Addr;
use std::os::fd::BorrowedFd;

use rocker_types::{ContainerId, PublishedPort};

pub use error::{AttachError, LoopbackError};
use error::{bridge_error, connect_error, lock_error};
use sockets::Sockets;

use crate::bridge::BridgeConfig;
use crate::detach::{HostInterface, detach};
use crate::lock::NetworkLock;
use crate::name::InterfaceName;
use crate::netlink::{VethPlan, set_link_up};
use crate::netns::open_inside;
use crate::nft::Element;

/// What a container has on a bridge. Interface name and hardware address follow from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// Whose it is.
    pub container: ContainerId,
    /// Where it is.
    pub bridge: BridgeConfig,
    /// The container's address, in the bridge's subnet.
    pub address: Ipv4Addr,
    /// What is reachable from outside; host ports as [`crate::PortForwarder::bind`] returned
    /// them, none of them 0.
    pub ports: Vec<PublishedPort>,
}

impl Attachment {
    /// The host's end of its veth pair.
    #[must_use]
    pub fn host_interface(&self) -> InterfaceName {
        InterfaceName::of_container(&self.container)
    }

    /// The elements of the table's sets that its ports are.
    pub(crate) fn elements(&self) -> impl Iterator<Item = Element> {
        self.ports
            .iter()
            .map(|port| Element::of(port, self.address))
    }
}

/// What attaching found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attached {
    /// The bridge was there and its rules were not: somebody had flushed them, and the published
    /// ports of its other containers with them. [`restore`] brings those back.
    pub rules_were_lost: bool,
    /// What to [`remove`](HostInterface::remove) at the container's end.
    pub interface: HostInterface,
}

/// Puts the container in network namespace `netns` on its bridge: makes the bridge, its
/// nftables table and forwarding if this is the first container, then `eth0` with address
/// and default route, loopback, and the published ports.
///
/// Visible when it returns: the container's network works both ways. After an error nothing
/// of it is left but what [`detach`] would report; the ports' sockets are the caller's.
///
/// Costs some datagrams of rtnetlink, some look-ups of nftables, one transaction per published
/// port, and with UDP ports a look at all tracked connections. No other program is run, except `iptables-legacy` where that is what
/// drops forwarded packets.
///
/// # Errors
///
/// [`AttachError`].
pub fn attach(attachment: &Attachment, netns: BorrowedFd<'_>) -> Result<Attached, AttachError> {
    check(attachment)?;
    let inside = open_inside(netns).map_err(|source| AttachError::Netns {
        container: attachment.container.short().to_owned(),
        source,
    })?;
    let bridge = &attachment.bridge;
    let sockets = Sockets::open().map_err(|source| bridge_error(bridge, source))?;
    let lock = NetworkLock::shared(&bridge.lock).map_err(|source| lock_error(bridge, source))?;
    let joined = sockets.join(bridge, &lock)?;
    let plan = VethPlan {
        host: &attachment.host_interface(),
        bridge_index: joined.index,
        netns,
        container_mac: crate::Mac::of(attachment.address),
        mtu: bridge.mtu,
    };
    let connected = sockets.connect(attachment, &plan, &inside);
    drop(lock);
    if connected.is_err()
        && let Err(error) = detach(attachment)
    {
        tracing::debug!(%error, "an attempt left something behind; recovery will meet it again");
    }
    connected.map(|interface| Attached {
        rules_were_lost: joined.rules_were_lost,
        interface,
    })
}

/// Makes an attachment's host side whole again: the bridge's table, forwarding, exceptions
/// from the firewall and published ports, after somebody flushed the rules. Does nothing to
/// what is there. The container keeps running and its connections are kept.
///
/// # Errors
///
/// [`AttachError`].
pub fn restore(attachment: &Attachment) -> Result<(), AttachError> {
    check(attachment)?;
    let bridge = &attachment.bridge;
    let sockets = Sockets::open().map_err(|source| bridge_error(bridge, source))?;
    let lock = NetworkLock::shared(&bridge.lock).map_err(|source| lock_error(bridge, source))?;
    sockets.join(bridge, &lock)?;
    sockets
        .publish(attachment)
        .map_err(|source| connect_error(attachment, source))
}

/// Brings the loopback interface of `netns` up: all that a container without network has.
///
/// # Errors
///
/// [`LoopbackError`].
pub fn loopback_up(netns: BorrowedFd<'_>) -> Result<(), LoopbackError> {
    let inside = open_inside(netns).map_err(|source| LoopbackError::Netns { source })?;
    inside
        .apply(|batch| set_link_up(batch, LOOPBACK_INDEX))
        .map_err(|source| LoopbackError::Up { source })
}

/// `LOOPBACK_IFINDEX`: the kernel makes it first in every namespace.
const LOOPBACK_INDEX: u32 = 1;

fn check(attachment: &Attachment) -> Result<(), AttachError> {
    let Attachment {
        bridge, address, ..
    } = attachment;
    let own = [
        bridge.gateway,
        bridge.subnet.address(),
        bridge.subnet.broadcast(),
    ];
    if !bridge.subnet.contains(*address) || own.contains(address) {
        return Err(AttachError::ForeignAddress {
            address: *address,
            subnet: bridge.subnet,
        });
    }
    match attachment.ports.iter().find(|port| port.host_port == 0) {
        Some(port) => Err(AttachError::UnboundPort { port: *port }),
        None => Ok(()),
    }
}
