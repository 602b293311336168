//! Why something about a container's cgroup could not be done.

use std::io;
use std::path::PathBuf;

use rocker_types::{Diagnose, ErrorKind};

use super::layout::Controller;

/// Why the host's cgroup layout is not known.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// A file of /proc could not be read.
    #[error("cannot find out from {path:?} where cgroups are mounted")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// Nothing to put a container into.
    #[error("no cgroup hierarchy is mounted")]
    None,
}

impl Diagnose for LayoutError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Read { .. } => ErrorKind::Internal,
            Self::None => ErrorKind::Unsupported,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Read { .. } => None,
            Self::None => Some("mount -t cgroup2 cgroup2 /sys/fs/cgroup".to_owned()),
        }
    }
}

/// Why a cgroup could not be planned, created or entered.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// No mounted hierarchy can hold the controller.
    #[error("cannot limit {limit}: this host has no {} controller", .controller.v1_name())]
    NoController {
        /// What was to be limited.
        limit: &'static str,
        /// The controller that would do it.
        controller: Controller,
    },
    /// The v2 tree refuses to hand controllers down to containers.
    #[error("cannot enable the cgroup controllers {controllers:?} below {path:?}")]
    Delegate {
        /// As written to `cgroup.subtree_control`.
        controllers: String,
        /// The directory whose children were to have them.
        path: PathBuf,
        /// What the kernel said: ENOENT when it lacks a controller, EBUSY when the directory
        /// holds processes of its own.
        source: io::Error,
    },
    /// A directory could not be made.
    #[error("cannot create cgroup {path:?}")]
    CreateDirectory {
        /// The directory.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The cgroup is there already and processes live in it.
    #[error("cgroup {path:?} exists and is in use")]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// Another process removed the common parent again and again.
    #[error("cgroup {path:?} vanished each time it was made")]
    ParentVanishes {
        /// The parent directory.
        path: PathBuf,
    },
    /// A limit could not be set.
    #[error("cannot set the limit on {limit} to {value:?} by {path:?}")]
    Limit {
        /// What was to be limited.
        limit: &'static str,
        /// The value written.
        value: String,
        /// The file written to.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A value of the parent could not be handed to a child (v1 `cpuset`).
    #[error("cannot copy {path:?} from the parent cgroup")]
    Inherit {
        /// The child's file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The device filter could not be loaded or attached.
    #[error("cannot restrict devices in cgroup {path:?}")]
    DeviceFilter {
        /// The cgroup.
        path: PathBuf,
        /// What bpf(2) said.
        source: io::Error,
    },
    /// The way into a cgroup could not be opened.
    #[error("cannot open cgroup {path:?}")]
    Open {
        /// The directory or file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// Swap is part of the total, so the total cannot be less than the memory.
    #[error("memory and swap together ({total_bytes} bytes) are less than memory ({memory_bytes})")]
    SwapBelowMemory {
        /// `--memory`.
        memory_bytes: u64,
        /// `--memory-swap`.
        total_bytes: u64,
    },
    /// A swap limit without a memory limit says nothing.
    #[error("a limit on memory and swap needs a limit on memory")]
    SwapWithoutMemory,
}

impl CgroupError {
    fn source_errno(&self) -> Option<i32> {
        match self {
            Self::Delegate { source, .. }
            | Self::CreateDirectory { source, .. }
            | Self::Limit { source, .. }
            | Self::Inherit { source, .. }
            | Self::DeviceFilter { source, .. }
            | Self::Open { source, .. } => source.raw_os_error(),
            Self::NoController { .. }
            | Self::InUse { .. }
            | Self::ParentVanishes { .. }
            | Self::SwapBelowMemory { .. }
            | Self::SwapWithoutMemory => None,
        }
    }
}

impl CgroupError {
    /// Whether the kernel understood the file and disliked the value.
    fn is_out_of_range(&self) -> bool {
        use nix::libc::{EACCES, EINVAL, ENODEV, ERANGE};
        match (self, self.source_errno()) {
            (Self::Limit { .. }, Some(EINVAL | ERANGE)) => true,
            // v1's answer to a CPU that the parent does not have.
            (Self::Limit { limit, .. }, Some(EACCES | ENODEV)) => is_cpuset(limit),
            _ => false,
        }
    }
}

fn is_cpuset(limit: &str) -> bool {
    limit == "CPUs" || limit == "memory nodes"
}

impl Diagnose for CgroupError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NoController { .. } => ErrorKind::Unsupported,
            Self::InUse { .. } => ErrorKind::Conflict,
            Self::SwapBelowMemory { .. } | Self::SwapWithoutMemory => ErrorKind::Invalid,
            Self::Limit { .. } if self.is_out_of_range() => ErrorKind::Invalid,
            Self::Limit { .. } | Self::Delegate { .. }
                if self.source_errno() == Some(nix::libc::ENOENT) =>
            {
                ErrorKind::Unsupported
            }
            Self::Delegate { .. }
            | Self::CreateDirectory { .. }
            | Self::Limit { .. }
            | Self::DeviceFilter { .. }
            | Self::Open { .. } => match self.source_errno() {
                Some(nix::libc::EPERM | nix::libc::EACCES | nix::libc::EROFS) => ErrorKind::Denied,
                _ => ErrorKind::Internal,
            },
            Self::ParentVanishes { .. } | Self::Inherit { .. } => ErrorKind::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match (self, self.source_errno()?) {
            (Self::Limit { limit, .. }, _) if is_cpuset(limit) && self.is_out_of_range() => {
                "this host has the CPUs in /sys/devices/system/cpu/online and the memory nodes in \
                 /sys/devices/system/node/online"
            }
            (Self::Delegate { .. }, nix::libc::EBUSY) => {
                "the cgroup holds processes of its own: move them into a child cgroup first"
            }
            (Self::Delegate { .. } | Self::Limit { .. }, nix::libc::ENOENT) => {
                "this kernel or this part of the cgroup tree does not offer the controller"
            }
            (_, nix::libc::EROFS) => {
                "the cgroup tree is mounted read-only: inside a container, start that one privileged"
            }
            (_, nix::libc::EPERM | nix::libc::EACCES) => "rocker must run as root",
            _ => return None,
        };
        Some(hint.to_owned())
    }
}

/// Why the processes of a cgroup could not all be stopped or killed.
#[derive(Debug, thiserror::Error)]
pub enum CgroupKillError {
    /// A control file could not be written.
    #[error("cannot write {value:?} to {path:?}")]
    Write {
        /// The file.
        path: PathBuf,
        /// What was to be written.
        value: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// The state or the list of processes could not be read.
    #[error("cannot look into cgroup {path:?}")]
    Look {
        /// The cgroup.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A process could not be signalled.
    #[error("cannot kill process {pid}")]
    Signal {
        /// The process.
        pid: i32,
        /// What the kernel said.
        source: io::Error,
    },
    /// New processes appeared faster than they could be killed.
    #[error("processes in cgroup {path:?} multiply faster than they can be killed")]
    Multiplying {
        /// The cgroup.
        path: PathBuf,
    },
    /// A process did not stop in time, likely because it waits for a device or a network
    /// file system.
    #[error("the processes of cgroup {path:?} did not freeze in time")]
    NotFrozen {
        /// The cgroup.
        path: PathBuf,
    },
    /// No hierarchy of this host can freeze.
    #[error("this host has no cgroup freezer")]
    NoFreezer,
}

impl Diagnose for CgroupKillError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NoFreezer => ErrorKind::Unsupported,
            Self::NotFrozen { .. } => ErrorKind::Unavailable,
            Self::Write { .. }
            | Self::Look { .. }
            | Self::Signal { .. }
            | Self::Multiplying { .. } => ErrorKind::Internal,
        }
    }
}

/// Why the directories of a cgroup are still there.
#[derive(Debug, thiserror::Error)]
pub enum CgroupRemoveError {
    /// Processes live in it.
    #[error("cgroup {path:?} still holds processes{}", listed(.pids))]
    Populated {
        /// The directory.
        path: PathBuf,
        /// Those that can be seen; zombies and dying ones cannot.
        pids: Vec<i32>,
    },
    /// The kernel refused.
    #[error("cannot remove cgroup {path:?}")]
    Remove {
        /// The directory.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The processes or children of the cgroup could not be read.
    #[error("cannot look into cgroup {path:?}")]
    Look {
        /// The directory.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

fn listed(pids: &[i32]) -> String {
    if pids.is_empty() {
        return String::new();
    }
    let shown: Vec<String> = pids.iter().take(5).map(ToString::to_string).collect();
    let more = if pids.len() > 5 { " …" } else { "" };
    format!(": {}{more}", shown.join(" "))
}

impl Diagnose for CgroupRemoveError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Populated { .. } => ErrorKind::Conflict,
            Self::Remove { .. } | Self::Look { .. } => ErrorKind::Internal,
        }
    }
}

/// Why a counter could not be read.
#[derive(Debug, thiserror::Error)]
pub enum CgroupReadError {
    /// The file could not be read.
    #[error("cannot read the cgroup counter {path:?}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The file holds something else than expected.
    #[error("{path:?} does not hold {expected}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        expected: &'static str,
    },
}

impl Diagnose for CgroupReadError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Internal
    }
}
