//! What a container is to be: complete, resolved, nothing left to default.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use rocker_types::{CapabilitySet, ContainerId, Propagation, Ulimit, UserSpec};

use crate::cgroup::{CgroupName, DeviceKind, DeviceRules, Limits};
use crate::seccomp::SeccompPolicy;

/// Everything that decides how a container's first process comes to be.
#[derive(Clone, Debug)]
pub struct ContainerSpec {
    /// Whose container this is; only named in errors.
    pub id: ContainerId,
    /// Where `/` comes from.
    pub rootfs: RootfsSpec,
    /// Mounts besides the system's own, in any order: they are made parents first.
    pub mounts: Vec<MountSpec>,
    /// What runs, and as whom.
    pub process: ProcessSpec,
    /// The name in the container's UTS namespace; `None` keeps the host's.
    pub hostname: Option<String>,
    /// Which network the container sees.
    pub network: NetworkNamespace,
    /// The cgroup that is made for it, and its limits.
    pub cgroup: CgroupSpec,
    /// How it is confined.
    pub security: SecuritySpec,
    /// Namespaced kernel settings, name with dots and value.
    pub sysctls: Vec<(String, String)>,
    /// Size of `/dev/shm`.
    pub shm_bytes: u64,
}

/// Where a container's `/` comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RootfsSpec {
    /// An overlay, mounted inside the container's own mount namespace.
    Overlay {
        /// Read-only layers, topmost first; at least one. Absolute paths.
        lowers: Vec<PathBuf>,
        /// Where writes go. Exists.
        upper: PathBuf,
        /// OverlayFS's work directory, on the file system of `upper`. Exists, empty.
        work: PathBuf,
        /// Skip every sync: for containers whose upper directory does not outlive them.
        volatile: bool,
        /// Nothing in the container can write below `/` but in other mounts.
        read_only: bool,
    },
    /// A directory of the host, used as it is.
    Directory {
        /// Absolute path.
        path: PathBuf,
        /// Nothing in the container can write below `/` but in other mounts.
        read_only: bool,
    },
}

/// What stands at a bind mount's target when nothing is there yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CreateTarget {
    /// An empty directory.
    Directory,
    /// An empty file.
    File,
    /// What the source is.
    LikeSource,
}

/// Mount flags that only ever take rights away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MountFlags {
    /// `ro`, for binds recursively.
    pub read_only: bool,
    /// `nosuid`.
    pub no_suid: bool,
    /// `nodev`.
    pub no_dev: bool,
    /// `noexec`.
    pub no_exec: bool,
}

/// One mount asked for by the user or the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MountSpec {
    /// A file or directory of the host. Injected files such as `/etc/hosts` are this too.
    Bind {
        /// Absolute path on the host; links are followed. Must exist.
        source: PathBuf,
        /// Absolute path in the container, resolved inside its root; created if missing.
        target: String,
        /// With the mounts below the source.
        recursive: bool,
        /// How later mounts on one side reach the other.
        propagation: Propagation,
        /// What it takes away.
        flags: MountFlags,
        /// What to make when the target is missing.
        create: CreateTarget,
    },
    /// A new, empty tmpfs.
    Tmpfs {
        /// Absolute path in the container; created if missing.
        target: String,
        /// `None` is the kernel's default, half of memory.
        size_bytes: Option<u64>,
        /// Permission bits of its root, `None` is 1777.
        mode: Option<u32>,
        /// Owner and group of its root.
        owner: (u32, u32),
        /// What it takes away.
        flags: MountFlags,
    },
}

/// A device node made in the container's `/dev` (or below it).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceNode {
    /// Absolute path in the container.
    pub path: String,
    /// Character or block.
    pub kind: DeviceKind,
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
    /// Permission bits.
    pub mode: u32,
    /// Owner and group.
    pub owner: (u32, u32),
}

/// Which network a container sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetworkNamespace {
    /// Its own, empty but for a loopback that is down: [`crate::Created::netns`] is where to
    /// attach one.
    New,
    /// The host's.
    Host,
    /// The one that this file names (`/proc/PID/ns/net`, `/run/netns/NAME`).
    Path(PathBuf),
}

/// The cgroup made for a container.
#[derive(Clone, Debug)]
pub struct CgroupSpec {
    /// Its name, derived from the container's id.
    pub name: CgroupName,
    /// What it may use.
    pub limits: Limits,
    /// Which devices it may open and make.
    pub devices: DeviceRules,
}

/// How a container is confined.
#[derive(Clone, Debug)]
pub struct SecuritySpec {
    /// Which system calls it may make.
    pub seccomp: SeccompPolicy,
    /// Files and directories below `/proc` and `/sys` that read as empty. A missing one is
    /// skipped. A path segment `cpu*` stands for every CPU's directory.
    pub masked_paths: Vec<String>,
    /// Files and directories that cannot be written. A missing one is skipped.
    pub read_only_paths: Vec<String>,
    /// `/sys` and cgroups are writable. The rest of `--privileged` (all capabilities, all
    /// devices, no seccomp, no masks) is said by the other fields; see
    /// [`SecuritySpec::privileged`].
    pub privileged: bool,
    /// Device nodes besides null, zero, full, random, urandom and tty.
    pub devices: Vec<DeviceNode>,
}

impl SecuritySpec {
    /// The default confinement.
    #[must_use]
    pub fn confined(seccomp: SeccompPolicy) -> Self {
        let own = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect();
        Self {
            seccomp,
            masked_paths: own(MASKED_PATHS),
            read_only_paths: own(READ_ONLY_PATHS),
            privileged: false,
            devices: Vec::new(),
        }
    }

    /// No confinement: no mask, no read-only path, `/sys` and cgroups writable. `devices` is
    /// what [`crate::host_devices`] found.
    #[must_use]
    pub fn privileged(seccomp: SeccompPolicy, devices: Vec<DeviceNode>) -> Self {
        Self {
            seccomp,
            masked_paths: Vec::new(),
            read_only_paths: Vec::new(),
            privileged: true,
            devices,
        }
    }
}

/// What a container reads as empty. Each entry told or gave a container more of the host than
/// its own: docker's list, and what measured containers of docker and podman still could read.
pub const MASKED_PATHS: &[&str] = &[
    "/proc/acpi",
    "/proc/asound",
    "/proc/config.gz",
    "/proc/interrupts",
    "/proc/kallsyms",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/system/cpu/cpu*/thermal_throttle",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
    "/sys/fs/bpf",
    "/sys/fs/selinux",
    "/sys/kernel/debug",
    "/sys/kernel/tracing",
];

/// What a container cannot write, whatever it is: docker's list.
pub const READ_ONLY_PATHS: &[&str] = &[
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// Size of a terminal in characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WindowSize {
    /// Lines.
    pub rows: u16,
    /// Characters per line.
    pub columns: u16,
}

/// A resource limit, and what to do when the host cannot grant it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RlimitSpec {
    /// rocker's default: lowered silently to the hard limit that rocker itself inherited.
    Default(Ulimit),
    /// The user's word: an error if it cannot be had.
    Exactly(Ulimit),
}

/// What runs, as whom, and with what rights.
#[derive(Clone, Debug)]
pub struct ProcessSpec {
    /// Program and arguments, at least one. A program without `/` is looked for in the `PATH`
    /// of `env`.
    pub argv: Vec<String>,
    /// `NAME=VALUE`, final; `HOME` is added from the container's passwd file if missing.
    pub env: Vec<String>,
    /// Working directory in the container, created if missing. A relative one counts from `/`.
    pub cwd: String,
    /// Resolved in the container's own passwd and group files.
    pub user: UserSpec,
    /// Groups besides the user's own: names or numbers.
    pub extra_groups: Vec<String>,
    /// Bounding set, and for root effective and permitted too.
    pub capabilities: CapabilitySet,
    /// Kept by a user other than root: what `--cap-add` named. Part of `capabilities`.
    pub ambient_capabilities: CapabilitySet,
    /// `no_new_privs`: setuid bits and file capabilities give nothing.
    pub no_new_privileges: bool,
    /// Resource limits; what is not named is inherited.
    pub rlimits: Vec<RlimitSpec>,
    /// −1000 to 1000; `None` inherits.
    pub oom_score_adj: Option<i32>,
    /// A new terminal of this size, from the container's own devpts.
    pub terminal: Option<WindowSize>,
    /// rocker's own reaper is the container's pid 1 and the program its child.
    pub init: bool,
    /// File mode creation mask, usually 0o022.
    pub umask: u32,
}

/// What a program gets as its first three descriptors when it has no terminal. Never the
/// caller's own terminal: pipes or `/dev/null`.
#[derive(Debug)]
pub struct StdioFds {
    /// Read end.
    pub stdin: OwnedFd,
    /// Write end.
    pub stdout: OwnedFd,
    /// Write end.
    pub stderr: OwnedFd,
}

/// Whether a program dies with the process that started it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attachment {
    /// SIGKILL when the caller of [`crate::exec`] dies.
    DiesWithCaller,
    /// Goes on.
    Detached,
}

/// Another program for a running container.
#[derive(Clone, Debug)]
pub struct ExecSpec {
    /// The container's init, as the host numbers it.
    pub target_pid: i32,
    /// Field 22 of its `/proc/PID/stat`: with the pid it is an identity.
    pub start_time_ticks: u64,
    /// What runs.
    pub process: ProcessSpec,
    /// Which system calls it may make.
    pub seccomp: SeccompPolicy,
    /// The container's cgroup; the program runs in a child of it.
    pub cgroup: CgroupName,
    /// Whether it dies with the caller.
    pub attachment: Attachment,
}
