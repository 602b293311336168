//! Why a container could not be watched.

use std::io;

use rocker_types::{Diagnose, ErrorKind};

/// Why a container could not be watched, or not any longer. The container itself is not touched.
#[derive(Debug, thiserror::Error)]
#[error("cannot {attempt} of the container")]
pub struct SuperviseError {
    /// The step that failed, as a verb and its object.
    pub attempt: &'static str,
    /// The kernel's answer.
    pub source: io::Error,
}

impl Diagnose for SuperviseError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Internal
    }
}
