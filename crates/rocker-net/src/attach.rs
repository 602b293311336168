//! Putting a container on its bridge.

use std::net::Ipv4Addr;
use std::os::fd::BorrowedFd;

use rocker_types::{ContainerId, Diagnose, ErrorKind, PublishedPort};

use crate::bridge::BridgeConfig;
use crate::detach::detach;
use crate::legacy::{LegacyError, ensure_legacy_forward_accepts};
use crate::lock::{LockError, NetworkLock};
use crate::name::InterfaceName;
use crate::netlink::{
    CONTAINER_INTERFACE, NetlinkError, RouteSocket, VethPlan, add_address, add_default_route,
    create_bridge, create_veth, delete_link, set_link_up, set_port_hairpin,
};
use crate::netns::{NetnsError, ignore_router_advertisements, open_inside};
use crate::nft::{Element, NftSocket, TablePlan};

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

/// Why a container could not be put on its bridge.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// The address is not one of the bridge's.
    #[error("{address} is not an address of a container on {subnet}")]
    ForeignAddress {
        /// The address.
        address: Ipv4Addr,
        /// The bridge's subnet.
        subnet: crate::Ipv4Net,
    },
    /// A port still has no number: [`crate::PortForwarder::bind`] chooses it.
    #[error("published port {port} has no host port yet")]
    UnboundPort {
        /// The port.
        port: PublishedPort,
    },
    /// The bridge's lock could not be taken.
    #[error("cannot take part in changes of bridge {bridge}")]
    Lock {
        /// The bridge.
        bridge: InterfaceName,
        /// Why not.
        source: LockError,
    },
    /// The container's network namespace could not be visited.
    #[error("cannot reach the network of container {container}")]
    Netns {
        /// The container's id, shortened.
        container: String,
        /// Why not.
        source: NetnsError,
    },
    /// The bridge or its nftables table could not be made.
    #[error("cannot make bridge {bridge} with subnet {subnet}")]
    Bridge {
        /// The bridge.
        bridge: InterfaceName,
        /// Its subnet.
        subnet: crate::Ipv4Net,
        /// What the kernel refused.
        source: NetlinkError,
    },
    /// The host does not forward packets and could not be told to.
    #[error("cannot switch on forwarding of IPv4 packets")]
    Forwarding {
        /// What the kernel said.
        source: std::io::Error,
    },
    /// The firewall drops forwarded packets and no exception could be made.
    #[error("cannot let bridge {bridge} through the host's FORWARD chain")]
    Firewall {
        /// The bridge.
        bridge: InterfaceName,
        /// Why not.
        source: LegacyError,
    },
    /// The container's own part could not be made.
    #[error("cannot connect container {container} to bridge {bridge}")]
    Connect {
        /// The container's id, shortened.
        container: String,
        /// The bridge.
        bridge: InterfaceName,
        /// What the kernel refused.
        source: NetlinkError,
    },
    /// The pair was made, but its container's end is not there.
    #[error("the interface of container {container} vanished while it was set up")]
    InterfaceVanished {
        /// The container's id, shortened.
        container: String,
    },
}

impl Diagnose for AttachError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::ForeignAddress { .. } | Self::UnboundPort { .. } => ErrorKind::Invalid,
            Self::Firewall { .. } => ErrorKind::Unsupported,
            Self::Bridge { source, .. } | Self::Connect { source, .. } => kind_of(source),
            Self::Lock { .. }
            | Self::Netns { .. }
            | Self::Forwarding { .. }
            | Self::InterfaceVanished { .. } => ErrorKind::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        use rustix::io::Errno;
        match self {
            Self::Bridge { source, .. } | Self::Connect { source, .. } => match source.errno()? {
                Errno::PERM | Errno::ACCESS => Some("run as root".to_owned()),
                Errno::OPNOTSUPP => Some(
                    "the kernel lacks bridge, veth or nf_tables; see `rocker system check`, \
                     or use --network host"
                        .to_owned(),
                ),
                Errno::NOENT => Some(
                    "the kernel lacks an nf_tables module (nft_nat, nft_masq, nft_fib_inet); \
                     see `rocker system check`, or use --network host"
                        .to_owned(),
                ),
                _ => None,
            },
            Self::Forwarding { .. } => {
                Some("is /proc/sys read-only? set net.ipv4.ip_forward=1 yourself".to_owned())
            }
            Self::Firewall { source, .. } => source.hint(),
            Self::ForeignAddress { .. }
            | Self::UnboundPort { .. }
            | Self::Lock { .. }
            | Self::Netns { .. }
            | Self::InterfaceVanished { .. } => None,
        }
    }
}

fn kind_of(error: &NetlinkError) -> ErrorKind {
    use rustix::io::Errno;
    match error.errno() {
        Some(Errno::PERM | Errno::ACCESS) => ErrorKind::Denied,
        Some(Errno::OPNOTSUPP | Errno::NOENT) => ErrorKind::Unsupported,
        Some(Errno::EXIST) => ErrorKind::Conflict,
        _ => ErrorKind::Internal,
    }
}

/// Puts the container in network namespace `netns` on its bridge: makes the bridge, its
/// nftables table and forwarding if this is the first container, then `eth0` with address
/// and default route, loopback, and the published ports.
///
/// Visible when it returns: the container's network works both ways. After an error nothing
/// of it is left but what [`detach`] would report; the ports' sockets are the caller's.
///
/// Costs three datagrams of rtnetlink, three look-ups of nftables, and one transaction per
/// published port. No other program is run, except `iptables-legacy` where that is what
/// drops forwarded packets.
///
/// # Errors
///
/// [`AttachError`].
pub fn attach(attachment: &Attachment, netns: BorrowedFd<'_>) -> Result<(), AttachError> {
    check(attachment)?;
    let inside = open_inside(netns).map_err(|source| AttachError::Netns {
        container: attachment.container.short().to_owned(),
        source,
    })?;
    let bridge = &attachment.bridge;
    let sockets = Sockets::open().map_err(|source| bridge_error(bridge, source))?;
    let lock = NetworkLock::shared(&bridge.lock).map_err(|source| lock_error(bridge, source))?;
    let bridge_index = sockets.join(bridge, &lock)?;
    let plan = VethPlan {
        host: &attachment.host_interface(),
        bridge_index,
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
    connected
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

/// Why a container has no loopback.
#[derive(Debug, thiserror::Error)]
pub enum LoopbackError {
    /// The container's network namespace could not be visited.
    #[error("cannot reach the container's network")]
    Netns {
        /// Why not.
        source: NetnsError,
    },
    /// The interface could not be brought up.
    #[error("cannot bring the container's loopback interface up")]
    Up {
        /// What the kernel refused.
        source: NetlinkError,
    },
}

impl Diagnose for LoopbackError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Internal
    }
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

fn lock_error(bridge: &BridgeConfig, source: LockError) -> AttachError {
    AttachError::Lock {
        bridge: bridge.name.clone(),
        source,
    }
}

fn bridge_error(bridge: &BridgeConfig, source: NetlinkError) -> AttachError {
    AttachError::Bridge {
        bridge: bridge.name.clone(),
        subnet: bridge.subnet,
        source,
    }
}

fn connect_error(attachment: &Attachment, source: NetlinkError) -> AttachError {
    AttachError::Connect {
        container: attachment.container.short().to_owned(),
        bridge: attachment.bridge.name.clone(),
        source,
    }
}

/// Both conversations with the kernel, in the host's network namespace.
struct Sockets {
    route: RouteSocket,
    nft: NftSocket,
}

impl Sockets {
    fn open() -> Result<Self, NetlinkError> {
        Ok(Self {
            route: RouteSocket::open()?,
            nft: NftSocket::open()?,
        })
    }

    /// Returns the index of a bridge that is whole and stays so while `lock` is held, which
    /// ends up shared (or, after much misfortune, exclusive).
    fn join(&self, bridge: &BridgeConfig, lock: &NetworkLock<'_>) -> Result<u32, AttachError> {
        let table = TablePlan::of(bridge);
        let index = match self.find_patiently(bridge, &table, lock)? {
            Some(index) => index,
            None => {
                lock.become_exclusive()
                    .map_err(|source| lock_error(bridge, source))?;
                self.ensure(bridge, &table)?
            }
        };
        self.pass_firewall(bridge)?;
        Ok(index)
    }

    /// Between giving the exclusive lock back and sharing it, the last container may leave and
    /// take the bridge along; after some such times the caller keeps it.
    fn find_patiently(
        &self,
        bridge: &BridgeConfig,
        table: &TablePlan,
        lock: &NetworkLock<'_>,
    ) -> Result<Option<u32>, AttachError> {
        const ATTEMPTS: usize = 4;
        for _ in 0..ATTEMPTS {
            let found = self
                .find(bridge, table)
                .map_err(|source| bridge_error(bridge, source))?;
            if found.is_some() {
                return Ok(found);
            }
            lock.become_exclusive()
                .map_err(|source| lock_error(bridge, source))?;
            self.ensure(bridge, table)?;
            lock.become_shared()
                .map_err(|source| lock_error(bridge, source))?;
        }
        Ok(None)
    }

    fn find(&self, bridge: &BridgeConfig, table: &TablePlan) -> Result<Option<u32>, NetlinkError> {
        match self.route.link(bridge.name.as_str())? {
            Some(link) if link.up && self.nft.is_whole(table)? => Ok(Some(link.index)),
            _ => Ok(None),
        }
    }

    /// Makes what is missing. The table comes first: no packet meets the bridge without it.
    fn ensure(&self, bridge: &BridgeConfig, table: &TablePlan) -> Result<u32, AttachError> {
        let failed = |source| bridge_error(bridge, source);
        if !self.nft.is_whole(table).map_err(failed)? {
            self.nft.create_table(table).map_err(failed)?;
        }
        crate::forwarding::ensure().map_err(|source| AttachError::Forwarding { source })?;
        self.ensure_bridge(bridge).map_err(failed)
    }

    fn ensure_bridge(&self, bridge: &BridgeConfig) -> Result<u32, NetlinkError> {
        let name = bridge.name.as_str();
        match self.route.link(name)? {
            Some(link) if link.up => return Ok(link.index),
            // A process was killed between making it and bringing it up; begin again.
            Some(_) => self.route.apply(|batch| delete_link(batch, &bridge.name))?,
            None => {}
        }
        self.route
            .apply(|batch| create_bridge(batch, &bridge.name, bridge.mac(), bridge.mtu))?;
        let created = self.route.link(name)?;
        let index = created
            .ok_or(NetlinkError::Malformed {
                what: "no index of a new bridge",
            })?
            .index;
        // No IPv6 on it for now, so that no address of the host is reachable by link-local means.
        crate::forwarding::disable_ipv6(name);
        ignore_router_advertisements(name);
        self.route.apply(|batch| {
            add_address(batch, index, bridge.gateway, bridge.subnet);
            set_link_up(batch, index);
        })?;
        Ok(index)
    }

    fn pass_firewall(&self, bridge: &BridgeConfig) -> Result<(), AttachError> {
        self.nft
            .ensure_forward_accepts(&bridge.name)
            .map_err(|source| bridge_error(bridge, source))?;
        ensure_legacy_forward_accepts(&bridge.name).map_err(|source| AttachError::Firewall {
            bridge: bridge.name.clone(),
            source,
        })
    }

    fn connect(
        &self,
        attachment: &Attachment,
        plan: &VethPlan<'_>,
        inside: &RouteSocket,
    ) -> Result<(), AttachError> {
        let failed = |source| connect_error(attachment, source);
        self.create_veth(plan).map_err(failed)?;
        self.publish(attachment).map_err(failed)?;
        inside
            .apply(|batch| set_link_up(batch, LOOPBACK_INDEX))
            .map_err(failed)?;
        let index = inside
            .link(CONTAINER_INTERFACE)
            .map_err(failed)?
            .map(|link| link.index);
        let index = index.ok_or_else(|| AttachError::InterfaceVanished {
            container: attachment.container.short().to_owned(),
        })?;
        let bridge = &attachment.bridge;
        let configured = inside.apply(|batch| {
            add_address(batch, index, attachment.address, bridge.subnet);
            set_link_up(batch, index);
            add_default_route(batch, bridge.gateway);
        });
        configured.map_err(failed)
    }

    fn create_veth(&self, plan: &VethPlan<'_>) -> Result<(), NetlinkError> {
        let create = || self.route.apply(|batch| create_veth(batch, plan));
        match create() {
            // The name is this container's alone: an earlier life of it was not cleaned up.
            Err(error) if error.errno() == Some(rustix::io::Errno::EXIST) => {
                self.route.apply(|batch| delete_link(batch, plan.host))?;
                create()
            }
            other => other,
        }
    }

    fn publish(&self, attachment: &Attachment) -> Result<(), NetlinkError> {
        if attachment.ports.is_empty() {
            return Ok(());
        }
        self.route
            .apply(|batch| set_port_hairpin(batch, &attachment.host_interface()))?;
        let table = attachment.bridge.table_name();
        attachment
            .elements()
            .try_for_each(|element| self.nft.publish(table, &element))
    }
}
