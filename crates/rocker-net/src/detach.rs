//! Taking a container off its bridge.

use rocker_types::{ContainerId, Diagnose, ErrorKind};

use crate::attach::Attachment;
use crate::bridge::BridgeConfig;
use crate::conntrack::forget_udp_clients;
use crate::legacy::LegacyError;
use crate::lock::{LockError, NetworkLock};
use crate::name::InterfaceName;
use crate::netlink::{NetlinkError, RouteSocket, delete_link, delete_link_at};
use crate::nft::NftSocket;
use crate::sweep::{Nobody, sweep};

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
pub(crate) struct Teardown(Vec<UndoError>);

impl Teardown {
    pub(crate) fn note(&mut self, result: Result<(), UndoError>) {
        self.0.extend(result.err());
    }

    /// How many steps failed.
    pub(crate) fn failures(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn finish(self, what: impl FnOnce() -> String) -> Result<(), TeardownError> {
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

/// Takes the container off its bridge, and the bridge down if it was the last:
/// [`leave`], then [`sweep`] without lingering.
///
/// # Errors
///
/// [`TeardownError`], after every step was tried.
pub fn detach(attachment: &Attachment) -> Result<(), TeardownError> {
    let left = leave(attachment);
    let swept = sweep(&attachment.bridge, &mut Nobody);
    left.and(swept)
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

/// What the host's end of a container's veth pair is called.
#[must_use]
pub fn interface_of(container: &ContainerId) -> InterfaceName {
    InterfaceName::of_container(container)
}

/// Removes the host's end of a container's veth pair by its name: for who does not know more
/// than that there may be one.
///
/// # Errors
///
/// [`TeardownError`].
pub fn remove_interface_of(container: &ContainerId) -> Result<(), TeardownError> {
    let mut teardown = Teardown::default();
    let name = interface_of(container);
    teardown.note(route_socket().and_then(|route| remove_interface(&route, &name)));
    teardown.finish(|| format!("interface {name}"))
}

/// Whether the host has an interface of this name.
///
/// # Errors
///
/// [`TeardownError`] when the kernel does not say.
pub fn has_interface(name: &str) -> Result<bool, TeardownError> {
    let asked = route_socket().and_then(|route| {
        let link = route.link(name);
        link.map_err(|source| netlink("ask the kernel about interfaces", source))
    });
    let mut teardown = Teardown::default();
    let found = asked.map(|link| link.is_some());
    let is_there = *found.as_ref().unwrap_or(&false);
    teardown.note(found.map(drop));
    teardown.finish(|| format!("interface {name}"))?;
    Ok(is_there)
}

fn of_container(attachment: &Attachment) -> String {
    format!("the network of container {}", attachment.container.short())
}

pub(crate) fn route_socket() -> Result<RouteSocket, UndoError> {
    RouteSocket::open().map_err(|source| netlink("ask the kernel about interfaces", source))
}

pub(crate) fn netlink(what: &'static str, source: NetlinkError) -> UndoError {
    UndoError::Netlink { what, source }
}

pub(crate) fn lock_error(bridge: &BridgeConfig) -> impl Fn(LockError) -> UndoError {
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
pub(crate) fn remove_interface(route: &RouteSocket, name: &InterfaceName) -> Result<(), UndoError> {
    unless_gone(route.apply(|batch| delete_link(batch, name)))
}

/// The same by its index.
pub(crate) fn remove_interface_at(route: &RouteSocket, index: u32) -> Result<(), UndoError> {
    unless_gone(route.apply(|batch| delete_link_at(batch, index)))
}

fn unless_gone(deleted: Result<(), NetlinkError>) -> Result<(), UndoError> {
    match deleted {
        Err(error) if error.errno() == Some(rustix::io::Errno::NODEV) => Ok(()),
        other => other.map_err(|source| netlink("delete an interface", source)),
    }
}
