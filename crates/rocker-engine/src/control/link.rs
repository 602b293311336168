//! One end of a connection: packets out and in, never blocking.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendFlags, SocketFlags, SocketType,
};

use super::message::{MAX_PACKET, Packet};

/// One end of a connection.
#[derive(Debug)]
pub struct Link(OwnedFd);

/// What [`Link::receive`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// A packet is in the buffer.
    Packet,
    /// There is none yet.
    Nothing,
    /// The other side hung up.
    Closed,
}

/// Whether [`Link::send`] could hand the packet to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// It is on its way, whole.
    Whole,
    /// The socket is full; nothing of it was sent.
    NotNow,
    /// The other side hung up.
    HungUp,
}

impl Link {
    pub(crate) fn send(&self, packet: &Packet<'_>) -> io::Result<Sent> {
        let parts = packet.parts().map(IoSlice::new);
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        let mut none: [MaybeUninit<u8>; 0] = [];
        loop {
            let mut control = SendAncillaryBuffer::new(&mut none);
            return match rustix::net::sendmsg(&self.0, &parts, &mut control, flags) {
                Ok(_) => Ok(Sent::Whole),
                // ENOBUFS: the kernel has no memory for the packet now, which will pass.
                Err(Errno::AGAIN | Errno::NOBUFS) => Ok(Sent::NotNow),
                Err(Errno::PIPE | Errno::CONNRESET) => Ok(Sent::HungUp),
                Err(Errno::INTR) => continue,
                Err(errno) => Err(errno.into()),
            };
        }
    }

    /// Takes the next packet into `buffer`, which holds nothing else afterwards.
    pub(crate) fn receive(&self, buffer: &mut Vec<u8>) -> io::Result<Received> {
        buffer.clear();
        buffer.reserve(MAX_PACKET);
        loop {
            let free = rustix::buffer::spare_capacity(buffer);
            return match rustix::net::recv(&self.0, free, RecvFlags::DONTWAIT) {
                Ok((0, _)) => Ok(Received::Closed),
                Ok(_) => Ok(Received::Packet),
                Err(Errno::AGAIN) => Ok(Received::Nothing),
                // CONNRESET: the other side hung up without having read everything. The kernel says
                // so once, ahead of what that side had sent before and we still want.
                Err(Errno::INTR | Errno::CONNRESET) => continue,
                Err(errno) => Err(errno.into()),
            };
        }
    }
}

impl From<OwnedFd> for Link {
    fn from(socket: OwnedFd) -> Self {
        Self(socket)
    }
}

impl From<Link> for OwnedFd {
    fn from(link: Link) -> Self {
        link.0
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Makes the two ends of a connection: the client's, and the one that the monitor inherits.
///
/// Both are close-on-exec.
///
/// # Errors
///
/// The kernel's, for instance `EMFILE`. See socketpair(2).
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?)
}
