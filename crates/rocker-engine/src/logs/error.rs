//! Why a log could not be opened, or not be read on.

use std::io;
use std::path::PathBuf;

use rocker_types::{Diagnose, ErrorKind};

/// Why a log could not be opened for writing. (Later failures lose lines, not the container.)
#[derive(Debug, thiserror::Error)]
#[error("cannot {attempt} log {path:?}")]
pub struct LogWriteError {
    /// The step that failed, as a verb.
    pub attempt: &'static str,
    /// The current file of the log.
    pub path: PathBuf,
    /// The kernel's answer.
    pub source: io::Error,
}

/// Why a log could not be read.
#[derive(Debug, thiserror::Error)]
pub enum LogReadError {
    /// A file or directory of the log refused.
    #[error("cannot {attempt} log {path:?}")]
    Read {
        /// The step that failed, as a verb.
        attempt: &'static str,
        /// The current file of the log.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// What was read could not be passed on.
    #[error("cannot write out the log")]
    Output {
        /// The writer's answer; `BrokenPipe` if its reader has had enough.
        source: io::Error,
    },
}

impl Diagnose for LogWriteError {
    fn kind(&self) -> ErrorKind {
        kind(&self.source)
    }
}

impl Diagnose for LogReadError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Read { source, .. } => kind(source),
            Self::Output { .. } => ErrorKind::Interrupted,
        }
    }
}

fn kind(source: &io::Error) -> ErrorKind {
    if source.kind() == io::ErrorKind::NotFound {
        ErrorKind::NotFound
    } else if source.kind() == io::ErrorKind::PermissionDenied {
        ErrorKind::Denied
    } else {
        ErrorKind::Internal
    }
}
