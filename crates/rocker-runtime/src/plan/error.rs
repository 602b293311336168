//! What is refused before anything is touched.

use rocker_types::{Diagnose, ErrorKind};

/// The specification asks for something that is never done.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PlanError {
    /// No program.
    #[error("no program to run")]
    NoProgram,
    /// A string with a NUL byte cannot be given to the kernel.
    #[error("{what} {text:?} holds a NUL byte")]
    NulByte {
        /// Which string.
        what: &'static str,
        /// The string.
        text: String,
    },
    /// An environment entry that is not `NAME=VALUE`.
    #[error("environment entry {entry:?} is not NAME=VALUE")]
    Environment {
        /// The entry.
        entry: String,
    },
    /// An overlay of nothing.
    #[error("the root file system has no layers")]
    NoLayers,
    /// A host path that is not absolute.
    #[error("{what} {path:?} is not an absolute path")]
    RelativePath {
        /// Which path.
        what: &'static str,
        /// The path.
        path: String,
    },
    /// A mount that would cover the root, part of /proc, or lies behind control bytes.
    #[error("cannot mount on {target:?}: {why}")]
    MountTarget {
        /// Where.
        target: String,
        /// The reason.
        why: &'static str,
    },
    /// A kernel setting.
    #[error("kernel setting {name:?} refused: {why}")]
    Sysctl {
        /// Its name.
        name: String,
        /// The reason.
        why: &'static str,
    },
    /// A hostname that the kernel or a file would choke on.
    #[error("hostname {name:?} must be 1 to 64 letters, digits, dots and hyphens")]
    Hostname {
        /// The name.
        name: String,
    },
    /// A device outside of `/dev`.
    #[error("device {path:?} is not below /dev in the container")]
    DevicePath {
        /// Where.
        path: String,
    },
    /// A group that is neither name nor number.
    #[error("invalid group {group:?}")]
    Group {
        /// The text.
        group: String,
    },
    /// More ambient capabilities than capabilities.
    #[error("ambient capabilities are not part of the capabilities")]
    Ambient,
}

impl Diagnose for PlanError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}
