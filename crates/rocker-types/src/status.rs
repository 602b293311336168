//! What a container is doing.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A container's recorded status, in docker's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ContainerStatus {
    /// Defined; never started.
    Created,
    /// Its init process is alive.
    Running,
    /// Ended, and its monitor waits to start it again.
    Restarting,
    /// Frozen.
    Paused,
    /// Being removed.
    Removing,
    /// Ended, with an exit code.
    Exited,
    /// Half removed: only `rm` helps.
    Dead,
}

impl ContainerStatus {
    /// Docker's word, as `inspect` prints it and as the database stores it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Restarting => "restarting",
            Self::Paused => "paused",
            Self::Removing => "removing",
            Self::Exited => "exited",
            Self::Dead => "dead",
        }
    }

    /// Whether processes of the container may exist.
    #[must_use]
    pub const fn is_active(self) -> bool {
        matches!(self, Self::Running | Self::Restarting | Self::Paused)
    }
}

impl fmt::Display for ContainerStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ContainerStatus {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        use ContainerStatus::{Created, Dead, Exited, Paused, Removing, Restarting, Running};
        [Created, Running, Restarting, Paused, Removing, Exited, Dead]
            .into_iter()
            .find(|s| s.as_str() == text)
            .ok_or(())
    }
}
