//! How the host's side and init take turns.
//!
//! ```text
//!   create, start (host namespaces)         init (the container's namespaces)
//!   clone3 ─────────────────────────────▶   joins cgroups, mounts, pivot_root,
//!   attaches the network meanwhile          user, capabilities
//!                                      ◀──  Ready (with the terminal's master side)
//!                                           seccomp
//!   Go ─────────────────────────────────▶   execve (the socket is close-on-exec)
//!                                      ◀──  end of file: the program runs
//! ```
//!
//! An exec session has one message more: the process that joined the namespaces starts the
//! one that becomes the program, and hands its pidfd over with `Ready`.
//!
//! At any point init may send `Failed` instead and end. End of file before `Go` means that it
//! died. Init in turn ends without a word when the socket closes: nobody waits for it any more.
//! One message is one `SOCK_SEQPACKET` packet, so there is no framing to get wrong.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rocker_sys::socket;

use super::step::{InitFailure, InitStep};

const READY: u8 = 1;
const FAILED: u8 = 2;
const GO: u8 = 3;

/// A longer object is cut.
const MAX_OBJECT: usize = 2048;

/// What init says.
#[derive(Debug)]
pub(crate) enum FromInit {
    /// Everything but the gate is behind it. `pid` is 0 unless another process took over.
    Ready { pid: i32, fds: Vec<OwnedFd> },
    /// It gave up.
    Failed(InitFailure),
    /// The socket is closed.
    EndOfFile,
}

/// The host's end.
#[derive(Debug)]
pub(crate) struct HostEnd(pub(super) OwnedFd);

/// Init's end.
#[derive(Debug)]
pub(crate) struct InitEnd(pub(super) OwnedFd);

/// Both ends.
pub(crate) fn channel() -> io::Result<(HostEnd, InitEnd)> {
    let (host, init) = socket::packet_pair()?;
    Ok((HostEnd(host), InitEnd(init)))
}

impl AsFd for InitEnd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl HostEnd {
    /// Waits for what init says next.
    pub(crate) fn receive(&self) -> io::Result<FromInit> {
        let mut packet = [0_u8; MAX_OBJECT + 16];
        let (len, fds) = socket::receive(self.0.as_fd(), &mut packet)?;
        decode(&packet[..len], fds).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// Opens the gate.
    pub(crate) fn go(&self) -> io::Result<()> {
        socket::send(self.0.as_fd(), &[GO], &[])
    }
}

impl InitEnd {
    /// Says that everything is done, and hands descriptors over.
    pub(crate) fn ready(&self, pid: i32, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut packet = vec![READY];
        packet.extend(pid.to_le_bytes());
        socket::send(self.0.as_fd(), &packet, fds)
    }

    /// A copy of what the program before execve(2) left open under this number.
    pub(crate) fn inherited(number: i32) -> Option<Self> {
        rocker_sys::process::inherited_fd(number).ok().map(Self)
    }

    /// Another descriptor of the same end, close-on-exec.
    pub(crate) fn duplicate(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }

    /// Waits for the gate to open; `false` means that nobody waits for us any more.
    pub(crate) fn wait_for_go(&self) -> bool {
        let mut byte = [0_u8; 1];
        loop {
            // read(2) and write(2) and not the socket calls: a seccomp filter is on by now.
            match rustix::io::read(&self.0, &mut byte) {
                Err(rustix::io::Errno::INTR) => {}
                result => return result == Ok(1) && byte == [GO],
            }
        }
    }

    /// Says what went wrong. If even that fails, the end of the process must do.
    pub(crate) fn failed(&self, failure: &InitFailure) {
        let _ = rustix::io::write(&self.0, &encode(failure));
    }
}

fn encode(failure: &InitFailure) -> Vec<u8> {
    let mut packet = vec![FAILED, failure.step as u8];
    packet.extend(failure.errno().to_le_bytes());
    let object = failure.object.as_bytes();
    packet.extend(&object[..object.len().min(MAX_OBJECT)]);
    packet
}

fn decode(packet: &[u8], fds: Vec<OwnedFd>) -> Option<FromInit> {
    match packet {
        [] => Some(FromInit::EndOfFile),
        [READY, pid @ ..] => Some(FromInit::Ready {
            pid: i32::from_le_bytes(pid.try_into().ok()?),
            fds,
        }),
        [FAILED, step, rest @ ..] => {
            let (errno, object) = rest.split_first_chunk()?;
            let errno = i32::from_le_bytes(*errno);
            Some(FromInit::Failed(InitFailure {
                step: InitStep::from_number(*step)?,
                object: String::from_utf8_lossy(object).into_owned(),
                source: (errno != 0).then(|| io::Error::from_raw_os_error(errno)),
            }))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_crosses_the_socket_whole() {
        let (host, init) = channel().unwrap();
        for step in InitStep::ALL {
            for errno in [0, 2, 13] {
                let source = (errno != 0).then(|| io::Error::from_raw_os_error(errno));
                let object = format!("/some/{step:?}");
                init.failed(&InitFailure {
                    step: *step,
                    object: object.clone(),
                    source,
                });
                let FromInit::Failed(failure) = host.receive().unwrap() else {
                    panic!("not a failure");
                };
                assert_eq!(failure.step, *step);
                assert_eq!(failure.errno(), errno);
                assert_eq!(failure.object, object);
            }
        }
    }

    #[test]
    fn ready_carries_descriptors_and_a_closed_socket_is_the_end() {
        let (host, init) = channel().unwrap();
        init.ready(7, &[init.0.as_fd()]).unwrap();
        drop(init);
        let FromInit::Ready { pid: 7, fds } = host.receive().unwrap() else {
            panic!("not ready");
        };
        assert_eq!(fds.len(), 1);
        drop(fds);
        assert!(matches!(host.receive().unwrap(), FromInit::EndOfFile));
    }

    #[test]
    fn the_gate_opens_for_go_only() {
        let (host, init) = channel().unwrap();
        host.go().unwrap();
        assert!(init.wait_for_go());
        drop(host);
        assert!(!init.wait_for_go());
    }

    #[test]
    fn nonsense_is_refused() {
        for packet in [
            &[9_u8][..],
            &[FAILED],
            &[FAILED, 250, 0, 0, 0, 0],
            &[READY, 1],
        ] {
            assert!(decode(packet, Vec::new()).is_none(), "{packet:?}");
        }
    }
}
