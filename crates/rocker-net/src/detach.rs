//! Taking a container off its bridge, and the bridge down with the last one.

use rocker_types::{Diagnose, ErrorKind};

use crate::attach::Attachment;
use crate::bridge::BridgeConfig;
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

/// Something of a container's network may be left. Every step was tried.
#[derive(Debug, thiserror::Error)]
#[error("cannot remove all of the network of container {container}{}", also(.others))]
pub struct TeardownError {
    container: String,
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

/// Takes the container off its bridge: its published ports and the host's end of its veth
/// pair are gone when this returns. The last one out takes the bridge, its nftables table and
/// its exceptions from the firewall along.
///
/// Idempotent, and right whether or not the container's namespace still exists. Keep the
/// container's [`crate::PortForwarder`] until it returned: while the ports are held, nobody
/// else can publish them.
///
/// # Errors
///
/// [`TeardownError`], after every step was tried.
pub fn detach(attachment: &Attachment) -> Result<(), TeardownError> {
    let mut failed = Vec::new();
    leave(attachment, &mut failed);
    let mut failed = failed.into_iter();
    match failed.next() {
        None => Ok(()),
        Some(source) => Err(TeardownError {
            container: attachment.container.short().to_owned(),
            source,
            others: failed.collect(),
        }),
    }
}

fn leave(attachment: &Attachment, failed: &mut Vec<UndoError>) {
    let bridge = &attachment.bridge;
    if let Err(error) = withdraw_ports(attachment) {
        failed.push(error);
    }
    let removed = NetworkLock::shared(&bridge.lock)
        .map_err(|source| UndoError::Lock {
            bridge: bridge.name.clone(),
            source,
        })
        .and_then(|lock| {
            let route = RouteSocket::open().map_err(|source| netlink(OPEN, source))?;
            remove_interface(&route, &attachment.host_interface())?;
            Ok((lock, route))
        });
    match removed {
        Ok((lock, route)) => remove_unused_bridge(bridge, &route, lock, failed),
        Err(error) => failed.push(error),
    }
}

const OPEN: &str = "ask the kernel about interfaces";

fn netlink(what: &'static str, source: NetlinkError) -> UndoError {
    UndoError::Netlink { what, source }
}

/// Exclusive, because looking whose an element is and deleting it are two steps.
fn withdraw_ports(attachment: &Attachment) -> Result<(), UndoError> {
    if attachment.ports.is_empty() {
        return Ok(());
    }
    let bridge = &attachment.bridge;
    let _lock = NetworkLock::exclusive(&bridge.lock).map_err(|source| UndoError::Lock {
        bridge: bridge.name.clone(),
        source,
    })?;
    let failed = |source| netlink("withdraw published ports", source);
    let nft = NftSocket::open().map_err(failed)?;
    // Every port is tried; the first failure is told.
    let results: Vec<_> = attachment
        .elements()
        .map(|element| nft.unpublish(bridge.table_name(), &element).map_err(failed))
        .collect();
    results.into_iter().collect()
}

/// Deletes the interface, unless it died with the container's namespace already.
fn remove_interface(route: &RouteSocket, name: &InterfaceName) -> Result<(), UndoError> {
    match route.apply(|batch| delete_link(batch, name)) {
        Err(error) if error.errno() == Some(rustix::io::Errno::NODEV) => Ok(()),
        other => other.map_err(|source| netlink("delete the container's interface", source)),
    }
}

/// Removes the bridge if nothing is on it. Whoever else holds the lock is joining, and will
/// look for itself when it leaves, or is leaving, and looks now.
fn remove_unused_bridge(
    bridge: &BridgeConfig,
    route: &RouteSocket,
    lock: NetworkLock<'_>,
    failed: &mut Vec<UndoError>,
) {
    let lock = match lock.try_become_exclusive() {
        Ok(Some(lock)) => lock,
        Ok(None) => return,
        Err(source) => {
            failed.push(UndoError::Lock {
                bridge: bridge.name.clone(),
                source,
            });
            return;
        }
    };
    match is_used(bridge, route) {
        Ok(true) => {}
        Ok(false) => remove_bridge(bridge, route, failed),
        Err(source) => failed.push(netlink("list the bridge's ports", source)),
    }
    drop(lock);
}

fn is_used(bridge: &BridgeConfig, route: &RouteSocket) -> Result<bool, NetlinkError> {
    match route.link(bridge.name.as_str())? {
        Some(link) => Ok(!route.ports_of(link.index)?.is_empty()),
        None => Ok(false),
    }
}

/// The bridge goes first: its table guards it to the end.
fn remove_bridge(bridge: &BridgeConfig, route: &RouteSocket, failed: &mut Vec<UndoError>) {
    if let Err(error) = remove_interface(route, &bridge.name) {
        failed.push(error);
    }
    let nft = NftSocket::open();
    let undone = nft.and_then(|nft| {
        nft.remove_forward_accepts(&bridge.name)?;
        nft.delete_table(bridge.table_name())
    });
    if let Err(source) = undone {
        failed.push(netlink("remove the bridge's firewall rules", source));
    }
    if let Err(source) = remove_legacy_forward_accepts(&bridge.name) {
        failed.push(UndoError::Firewall {
            bridge: bridge.name.clone(),
            source,
        });
    }
}
