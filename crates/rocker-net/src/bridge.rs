//! Which bridge a container is on.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use crate::address::{Ipv4Net, Mac};
use crate::name::InterfaceName;

/// A bridge: everything that processes must agree on who make, use and remove it.
///
/// It exists while a container is on it, and a moment longer for the next one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BridgeConfig {
    /// The interface's name: `rocker0`, or another for another run directory.
    pub name: InterfaceName,
    /// The addresses of its containers.
    pub subnet: Ipv4Net,
    /// The bridge's own address, which containers route through.
    pub gateway: Ipv4Addr,
    /// Largest packet in bytes; the kernel's 1500 if `None`.
    pub mtu: Option<u32>,
    /// The file whose lock decides between processes that make and remove the bridge.
    /// Its directory exists; the file is made.
    pub lock: PathBuf,
}

/// Which way forwarded packets pass a bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    FromBridge,
    ToBridge,
}

impl Direction {
    pub(crate) const ALL: [Self; 2] = [Self::FromBridge, Self::ToBridge];
}

/// The bridge that containers of the default run directory are on.
pub const DEFAULT_BRIDGE: &str = "rocker0";

impl BridgeConfig {
    /// A bridge with the subnet's first address and the kernel's MTU.
    #[must_use]
    pub fn new(name: InterfaceName, subnet: Ipv4Net, lock: PathBuf) -> Self {
        Self {
            name,
            gateway: subnet.gateway(),
            subnet,
            mtu: None,
            lock,
        }
    }

    /// The name of its nftables table, of family `inet`.
    #[must_use]
    pub fn table_name(&self) -> &str {
        if self.name.as_str() == DEFAULT_BRIDGE {
            "rocker"
        } else {
            self.name.as_str()
        }
    }

    /// Who waits for the bridge to stay unused holds this file's lock.
    pub(crate) fn linger_lock(&self) -> PathBuf {
        let mut path = self.lock.clone().into_os_string();
        path.push(".linger");
        path.into()
    }

    /// Its hardware address: fixed, or it would change with every port that joins.
    pub(crate) fn mac(&self) -> Mac {
        Mac::of(self.gateway)
    }
}
