//! Taking a container off its bridge, and the bridge down with the last one.

use std::time::Duration;

use rocker_types::{Diagnose, ErrorKind};

use crate::attach::Attachment;
use crate::bridge::BridgeConfig;
use crate::conntrack::forget_udp_clients;
use crate::legacy::{LegacyError, remove_legacy_forward_accepts};
use crate::lock::{LockError, NetworkLock};
use crate::name::InterfaceName;
use crate::netlink::{BridgePort, NetlinkError, RouteSocket, delete_link, delete_link_at};
use crate::nft::NftSocket;

/// One thing that could not be undone.
#[derive(Debug, thiserror::Error)]
pub enum UndoError {
    /// The bridge's lock could not be taken.
    #[error("cannot take part in changes of bridge {bridge}")]
    Lock {
        /// The bridge.
        bridge: InterfaceName,
        /// Why not.
        source: LockError,
    },
    /// The kernel was not to be talked to, or refused.
    #[error("cannot {what}")]
    Netlink {
        /// What was to be undone.
        what: &'static str,
        /// What the kernel said.
        source: NetlinkError,
    },
    /// A rule of `iptables-legacy` could not be removed.
    #[error("cannot take bridge {bridge} out of the host's FORWARD chain")]
    Firewall {
        /// The bridge.
        bridge: InterfaceName,
        /// Why not.
        source: LegacyError,
    },
}

/// Something of a network may be left. Every step was tried.
#[derive(Debug, thiserror::Error)]
#[error("cannot remove all of {what}{}", also(.others))]
pub struct TeardownError {
    what: String,
    /// What failed first.
    source: UndoError,
    /// What else failed.
    others: Vec<UndoError>,
}

fn also(errors: &[UndoError]) -> String {
    errors
        .iter()
        .map(|error| format!(", also: {error}"))
        .collect()
}

impl Diagnose for TeardownError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Internal
    }

    fn hint(&self) -> Option<String> {
        Some("`rocker system check --repair` tries again".to_owned())
    }
}

/// What went wrong so far, while the steps go on.
#[derive(Default)]
struct Teardown(Vec<UndoError>);

impl Teardown {
    fn note(&mut self, result: Result<(), UndoError>) {
        self.0.extend(result.err());
    }

    fn finish(self, what: impl FnOnce() -> String) -> Result<(), TeardownError> {
        let mut failed = self.0.into_iter();
        match failed.next() {
            None => Ok(()),
            Some(source) => Err(TeardownError {
                what: what(),
                source,
                others: failed.collect(),
            }),
        }
    }
}

/// The host's end of a container's veth pair, by its index: unlike the name, the kernel never
/// gives it to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostInterface(pub(crate) u32);

impl HostInterface {
    /// Removes it, unless it went with the container's namespace.
    ///
    /// The kernel takes some tens of milliseconds when it is just taking namespaces apart,
    /// nearly all of them asleep. So who is waited for [`withdraw`]s first, lets go of the
    /// container, and calls this when nobody waits any more.
    ///
    /// # Errors
    ///
    /// [`TeardownError`].
    pub fn remove(self) -> Result<(), TeardownError> {
        let mut teardown = Teardown::default();
        let removed = route_socket().and_then(|route| remove_interface_at(&route, self.0));
        teardown.note(removed);
        teardown.finish(|| format!("interface {}", self.0))
    }
}

/// What became of a bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Swept {
    /// It is not there any more.
    Gone,
    /// Something is on it, or somebody else sees to it.
    Kept,
}

/// Takes the container off its bridge, and the bridge down if it was the last:
/// [`leave`], then [`sweep`] without lingering.
///
/// # Errors
///
/// [`TeardownError`], after every step was tried.
pub fn detach(attachment: &Attachment) -> Result<(), TeardownError> {
    let left = leave(attachment);
    let swept = sweep(&attachment.bridge, Duration::ZERO, &mut || false);
    left.and(swept.map(drop))
}

/// Withdraws the container's published ports: they reach nobody when this returns.
///
/// Keep the container's [`crate::PortForwarder`] until then: while the ports are held, nobody
/// else can publish them.
///
/// # Errors
///
/// [`TeardownError`].
pub fn withdraw(attachment: &Attachment) -> Result<(), TeardownError> {
    let mut teardown = Teardown::default();
    teardown.note(withdraw_ports(attachment));
    teardown.finish(|| of_container(attachment))
}

/// Takes the container off its bridge: its published ports and the host's end of its veth
/// pair are gone when this returns.
///
/// Idempotent, and right whether or not the container's namespace still exists: for who finds
/// what another left. [`withdraw`] and [`HostInterface::remove`] do the same in two steps.
///
/// # Errors
///
/// [`TeardownError`], after every step was tried.
pub fn leave(attachment: &Attachment) -> Result<(), TeardownError> {
    let mut teardown = Teardown::default();
    teardown.note(withdraw_ports(attachment));
    let interface =
        route_socket().and_then(|route| remove_interface(&route, &attachment.host_interface()));
    teardown.note(interface);
    teardown.finish(|| of_container(attachment))
}

/// Removes a bridge that nothing is on, with its nftables table and its exceptions from the
/// firewall. The kernel's own list of the bridge's ports decides; if `nobody` says that no
/// container has an address on the bridge, ports of containers are what the dead left there,
/// and go too. It is asked while nobody can join.
///
/// With `linger`, waits so long first and looks again: taking a bridge down keeps the next
/// container waiting for 30 to 100 ms, so a monitor that is done with all else lingers for
/// the sake of containers that are run one after the other. Of several, one lingers.
///
/// # Errors
///
/// [`TeardownError`], after every step was tried.
pub fn sweep(
    bridge: &BridgeConfig,
    linger: Duration,
    nobody: &mut dyn FnMut() -> bool,
) -> Result<Swept, TeardownError> {
    let mut teardown = Teardown::default();
    let swept = if linger.is_zero() {
        sweep_now(bridge, nobody, &mut teardown)
    } else {
        sweep_later(bridge, linger, nobody, &mut teardown)
    };
    let (swept, failure) = match swept {
        Ok(swept) => (swept, None),
        Err(failure) => (Swept::Kept, Some(failure)),
    };
    teardown.0.extend(failure);
    teardown
        .finish(|| format!("bridge {}", bridge.name))
        .map(|()| swept)
}

fn of_container(attachment: &Attachment) -> String {
    format!("the network of container {}", attachment.container.short())
}

fn route_socket() -> Result<RouteSocket, UndoError> {
    RouteSocket::open().map_err(|source| netlink("ask the kernel about interfaces", source))
}

fn netlink(what: &'static str, source: NetlinkError) -> UndoError {
    UndoError::Netlink { what, source }
}

fn lock_error(bridge: &BridgeConfig) -> impl Fn(LockError) -> UndoError {
    let bridge = bridge.name.clone();
    move |source| UndoError::Lock {
        bridge: bridge.clone(),
        source,
    }
}

/// Exclusive, because looking whose an element is and deleting it are two steps.
fn withdraw_ports(attachment: &Attachment) -> Result<(), UndoError> {
    if attachment.ports.is_empty() {
        return Ok(());
    }
    let bridge = &attachment.bridge;
    let _lock = NetworkLock::exclusive(&bridge.lock).map_err(lock_error(bridge))?;
    let failed = |source| netlink("withdraw published ports", source);
    let nft = NftSocket::open().map_err(failed)?;
    // Every port is tried; the first failure is told.
    let results: Vec<_> = attachment
        .elements()
        .map(|element| nft.unpublish(bridge.table_name(), &element).map_err(failed))
        .collect();
    forget_udp_clients(&attachment.ports, bridge.subnet);
    results.into_iter().collect()
}

/// Deletes the interface, unless it died with the container's namespace already.
fn remove_interface(route: &RouteSocket, name: &InterfaceName) -> Result<(), UndoError> {
    unless_gone(route.apply(|batch| delete_link(batch, name)))
}

/// The same by its index.
fn remove_interface_at(route: &RouteSocket, index: u32) -> Result<(), UndoError> {
    unless_gone(route.apply(|batch| delete_link_at(batch, index)))
}

fn unless_gone(deleted: Result<(), NetlinkError>) -> Result<(), UndoError> {
    match deleted {
        Err(error) if error.errno() == Some(rustix::io::Errno::NODEV) => Ok(()),
        other => other.map_err(|source| netlink("delete an interface", source)),
    }
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
fn is_idle(ports: &[BridgePort], nobody: &mut dyn FnMut() -> bool) -> bool {
    let is_container = |port: &BridgePort| InterfaceName::is_of_container(&port.name);
    ports.is_empty() || (ports.iter().all(is_container) && nobody())
}

/// Whoever holds the lock is joining, and will look for itself when it leaves, or is looking.
fn sweep_now(
    bridge: &BridgeConfig,
    nobody: &mut dyn FnMut() -> bool,
    teardown: &mut Teardown,
) -> Result<Swept, UndoError> {
    let lock = NetworkLock::shared(&bridge.lock).map_err(lock_error(bridge))?;
    if !is_idle(&ports(bridge)?, nobody) {
        return Ok(Swept::Kept);
    }
    // Of two that try at the same time the later one gets it, and sees what the other left.
    if !lock.try_become_exclusive().map_err(lock_error(bridge))? {
        return Ok(Swept::Kept);
    }
    remove_if_idle(bridge, nobody, teardown)
}

/// The turn to linger is tried for under the shared lock and given back under the exclusive
/// one, together with the last look. So whoever does not get it left before that look, and
/// nobody's leaving goes unnoticed.
///
/// The lock stays open meanwhile: its name may be gone by then, with the whole run directory,
/// and nobody but the lingering one would know of the bridge.
fn sweep_later(
    bridge: &BridgeConfig,
    linger: Duration,
    nobody: &mut dyn FnMut() -> bool,
    teardown: &mut Teardown,
) -> Result<Swept, UndoError> {
    let turn_path = bridge.linger_lock();
    let lock = NetworkLock::shared(&bridge.lock).map_err(lock_error(bridge))?;
    if !is_idle(&ports(bridge)?, nobody) {
        return Ok(Swept::Kept);
    }
    let turn = NetworkLock::try_exclusive(&turn_path).map_err(lock_error(bridge))?;
    let Some(turn) = turn else {
        return Ok(Swept::Kept);
    };
    lock.release().map_err(lock_error(bridge))?;

    std::thread::sleep(linger);

    lock.become_exclusive().map_err(lock_error(bridge))?;
    let swept = remove_if_idle(bridge, nobody, teardown);
    drop(turn);
    swept
}

/// The caller holds the lock exclusively.
fn remove_if_idle(
    bridge: &BridgeConfig,
    nobody: &mut dyn FnMut() -> bool,
    teardown: &mut Teardown,
) -> Result<Swept, UndoError> {
    let ports = ports(bridge)?;
    if !is_idle(&ports, nobody) {
        return Ok(Swept::Kept);
    }
    for port in ports {
        teardown.note(route_socket().and_then(|route| remove_interface_at(&route, port.index)));
    }
    remove_bridge(bridge, teardown);
    Ok(Swept::Gone)
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
