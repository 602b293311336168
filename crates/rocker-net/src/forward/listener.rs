//! The host's side of one published port.

use std::io;
use std::net::{SocketAddr, SocketAddrV4};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rocker_types::{Diagnose, ErrorKind, Protocol, PublishedPort};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketFlags, SocketType, bind, getsockname, listen, socket_with, sockopt,
};

use super::holder::{Holder, find_holder};

/// Why a port could not be published.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// Somebody else has it.
    #[error("port {address}/{protocol} is taken{}", by(.holder))]
    Taken {
        /// Address and port on the host.
        address: SocketAddrV4,
        /// Transport protocol.
        protocol: Protocol,
        /// Who has it: a process's name and id, if they can be known.
        holder: Option<Holder>,
    },
    /// The address is none of this host's.
    #[error("cannot publish on {address}: the host has no such address")]
    NoSuchAddress {
        /// Address and port.
        address: SocketAddrV4,
    },
    /// The socket could not be made.
    #[error("cannot publish port {address}/{protocol}")]
    Bind {
        /// Address and port on the host.
        address: SocketAddrV4,
        /// Transport protocol.
        protocol: Protocol,
        /// What the kernel said.
        source: io::Error,
    },
    /// The sockets could not be watched.
    #[error("cannot watch published ports")]
    Epoll {
        /// What the kernel said.
        source: io::Error,
    },
}

fn by(holder: &Option<Holder>) -> String {
    holder
        .as_ref()
        .map(|holder| format!(" by {holder}"))
        .unwrap_or_default()
}

impl Diagnose for PortError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Taken { .. } => ErrorKind::Conflict,
            Self::NoSuchAddress { .. } => ErrorKind::Invalid,
            Self::Bind { .. } | Self::Epoll { .. } => ErrorKind::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Taken { address, .. } => Some(format!(
                "stop it, or publish on another port: -p {}:CONTAINER_PORT; -p CONTAINER_PORT takes any free one",
                address.port().checked_add(1).unwrap_or(1024)
            )),
            Self::NoSuchAddress { .. } => {
                Some("`ip address` shows the addresses there are".to_owned())
            }
            Self::Bind { .. } | Self::Epoll { .. } => None,
        }
    }
}

/// How many clients may wait for the forwarder, as much as the kernel allows.
const BACKLOG: i32 = 4096;

/// A socket that holds a published port.
#[derive(Debug)]
pub(super) struct Listener {
    socket: OwnedFd,
    /// With the host port that it got.
    pub(super) port: PublishedPort,
}

impl Listener {
    pub(super) fn bind(port: &PublishedPort) -> Result<Self, PortError> {
        let address = SocketAddrV4::new(port.host_ip, port.host_port);
        match open(port.protocol, address) {
            Ok((socket, host_port)) => Ok(Self {
                socket,
                port: PublishedPort { host_port, ..*port },
            }),
            Err(Errno::ADDRINUSE) => Err(PortError::Taken {
                address,
                protocol: port.protocol,
                holder: find_holder(port.protocol, address),
            }),
            Err(Errno::ADDRNOTAVAIL) => Err(PortError::NoSuchAddress { address }),
            Err(errno) => Err(PortError::Bind {
                address,
                protocol: port.protocol,
                source: errno.into(),
            }),
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn open(protocol: Protocol, address: SocketAddrV4) -> Result<(OwnedFd, u16), Errno> {
    let kind = match protocol {
        Protocol::Tcp => SocketType::STREAM,
        Protocol::Udp => SocketType::DGRAM,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::INET, kind, flags, None)?;
    if protocol == Protocol::Tcp {
        // Connections of an earlier life in TIME_WAIT do not keep the port.
        sockopt::set_socket_reuseaddr(&socket, true)?;
        // What is accepted inherits it: a proxy must not add delays of its own.
        sockopt::set_tcp_nodelay(&socket, true)?;
    }
    bind(&socket, &address)?;
    if protocol == Protocol::Tcp {
        listen(&socket, BACKLOG)?;
    }
    let bound = SocketAddr::try_from(getsockname(&socket)?).map_err(|_| Errno::AFNOSUPPORT)?;
    Ok((socket, bound.port()))
}
