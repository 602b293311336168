//! Opening things inside a container's network namespace.
//!
//! A socket belongs for life to the namespace where it was made, so one short visit is
//! enough; everything later is said through the socket from outside.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::netlink::{NetlinkError, RouteSocket};

/// Why the container's network namespace could not be visited.
#[derive(Debug, thiserror::Error)]
pub enum NetnsError {
    /// The caller's own namespace could not be opened, so there would be no way back.
    #[error("cannot open this process's own network namespace")]
    OpenOwn {
        /// What the kernel said.
        source: io::Error,
    },
    /// The container's namespace could not be entered.
    #[error("cannot enter the container's network namespace")]
    Enter {
        /// What the kernel said.
        source: io::Error,
    },
    /// The caller's namespace could not be entered again: the process must end.
    #[error("cannot return to this process's own network namespace")]
    Return {
        /// What the kernel said.
        source: io::Error,
    },
    /// The socket could not be opened inside.
    #[error("cannot use the container's network namespace")]
    Socket {
        /// What the kernel said.
        source: NetlinkError,
    },
}

/// Opens a route socket inside `netns`, and has its future interfaces ignore IPv6 router
/// advertisements (CVE-2020-13401: a neighbour could divert the container's traffic).
///
/// The calling thread is somewhere else for some microseconds; other threads of the process
/// are not concerned.
pub(crate) fn open_inside(netns: BorrowedFd<'_>) -> Result<RouteSocket, NetnsError> {
    let own = open_own().map_err(|source| NetnsError::OpenOwn { source })?;
    enter(netns).map_err(|source| NetnsError::Enter { source })?;
    // Nothing between here and the return may leave this function.
    let socket = RouteSocket::open();
    ignore_router_advertisements("default");
    enter(own.as_fd()).map_err(|source| NetnsError::Return { source })?;
    socket.map_err(|source| NetnsError::Socket { source })
}

fn open_own() -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(
        "/proc/thread-self/ns/net",
        flags,
        Mode::empty(),
    )?)
}

fn enter(netns: BorrowedFd<'_>) -> io::Result<()> {
    Ok(move_into_link_name_space(
        netns,
        Some(LinkNameSpaceType::Network),
    )?)
}

/// Sets `accept_ra` of one interface, or of those to come, to 0 in the calling thread's
/// network namespace. Where IPv6 is switched off there is nothing to set.
pub(crate) fn ignore_router_advertisements(interface: &str) {
    let path = format!("/proc/sys/net/ipv6/conf/{interface}/accept_ra");
    if let Err(error) = fs_err::write(&path, "0") {
        tracing::debug!(%error, "no router advertisements to ignore");
    }
}
