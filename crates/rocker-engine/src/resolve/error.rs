//! What is wrong with a request.

use rocker_types::{Diagnose, ErrorKind, UnknownCapability};

/// What is wrong with a request, or with an image that is to run.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ResolveError {
    /// Neither the image nor the user says what to run.
    #[error("image {image} has no command, and none was given")]
    NoCommand {
        /// The image.
        image: String,
    },
    /// The image is for another system.
    #[error("image {image} is for {found}, this host is {host}")]
    WrongPlatform {
        /// The image.
        image: String,
        /// What it is for.
        found: String,
        /// What this is.
        host: String,
    },
    /// A variable without a name, or with a NUL byte.
    #[error("invalid environment variable {0:?}: want NAME=VALUE")]
    BadVariable(String),
    /// A string that would end early or start a new line where it must not.
    #[error("{what} {value:?} holds control characters")]
    ControlCharacters {
        /// Which value.
        what: &'static str,
        /// The value.
        value: String,
    },
    /// A host name that the kernel or DNS refuses.
    #[error(
        "invalid hostname {0:?}: want up to 64 of a-z A-Z 0-9 - _ and ., at most 63 between dots, no - first"
    )]
    BadHostname(String),
    /// The image's user is not one.
    #[error("image {image} names an invalid user")]
    BadImageUser {
        /// The image.
        image: String,
        /// Why.
        source: rocker_types::InvalidUser,
    },
    /// The image's stop signal is not one.
    #[error("image {image} names an invalid stop signal")]
    BadImageSignal {
        /// The image.
        image: String,
        /// Why.
        source: rocker_types::InvalidSignal,
    },
    /// A volume of the image has a path that cannot be one.
    #[error("image {image} declares an impossible volume {path:?}")]
    BadImageVolume {
        /// The image.
        image: String,
        /// What it declares.
        path: String,
    },
    /// A capability that does not exist.
    #[error(transparent)]
    Capability(#[from] UnknownCapability),
    /// Too little to start.
    #[error("memory limit {0} is below the least, 6 MiB")]
    MemoryTooSmall(u64),
    /// Two flags that exclude each other.
    #[error("{one} and {other} exclude each other")]
    Conflict {
        /// The first.
        one: &'static str,
        /// The second.
        other: &'static str,
    },
    /// Two mounts at one place.
    #[error("two mounts at {0:?}")]
    DuplicateMount(String),
    /// A working directory that is no path.
    #[error("invalid working directory {0:?}")]
    BadWorkingDir(String),
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the variants that are not named have no cure of their own"
)]
impl Diagnose for ResolveError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::WrongPlatform { .. } => ErrorKind::Unsupported,
            _ => ErrorKind::Invalid,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NoCommand { image } => Some(format!("say what to run: rocker run {image} sh")),
            Self::WrongPlatform { .. } => Some("pull the image for this host's platform".into()),
            Self::Conflict { one: "-p", .. } => {
                Some("leave -p out: the container's ports are the host's already".into())
            }
            _ => None,
        }
    }
}
