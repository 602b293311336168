//! What attaching does in the host's network namespace.

use super::error::{bridge_error, connect_error, lock_error};
use super::{AttachError, Attachment, LOOPBACK_INDEX};
use crate::bridge::BridgeConfig;
use crate::conntrack::forget_udp_clients;
use crate::detach::HostInterface;
use crate::legacy::ensure_legacy_forward_accepts;
use crate::lock::NetworkLock;
use crate::netlink::{
    CONTAINER_INTERFACE, NetlinkError, RouteSocket, VethPlan, add_address, add_default_route,
    create_bridge, create_veth, delete_link, set_link_up, set_port_hairpin,
};
use crate::netns::ignore_router_advertisements;
use crate::nft::{NftSocket, TablePlan};

/// Both conversations with the kernel, in the host's network namespace.
pub(super) struct Sockets {
    route: RouteSocket,
    nft: NftSocket,
}

/// A bridge that is whole.
pub(super) struct Joined {
    pub(super) index: u32,
    /// See [`Attached::rules_were_lost`](super::Attached::rules_were_lost).
    pub(super) rules_were_lost: bool,
}

impl Sockets {
    pub(super) fn open() -> Result<Self, NetlinkError> {
        Ok(Self {
            route: RouteSocket::open()?,
            nft: NftSocket::open()?,
        })
    }

    /// Returns a bridge that is whole and stays so while `lock` is held, which ends up shared
    /// (or, after much misfortune, exclusive).
    pub(super) fn join(
        &self,
        bridge: &BridgeConfig,
        lock: &NetworkLock<'_>,
    ) -> Result<Joined, AttachError> {
        let table = TablePlan::of(bridge);
        let joined = match self.find_patiently(bridge, &table, lock)? {
            Some(joined) => joined,
            None => {
                lock.become_exclusive()
                    .map_err(|source| lock_error(bridge, source))?;
                self.ensure(bridge, &table)?
            }
        };
        self.pass_firewall(bridge)?;
        Ok(joined)
    }

    /// Between giving the exclusive lock back and sharing it, the last container may leave and
    /// take the bridge along; after some such times the caller keeps it.
    fn find_patiently(
        &self,
        bridge: &BridgeConfig,
        table: &TablePlan,
        lock: &NetworkLock<'_>,
    ) -> Result<Option<Joined>, AttachError> {
        const ATTEMPTS: usize = 4;
        let mut rules_were_lost = false;
        for _ in 0..ATTEMPTS {
            let found = self
                .find(bridge, table)
                .map_err(|source| bridge_error(bridge, source))?;
            if let Some(index) = found {
                return Ok(Some(Joined {
                    index,
                    rules_were_lost,
                }));
            }
            lock.become_exclusive()
                .map_err(|source| lock_error(bridge, source))?;
            rules_were_lost |= self.ensure(bridge, table)?.rules_were_lost;
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
    fn ensure(&self, bridge: &BridgeConfig, table: &TablePlan) -> Result<Joined, AttachError> {
        let failed = |source| bridge_error(bridge, source);
        let mut rules_were_lost = false;
        if !self.nft.is_whole(table).map_err(failed)? {
            let link = self.route.link(bridge.name.as_str()).map_err(failed)?;
            // The table is older than its bridge and outlives it, unless somebody interferes.
            rules_were_lost = link.is_some_and(|link| link.up);
            self.nft.create_table(table).map_err(failed)?;
        }
        crate::forwarding::ensure().map_err(|source| AttachError::Forwarding { source })?;
        let index = self.ensure_bridge(bridge).map_err(failed)?;
        Ok(Joined {
            index,
            rules_were_lost,
        })
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

    pub(super) fn connect(
        &self,
        attachment: &Attachment,
        plan: &VethPlan<'_>,
        inside: &RouteSocket,
    ) -> Result<HostInterface, AttachError> {
        let failed = |source| connect_error(attachment, source);
        self.create_veth(plan).map_err(failed)?;
        self.publish(attachment).map_err(failed)?;
        inside
            .apply(|batch| set_link_up(batch, LOOPBACK_INDEX))
            .map_err(failed)?;
        let found = inside.link(CONTAINER_INTERFACE).map_err(failed)?;
        let ends = found.and_then(|link| Some((link.index, link.peer?)));
        let (index, host_index) = ends.ok_or_else(|| AttachError::InterfaceVanished {
            container: attachment.container.short().to_owned(),
        })?;
        let bridge = &attachment.bridge;
        let configured = inside.apply(|batch| {
            add_address(batch, index, attachment.address, bridge.subnet);
            set_link_up(batch, index);
            add_default_route(batch, bridge.gateway);
        });
        configured
            .map_err(failed)
            .map(|()| HostInterface(host_index))
    }

    fn create_veth(&self, plan: &VethPlan<'_>) -> Result<(), NetlinkError> {
        let create = || self.route.apply(|batch| create_veth(batch, plan));
        match create() {
            // The name is this container's alone: an earlier life of it is not quite gone.
            Err(error) if error.errno() == Some(rustix::io::Errno::EXIST) => {
                match self.route.apply(|batch| delete_link(batch, plan.host)) {
                    Err(error) if error.errno() != Some(rustix::io::Errno::NODEV) => Err(error),
                    _ => create(),
                }
            }
            other => other,
        }
    }

    pub(super) fn publish(&self, attachment: &Attachment) -> Result<(), NetlinkError> {
        if attachment.ports.is_empty() {
            return Ok(());
        }
        self.route
            .apply(|batch| set_port_hairpin(batch, &attachment.host_interface()))?;
        let table = attachment.bridge.table_name();
        attachment
            .elements()
            .try_for_each(|element| self.nft.publish(table, &element))?;
        forget_udp_clients(&attachment.ports, attachment.bridge.subnet);
        Ok(())
    }
}
