//! The monitor's side of the door: the socket in the container's run directory.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use super::{Link, ListenError};

/// How many connections may wait while the monitor is busy.
const BACKLOG: i32 = 64;

/// A control socket that clients can connect to.
///
/// Only root and the monitor's own user may: the socket has mode 0600, and who connects is
/// asked for by `SO_PEERCRED` as well, should the file ever be bound into a container.
#[derive(Debug)]
pub struct ControlListener(OwnedFd);

impl ControlListener {
    /// Makes the socket at `path`; one that a dead monitor left behind is replaced.
    ///
    /// # Errors
    ///
    /// [`ListenError`] names the step.
    pub fn bind(path: &Path) -> Result<Self, ListenError> {
        let failed = |attempt| {
            move |errno: Errno| ListenError {
                attempt,
                path: path.to_owned(),
                source: errno.into(),
            }
        };

        let socket = socket().map_err(failed("create"))?;
        // bind(2) takes the mode of the file from the socket's own inode, so there is no moment
        // at which the file is open to others.
        rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR).map_err(failed("protect"))?;
        match rustix::fs::unlink(path) {
            Ok(()) | Err(Errno::NOENT) => (),
            Err(errno) => return Err(failed("replace")(errno)),
        }
        let address = Address::of(path).map_err(failed("find the directory of"))?;
        rustix::net::bind(&socket, &address.name).map_err(failed("bind"))?;
        rustix::net::listen(&socket, BACKLOG).map_err(failed("listen at"))?;
        Ok(Self(socket))
    }

    /// Takes one waiting connection.
    ///
    /// # Errors
    ///
    /// The kernel's, for instance `EMFILE`: the connection still waits then.
    pub(crate) fn accept(&self) -> io::Result<Accepted> {
        let socket = match rustix::net::accept_with(&self.0, SocketFlags::CLOEXEC) {
            Ok(socket) => socket,
            Err(Errno::AGAIN) => return Ok(Accepted::Nobody),
            Err(Errno::INTR | Errno::CONNABORTED) => return Ok(Accepted::Refused),
            Err(errno) => return Err(errno.into()),
        };
        let who = rustix::net::sockopt::socket_peercred(&socket)?;
        let allowed = who.uid.is_root() || who.uid == rustix::process::geteuid();
        Ok(if allowed {
            Accepted::Client(Link::from(socket))
        } else {
            Accepted::Refused
        })
    }
}

/// What [`ControlListener::accept`] found.
#[derive(Debug)]
pub(crate) enum Accepted {
    /// A client.
    Client(Link),
    /// Somebody who may not, or who left.
    Refused,
    /// Nobody waits.
    Nobody,
}

impl AsFd for ControlListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Connects to the socket at `path`; `WouldBlock` if as many wait there as may.
pub(crate) fn connect(path: &Path) -> io::Result<OwnedFd> {
    let socket = socket()?;
    let address = Address::of(path)?;
    rustix::net::connect(&socket, &address.name)?;
    // from here on each call says by itself whether it may wait
    rustix::io::ioctl_fionbio(&socket, false)?;
    Ok(socket)
}

fn socket() -> Result<OwnedFd, Errno> {
    rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        // Of a listening socket, accepted ones do not inherit this. A connecting one would wait
        // without end for a monitor that is busy with something else.
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )
}

/// A socket address for a path of any length.
struct Address {
    name: SocketAddrUnix,
    /// Keeps `/proc/self/fd/N` in `name` meaning the directory.
    _directory: Option<OwnedFd>,
}

impl Address {
    /// `sockaddr_un` has room for 107 bytes; a longer path goes by way of its directory's fd.
    fn of(path: &Path) -> Result<Self, Errno> {
        match SocketAddrUnix::new(path) {
            Ok(name) => Ok(Self {
                name,
                _directory: None,
            }),
            Err(Errno::NAMETOOLONG) => Self::through_directory(path),
            Err(errno) => Err(errno),
        }
    }

    fn through_directory(path: &Path) -> Result<Self, Errno> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(Errno::INVAL);
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(parent, flags, Mode::empty())?;
        let short = Path::new("/proc/self/fd")
            .join(directory.as_raw_fd().to_string())
            .join(name);
        Ok(Self {
            name: SocketAddrUnix::new(&short)?,
            _directory: Some(directory),
        })
    }
}
