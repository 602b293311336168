//! Taking a container off its bridge, and the bridge down with the last one.

use std::time::Duration;

use rocker_types::{Diagnose, ErrorKind};

use crate::attach::Attachment;
use crate::bridge::BridgeConfig;
use crate::conntrack::forget_udp_clients;
use crate::legacy::{LegacyError, remove_legacy_forward_accepts};
use crate::lock::{LockError, NetworkLock};
use crate::name::InterfaceName;
use crate::netlink::{NetlinkError, RouteSocket, delete_link};
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

/// Takes the container off its bridge, and the bridge down if it was the last:
/// [`leave`], then [`sweep`] without lingering.
///
/// # Errors
///
/// [`TeardownError`], after every step was tried.
pub fn detach(attachment: &Attachment) -> Result<(), TeardownError> {
    let left = leave(attachment);
    let swept = sweep(&attachment.bridge, Duration::ZERO);
    left.and(swept)
}

/// Takes the container off its bridge: its published ports and the host's end of its veth
/// pair are gone when this returns.
///
/// Idempotent, and right whether or not the container's namespace still exists. Keep the
/// container's [`crate::PortForwarder`] until it returned: while the ports are held, nobody
/// else can publish them. The kernel takes some tens of milliseconds, nearly all of them
/// asleep, so tell the container's end first. Who comes and goes meanwhile is not hindered.
///
/// # Errors
///
/// [`TeardownError`], after every step was tried.
pub fn leave(attachment: &Attachment) -> Result<(), TeardownError> {
    let mut teardown = Teardown::default();
    teardown.note(withdraw_ports(attachment));
    let interface = RouteSocket::open()
        .map_err(|source| netlink("ask the kernel about interfaces", source))
        .and_then(|route| remove_interface(&route, &attachment.host_interface()));
    teardown.note(interface);
    teardown.finish(|| format!("the network of container {}", attachment.container.short()))
}

/// Removes a bridge that nothing is on, with its nftables table and its exceptions from the
/// firewall. The kernel's own list of the bridge's ports decides.
///
/// With `linger`, waits so long first and looks again: taking a bridge down keeps the next
/// container waiting for 30 to 100 ms, so a monitor that is done with all else lingers for
/// the sake of containers that are run one after the other. Of several, one lingers.
///
/// # Errors
///
/// [`TeardownError`], after every step was tried.
pub fn sweep(bridge: &BridgeConfig, linger: Duration) -> Result<(), TeardownError> {
    let mut teardown = Teardown::default();
    let swept = if linger.is_zero() {
        sweep_now(bridge, &mut teardown)
    } else {
        sweep_later(bridge, linger, &mut teardown)
    };
    teardown.note(swept);
    teardown.finish(|| format!("bridge {}", bridge.name))
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
    match route.apply(|batch| delete_link(batch, name)) {
        Err(error) if error.errno() == Some(rustix::io::Errno::NODEV) => Ok(()),
        other => other.map_err(|source| netlink("delete an interface", source)),
    }
}

fn is_used(bridge: &BridgeConfig) -> Result<bool, UndoError> {
    let ask = || -> Result<bool, NetlinkError> {
        let route = RouteSocket::open()?;
        match route.link(bridge.name.as_str())? {
            Some(link) => Ok(!route.ports_of(link.index)?.is_empty()),
            None => Ok(false),
        }
    };
    ask().map_err(|source| netlink("list the bridge's ports", source))
}

/// Whoever holds the lock is joining, and will look for itself when it leaves, or is looking.
fn sweep_now(bridge: &BridgeConfig, teardown: &mut Teardown) -> Result<(), UndoError> {
    let shared = NetworkLock::shared(&bridge.lock).map_err(lock_error(bridge))?;
    if is_used(bridge)? {
        return Ok(());
    }
    // Of two that try at the same time the later one gets it, and sees what the other left.
    let Some(_lock) = shared.try_become_exclusive().map_err(lock_error(bridge))? else {
        return Ok(());
    };
    if !is_used(bridge)? {
        remove_bridge(bridge, teardown);
    }
    Ok(())
}

/// The turn to linger is tried for under the shared lock and given back under the exclusive
/// one, together with the last look. So whoever does not get it left before that look, and
/// nobody's leaving goes unnoticed.
fn sweep_later(
    bridge: &BridgeConfig,
    linger: Duration,
    teardown: &mut Teardown,
) -> Result<(), UndoError> {
    let turn_path = bridge.linger_lock();
    let shared = NetworkLock::shared(&bridge.lock).map_err(lock_error(bridge))?;
    if is_used(bridge)? {
        return Ok(());
    }
    let turn = NetworkLock::try_exclusive(&turn_path).map_err(lock_error(bridge))?;
    let Some(turn) = turn else { return Ok(()) };
    drop(shared);

    std::thread::sleep(linger);

    let _lock = NetworkLock::exclusive(&bridge.lock).map_err(lock_error(bridge))?;
    let used = is_used(bridge);
    drop(turn);
    if !used? {
        remove_bridge(bridge, teardown);
    }
    Ok(())
}

/// The bridge goes first: its table guards it to the end.
fn remove_bridge(bridge: &BridgeConfig, teardown: &mut Teardown) {
    let route = RouteSocket::open().map_err(|source| netlink("delete the bridge", source));
    teardown.note(route.and_then(|route| remove_interface(&route, &bridge.name)));
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
