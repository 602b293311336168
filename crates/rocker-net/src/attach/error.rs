//! Why a container could not get a network.

use std::net::Ipv4Addr;

use rocker_types::{Diagnose, ErrorKind, PublishedPort};

use super::Attachment;
use crate::address::Ipv4Net;
use crate::bridge::BridgeConfig;
use crate::legacy::LegacyError;
use crate::lock::LockError;
use crate::name::InterfaceName;
use crate::netlink::NetlinkError;
use crate::netns::NetnsError;

/// Why a container could not be put on its bridge.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// The address is not one of the bridge's.
    #[error("{address} is not an address of a container on {subnet}")]
    ForeignAddress {
        /// The address.
        address: Ipv4Addr,
        /// The bridge's subnet.
        subnet: Ipv4Net,
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
        subnet: Ipv4Net,
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

pub(super) fn lock_error(bridge: &BridgeConfig, source: LockError) -> AttachError {
    AttachError::Lock {
        bridge: bridge.name.clone(),
        source,
    }
}

pub(super) fn bridge_error(bridge: &BridgeConfig, source: NetlinkError) -> AttachError {
    AttachError::Bridge {
        bridge: bridge.name.clone(),
        subnet: bridge.subnet,
        source,
    }
}

pub(super) fn connect_error(attachment: &Attachment, source: NetlinkError) -> AttachError {
    AttachError::Connect {
        container: attachment.container.short().to_owned(),
        bridge: attachment.bridge.name.clone(),
        source,
    }
}
