//! What a front end asks for: the flags of `run` and `create` as values.

use rocker_types::{
    ContainerName, CpuQuota, Platform, PublishedPort, RestartPolicy, Signal, TmpfsSpec, Ulimit,
    UserSpec, VolumeSpec,
};

use crate::NetworkMode;

/// When an image is fetched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PullPolicy {
    /// When it is not here.
    #[default]
    Missing,
    /// Every time, to see whether the name means something newer.
    Always,
    /// Not at all: a missing image is an error.
    Never,
}

/// Everything that `run` and `create` take. `None` and empty mean: the image decides, or
/// rocker's default.
#[derive(Clone, Debug, Default)]
pub struct CreateRequest {
    /// The image as typed: a reference or the prefix of an id.
    pub image: String,
    /// `--platform`.
    pub platform: Option<Platform>,
    /// `--name`; `None` gets a random one.
    pub name: Option<ContainerName>,
    /// The words after the image.
    pub command: Vec<String>,
    /// `--entrypoint`; `Some` of nothing clears the image's.
    pub entrypoint: Option<Vec<String>>,
    /// `-e`: `NAME=VALUE`, or `NAME` with the value already looked up by the front end.
    pub env: Vec<String>,
    /// `-w`.
    pub working_dir: Option<String>,
    /// `-u`.
    pub user: Option<UserSpec>,
    /// `--hostname`.
    pub hostname: Option<String>,
    /// `--label`, `KEY=VALUE`.
    pub labels: Vec<(String, String)>,
    /// `-v`.
    pub volumes: Vec<VolumeSpec>,
    /// `--tmpfs`.
    pub tmpfs: Vec<TmpfsSpec>,
    /// `-p`.
    pub ports: Vec<PublishedPort>,
    /// `--network`.
    pub network: NetworkMode,
    /// `-t`.
    pub tty: bool,
    /// `-i`.
    pub interactive: bool,
    /// Standard input ends with the first client's: `-i` without `-d`.
    pub stdin_once: bool,
    /// The caller takes standard output; for `inspect` alone.
    pub attach_stdout: bool,
    /// The caller takes standard error; for `inspect` alone.
    pub attach_stderr: bool,
    /// `--read-only`.
    pub read_only: bool,
    /// `-m` in bytes.
    pub memory_bytes: Option<u64>,
    /// `--cpus`.
    pub cpu: Option<CpuQuota>,
    /// `--pids-limit`: `None` is rocker's default, `Some(None)` no limit.
    pub pids: Option<Option<u64>>,
    /// Resource limits.
    pub ulimits: Vec<Ulimit>,
    /// `--cap-add`.
    pub cap_add: Vec<String>,
    /// `--cap-drop`.
    pub cap_drop: Vec<String>,
    /// `--privileged`.
    pub privileged: bool,
    /// `--init`.
    pub init: bool,
    /// `--rm`.
    pub auto_remove: bool,
    /// `--restart`.
    pub restart: RestartPolicy,
    /// `--stop-signal`.
    pub stop_signal: Option<Signal>,
    /// The command line, for `inspect`.
    pub create_command: Vec<String>,
}
