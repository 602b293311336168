//! Taking a bridge down that nobody uses any more.

use std::time::Duration;

use crate::bridge::BridgeConfig;
use crate::detach::{
    HostInterface, Teardown, TeardownError, UndoError, lock_error, netlink, remove_interface,
    remove_interface_at, route_socket,
};
use crate::legacy::remove_legacy_forward_accepts;
use crate::lock::{NetworkLock, Standing};
use crate::name::InterfaceName;
use crate::netlink::{BridgePort, NetlinkError, RouteSocket};
use crate::nft::NftSocket;

/// What the installation knows of a bridge and its containers.
pub trait Census {
    /// Whether the container that this port of the bridge belonged to is dead, and will not come
    /// back under the same lock.
    fn is_dead(&mut self, port: &str) -> bool;

    /// Takes note that the bridge is gone, before anybody can make it anew.
    fn bridge_gone(&mut self);
}

/// Nothing is known.
pub(crate) struct Nobody;

impl Census for Nobody {
    fn is_dead(&mut self, _: &str) -> bool {
        false
    }

    fn bridge_gone(&mut self) {}
}

/// Removes a bridge that nothing is on, with its nftables table and its exceptions from the
/// firewall. The kernel's own list of the bridge's ports decides; ports of containers that are
/// dead by the `census` do not count, and go too.
///
/// # Errors
///
/// [`TeardownError`], after every step was tried.
pub fn sweep(bridge: &BridgeConfig, census: &mut dyn Census) -> Result<(), TeardownError> {
    let mut teardown = Teardown::default();
    let swept = sweep_now(bridge, census, &mut teardown);
    teardown.note(swept);
    teardown.finish(|| format!("bridge {}", bridge.name))
}

/// The end of a container's monitor: removes `interface`, and then the bridge as [`sweep`] does,
/// but not before it was idle for as long as `linger`.
///
/// Taking a bridge down keeps the next container waiting for 30 to 100 ms, so a monitor that is
/// done with all else lingers for the sake of containers that are run one after the other. Of
/// several, one lingers.
///
/// # Errors
///
/// [`TeardownError`], after every step was tried.
pub fn depart(
    bridge: &BridgeConfig,
    interface: Option<HostInterface>,
    linger: Duration,
    census: &mut dyn Census,
) -> Result<(), TeardownError> {
    let mut teardown = Teardown::default();
    let swept = sweep_later(bridge, interface, linger, census, &mut teardown);
    teardown.note(swept);
    teardown.finish(|| format!("bridge {}", bridge.name))
}

/// What is on the bridge; nothing if it is not there.
fn ports(bridge: &BridgeConfig) -> Result<Vec<BridgePort>, UndoError> {
    let ask = || -> Result<_, NetlinkError> {
        let route = RouteSocket::open()?;
        match route.link(bridge.name.as_str())? {
            Some(link) => route.ports_of(link.index),
            None => Ok(Vec::new()),
        }
    };
    ask().map_err(|source| netlink("list the bridge's ports", source))
}

/// Whether nothing but what the dead left is on the bridge.
fn is_idle(ports: &[BridgePort], census: &mut dyn Census) -> bool {
    ports
        .iter()
        .all(|port| InterfaceName::is_of_container(&port.name) && census.is_dead(&port.name))
}

/// Whoever holds the lock is joining, and will look for itself when it leaves, or is looking.
fn sweep_now(
    bridge: &BridgeConfig,
    census: &mut dyn Census,
    teardown: &mut Teardown,
) -> Result<(), UndoError> {
    let lock = NetworkLock::shared(&bridge.lock).map_err(lock_error(bridge))?;
    if !is_idle(&ports(bridge)?, census) {
        return Ok(());
    }
    // Of two that try at the same time the later one gets it, and sees what the other left.
    if lock.try_become_exclusive().map_err(lock_error(bridge))? {
        remove_if_idle(bridge, census, teardown)?;
    }
    Ok(())
}

/// The turn to linger is tried for under the shared lock and given back under the exclusive
/// one, together with the last look. So whoever does not get it left before that look, and
/// nobody's leaving goes unnoticed.
///
/// Both locks are opened first: their names may be gone with the whole run directory before the
/// wait is over, and nobody else would know of the bridge then.
fn sweep_later(
    bridge: &BridgeConfig,
    interface: Option<HostInterface>,
    linger: Duration,
    census: &mut dyn Census,
    teardown: &mut Teardown,
) -> Result<(), UndoError> {
    let failed = lock_error(bridge);
    let turn_path = bridge.linger_lock();
    let locks =
        NetworkLock::open(&bridge.lock).and_then(|lock| Ok((lock, NetworkLock::open(&turn_path)?)));
    if let Some(HostInterface(index)) = interface {
        teardown.note(route_socket().and_then(|route| remove_interface_at(&route, index)));
    }
    let (lock, turn) = locks.map_err(&failed)?;
    lock.become_shared().map_err(&failed)?;
    if !is_idle(&ports(bridge)?, census) || !turn.try_become_exclusive().map_err(&failed)? {
        return Ok(());
    }
    lock.release().map_err(&failed)?;

    std::thread::sleep(linger);

    lock.become_exclusive().map_err(&failed)?;
    let swept = match lock.standing().map_err(&failed)? {
        Standing::Current => remove_if_idle(bridge, census, teardown),
        // what the census knows is gone with the lock
        Standing::Deleted => remove_if_idle(bridge, &mut Nobody, teardown),
        // who made it anew sees to the bridge
        Standing::Replaced => Ok(()),
    };
    drop(turn);
    swept
}

/// The caller holds the lock exclusively.
fn remove_if_idle(
    bridge: &BridgeConfig,
    census: &mut dyn Census,
    teardown: &mut Teardown,
) -> Result<(), UndoError> {
    let ports = ports(bridge)?;
    if !is_idle(&ports, census) {
        return Ok(());
    }
    let before = teardown.failures();
    for port in ports {
        teardown.note(route_socket().and_then(|route| remove_interface_at(&route, port.index)));
    }
    remove_bridge(bridge, teardown);
    if teardown.failures() == before {
        census.bridge_gone();
    }
    Ok(())
}

/// The bridge goes first: its table guards it to the end.
fn remove_bridge(bridge: &BridgeConfig, teardown: &mut Teardown) {
    let removed = route_socket().and_then(|route| remove_interface(&route, &bridge.name));
    teardown.note(removed);
    let rules = NftSocket::open().and_then(|nft| {
        nft.remove_forward_accepts(&bridge.name)?;
        nft.delete_table(bridge.table_name())
    });
    teardown.note(rules.map_err(|source| netlink("remove the bridge's firewall rules", source)));
    let legacy = remove_legacy_forward_accepts(&bridge.name);
    teardown.note(legacy.map_err(|source| UndoError::Firewall {
        bridge: bridge.name.clone(),
        source,
    }));
}
