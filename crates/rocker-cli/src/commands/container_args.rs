//! The flags that `run` and `create` share.

use rocker_engine::{CreateRequest, NetworkMode};
use rocker_types::{
    ByteSize, ContainerName, PortSpec, RestartPolicy, Signal, TmpfsSpec, UserSpec, VolumeSpec,
};

use super::CommandError;

use crate::cli::values::{self, Cpus, Entrypoint, EnvVar, Memory, PidsLimit};
use crate::ui::progress::ProgressArgs;

/// When an image is fetched.
#[derive(clap::ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PullWhen {
    Always,
    Missing,
    Never,
    /// If the registry has another one; if it cannot be asked, the one that is here will do.
    Newer,
}

/// Which network a container is in.
#[derive(clap::ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NetworkName {
    Bridge,
    None,
    Host,
}

/// Flags that describe a container.
#[derive(clap::Args, Debug, Clone)]
pub(crate) struct ContainerArgs {
    /// Keep standard input open
    #[arg(short, long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = values::truth, help_heading = "Terminal")]
    pub(crate) interactive: Option<bool>,

    /// Give the container a terminal
    #[arg(short, long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = values::truth, help_heading = "Terminal")]
    pub(crate) tty: Option<bool>,

    /// Name of the container; a random one by default
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<ContainerName>,

    /// Remove the container and its anonymous volumes when it ends
    #[arg(long)]
    pub(crate) rm: bool,

    /// When to start the container again: no, on-failure[:N] or always
    #[arg(
        long,
        value_name = "POLICY",
        default_value = "no",
        hide_default_value = true
    )]
    pub(crate) restart: RestartPolicy,

    /// When to pull the image
    #[arg(long, value_name = "WHEN", default_value = "missing")]
    pub(crate) pull: PullWhen,

    #[command(flatten)]
    pub(crate) progress: ProgressArgs,

    /// Program to run instead of the image's entrypoint, or a JSON array; "" for none
    #[arg(long, value_name = "PROGRAM", value_parser = values::entrypoint, help_heading = "Process")]
    pub(crate) entrypoint: Option<Entrypoint>,

    /// Set a variable, or copy the caller's when only its name is given
    #[arg(short, long, value_name = "KEY[=VALUE]", value_parser = values::env_var, help_heading = "Process")]
    pub(crate) env: Vec<EnvVar>,

    /// Directory in which the program starts; made if it does not exist
    #[arg(short, long, value_name = "DIR", value_parser = values::working_directory, help_heading = "Process")]
    pub(crate) workdir: Option<String>,

    /// Who runs the program: NAME|UID[:GROUP|GID]
    #[arg(short, long, value_name = "USER", help_heading = "Process")]
    pub(crate) user: Option<UserSpec>,

    /// Run a small init that reaps processes and passes signals on
    #[arg(long, help_heading = "Process")]
    pub(crate) init: bool,

    /// Signal that `rocker stop` sends first
    #[arg(long, value_name = "SIGNAL", help_heading = "Process")]
    pub(crate) stop_signal: Option<Signal>,

    /// Attach a label
    #[arg(short, long, value_name = "KEY[=VALUE]", value_parser = values::label)]
    pub(crate) label: Vec<(String, String)>,

    /// Mount a directory of the host or a volume: [SOURCE:]TARGET[:OPTIONS]
    #[arg(short, long, value_name = "VOLUME", value_parser = values::volume, help_heading = "Files")]
    pub(crate) volume: Vec<VolumeSpec>,

    /// Mount a file system in memory: TARGET[:OPTIONS]
    #[arg(long, value_name = "TMPFS", help_heading = "Files")]
    pub(crate) tmpfs: Vec<TmpfsSpec>,

    /// Make the root file system read-only
    #[arg(long, help_heading = "Files")]
    pub(crate) read_only: bool,

    /// Publish a port: [[HOSTIP:][HOSTPORT]:]PORT[/tcp|udp]
    #[arg(short, long, value_name = "PORT", help_heading = "Network")]
    pub(crate) publish: Vec<PortSpec>,

    /// Network of the container
    #[arg(
        long,
        visible_alias = "net",
        value_name = "NETWORK",
        default_value = "bridge",
        help_heading = "Network"
    )]
    pub(crate) network: NetworkName,

    /// Host name of the container; its short ID by default
    #[arg(short = 'h', long, value_name = "NAME", value_parser = values::hostname, help_heading = "Network")]
    pub(crate) hostname: Option<String>,

    /// Memory limit in bytes, with a unit b, k, m or g
    #[arg(short, long, value_name = "BYTES", value_parser = values::memory, help_heading = "Limits")]
    pub(crate) memory: Option<Memory>,

    /// Number of CPUs, fractions allowed
    #[arg(long, value_name = "NUMBER", value_parser = values::cpus, help_heading = "Limits")]
    pub(crate) cpus: Option<Cpus>,

    /// Most processes at a time; -1 for no limit
    #[arg(long, value_name = "NUMBER", value_parser = values::pids_limit, help_heading = "Limits")]
    pub(crate) pids_limit: Option<PidsLimit>,

    /// Add a capability, or ALL
    #[arg(long, value_name = "CAPABILITY", value_parser = values::capability, help_heading = "Security")]
    pub(crate) cap_add: Vec<String>,

    /// Drop a capability, or ALL
    #[arg(long, value_name = "CAPABILITY", value_parser = values::capability, help_heading = "Security")]
    pub(crate) cap_drop: Vec<String>,

    /// Lift the confinement: all capabilities and devices, no seccomp filter
    #[arg(long, help_heading = "Security")]
    pub(crate) privileged: bool,

    /// The image, and the command to run in it instead of its own
    #[arg(
        required = true,
        value_name = "IMAGE [COMMAND] [ARG]",
        trailing_var_arg = true
    )]
    pub(crate) words: Vec<String>,
}

impl ContainerArgs {
    /// Whether `-t` holds.
    pub(crate) fn tty(&self) -> bool {
        self.tty.unwrap_or(false)
    }

    /// Whether `-i` holds.
    pub(crate) fn interactive(&self) -> bool {
        self.interactive.unwrap_or(false)
    }

    /// What the engine is asked for.
    ///
    /// # Errors
    ///
    /// Flags that exclude each other.
    pub(crate) fn into_request(self) -> Result<CreateRequest, CommandError> {
        if self.rm && self.restart != RestartPolicy::No {
            return Err(CommandError::conflict(
                "--rm cannot be used with --restart",
                "a container that is removed at its end cannot be started again",
            ));
        }
        let (tty, interactive) = (self.tty(), self.interactive());
        let mut words = self.words.into_iter();
        Ok(CreateRequest {
            image: words.next().unwrap_or_default(),
            platform: None,
            name: self.name,
            command: words.collect(),
            entrypoint: self.entrypoint.map(|Entrypoint(words)| words),
            env: self.env.into_iter().filter_map(EnvVar::resolve).collect(),
            working_dir: self.workdir,
            user: self.user,
            hostname: self.hostname,
            labels: self.label,
            volumes: self.volume,
            tmpfs: self.tmpfs,
            ports: self
                .publish
                .into_iter()
                .flat_map(|PortSpec(ports)| ports)
                .collect(),
            network: match self.network {
                NetworkName::Bridge => NetworkMode::Bridge,
                NetworkName::None => NetworkMode::None,
                NetworkName::Host => NetworkMode::Host,
            },
            tty,
            interactive,
            // As docker does: whoever is attached at the start ends the input when they leave.
            stdin_once: interactive,
            attach_stdout: true,
            attach_stderr: true,
            read_only: self.read_only,
            memory_bytes: self
                .memory
                .and_then(|Memory(size)| size)
                .map(ByteSize::bytes),
            cpu: self.cpus.and_then(|Cpus(quota)| quota),
            pids: self.pids_limit.map(|PidsLimit(limit)| limit),
            ulimits: Vec::new(),
            cap_add: self.cap_add,
            cap_drop: self.cap_drop,
            privileged: self.privileged,
            init: self.init,
            auto_remove: self.rm,
            restart: self.restart,
            stop_signal: self.stop_signal,
            create_command: std::env::args_os()
                .map(|word| word.to_string_lossy().into_owned())
                .collect(),
        })
    }
}
