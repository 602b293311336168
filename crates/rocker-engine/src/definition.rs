//! What a container is: everything decided, nothing left to default.
//!
//! The request of a command line plus the image's config becomes a [`Definition`] once, in
//! [`resolve`](crate::resolve). It is stored as JSON in the databases and read by the monitor,
//! possibly one of a newer rocker: fields are only ever added, with a default.

use std::collections::BTreeMap;

use rocker_types::{
    CapabilitySet, CpuQuota, DiffId, Digest, PublishedPort, RestartPolicy, Signal, TmpfsSpec,
    Ulimit, UserSpec, VolumeName, VolumeSpec,
};
use serde::{Deserialize, Serialize};

/// A container's whole definition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Definition {
    /// The image as the user named it.
    pub image: String,
    /// Digest of the image's config.
    pub image_id: Digest,
    /// The image's layers, base first.
    pub layers: Vec<DiffId>,
    /// `--entrypoint` or the image's; empty is none.
    pub entrypoint: Vec<String>,
    /// The words after the image, or the image's `CMD`.
    pub cmd: Vec<String>,
    /// `NAME=VALUE`, final but for `HOME`, which init takes from the container's passwd file.
    pub env: Vec<String>,
    /// Working directory.
    pub working_dir: String,
    /// Who runs.
    pub user: UserSpec,
    /// The name in the UTS namespace; `None` with the host's network keeps the host's.
    pub hostname: Option<String>,
    /// Labels of the image and of the user.
    pub labels: BTreeMap<String, String>,
    /// How `stop` asks.
    pub stop_signal: Signal,
    /// Whether it has a terminal.
    pub tty: bool,
    /// Whether its standard input stays open.
    pub open_stdin: bool,
    /// Whether the first client's end of input ends it.
    pub stdin_once: bool,
    /// Whether its maker took standard output.
    #[serde(default)]
    pub attach_stdout: bool,
    /// Whether its maker took standard error.
    #[serde(default)]
    pub attach_stderr: bool,
    /// Which network.
    pub network: NetworkMode,
    /// Published ports as asked; a host port of 0 is chosen at each start.
    pub ports: Vec<PublishedPort>,
    /// `EXPOSE`d ports of the image, like `80/tcp`.
    pub exposed: Vec<String>,
    /// Binds and volumes.
    pub mounts: Vec<MountDefinition>,
    /// `--tmpfs`.
    pub tmpfs: Vec<TmpfsSpec>,
    /// The root file system cannot be written.
    pub read_only: bool,
    /// What it may use.
    pub resources: Resources,
    /// What root in it may do.
    pub capabilities: CapabilitySet,
    /// `--cap-add` as given.
    pub cap_add: Vec<String>,
    /// `--cap-drop` as given.
    pub cap_drop: Vec<String>,
    /// Everything on.
    pub privileged: bool,
    /// rocker's own reaper is pid 1.
    pub init: bool,
    /// When it starts again.
    pub restart: RestartPolicy,
    /// Gone with its end.
    pub auto_remove: bool,
    /// The command line that made it.
    pub create_command: Vec<String>,
}

/// Which network a container has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NetworkMode {
    /// An address on rocker's bridge.
    #[default]
    Bridge,
    /// A loopback and nothing else.
    None,
    /// The host's own.
    Host,
}

impl NetworkMode {
    /// The word of `--network`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bridge => "bridge",
            Self::None => "none",
            Self::Host => "host",
        }
    }
}

/// One bind or volume; an anonymous volume has its name by now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountDefinition {
    /// As parsed; the source is never anonymous.
    pub spec: VolumeSpec,
    /// Whether the volume was made for this container and goes with `rm -v` and `--rm`.
    pub anonymous: bool,
}

/// Limits as docker's flags give them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// `--memory` in bytes.
    pub memory_bytes: Option<u64>,
    /// `--cpus`.
    pub cpu: Option<CpuQuota>,
    /// `--pids-limit`; `None` is no limit.
    pub pids: Option<u64>,
    /// Resource limits that were asked for.
    #[serde(default)]
    pub ulimits: Vec<Ulimit>,
}

impl Definition {
    /// The program and its arguments.
    #[must_use]
    pub fn argv(&self) -> Vec<String> {
        self.entrypoint.iter().chain(&self.cmd).cloned().collect()
    }

    /// The volumes that it mounts.
    #[must_use]
    pub fn volumes(&self) -> Vec<VolumeName> {
        use rocker_types::VolumeSource;
        let name = |mount: &MountDefinition| match &mount.spec.source {
            VolumeSource::Named(name) => Some(name.clone()),
            VolumeSource::Bind(_) | VolumeSource::Anonymous => None,
        };
        self.mounts.iter().filter_map(name).collect()
    }

    /// The volumes that were made for it alone.
    #[must_use]
    pub fn anonymous_volumes(&self) -> Vec<VolumeName> {
        let anonymous = Self {
            mounts: self
                .mounts
                .iter()
                .filter(|mount| mount.anonymous)
                .cloned()
                .collect(),
            ..self.clone()
        };
        anonymous.volumes()
    }
}
