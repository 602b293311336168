//! Why a control socket could not be opened or used.

use std::io;
use std::path::PathBuf;

use rocker_types::{Diagnose, ErrorKind};

/// Why a client's conversation with a monitor failed.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// Nobody listens: the monitor is gone, or the container never ran.
    #[error("cannot connect to the container's monitor at {path:?}")]
    Connect {
        /// The control socket.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A packet could not be sent.
    #[error("cannot send {what} to the container's monitor")]
    Send {
        /// Which message.
        what: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A packet could not be received.
    #[error("cannot receive from the container's monitor")]
    Receive {
        /// The kernel's answer.
        source: io::Error,
    },
    /// The monitor is alive but took nothing for [`super::Session::PATIENCE`].
    #[error("the container's monitor does not take {what}")]
    Stalled {
        /// Which message.
        what: &'static str,
    },
    /// The monitor speaks a protocol that this binary does not know.
    #[error("the container's monitor speaks protocol {theirs}, this rocker knows up to {ours}")]
    Version {
        /// What the monitor answered.
        theirs: u8,
        /// What this binary knows.
        ours: u8,
    },
}

impl Diagnose for SessionError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Connect { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                ErrorKind::NotFound
            }
            Self::Connect { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                ErrorKind::Denied
            }
            Self::Connect { .. } | Self::Stalled { .. } => ErrorKind::Unavailable,
            Self::Send { .. } | Self::Receive { .. } => ErrorKind::Internal,
            Self::Version { .. } => ErrorKind::Unsupported,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Connect { .. } => Some("is the container running? see `rocker ps`".to_owned()),
            Self::Version { .. } => {
                Some("restart the container, or use the rocker that started it".to_owned())
            }
            Self::Send { .. } | Self::Receive { .. } | Self::Stalled { .. } => None,
        }
    }
}

/// Why a control socket could not be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot {attempt} control socket {path:?}")]
pub struct ListenError {
    /// The step that failed, as a verb.
    pub attempt: &'static str,
    /// The socket's place.
    pub path: PathBuf,
    /// The kernel's answer.
    pub source: io::Error,
}

impl Diagnose for ListenError {
    fn kind(&self) -> ErrorKind {
        if self.source.kind() == io::ErrorKind::PermissionDenied {
            ErrorKind::Denied
        } else {
            ErrorKind::Internal
        }
    }
}
