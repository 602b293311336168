//! Makes a process that is a container; watches, joins and cleans it up.
//!
//! [`create`] clones a process into new namespaces; it assembles the container's file
//! system and waits at the gate. [`Created::start`] opens the gate and returns when the
//! user's program runs. [`exec`] starts another program in a running container.
//!
//! The calling process has one thread (checked) and runs from a protected binary (checked):
//! it was executed from the descriptor of [`executable::protected`], or called
//! [`executable::ensure_protected`] first, so that nothing in a container can write rocker's
//! own file. `main` of every program that uses this crate begins with [`main_init`].
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod cgroup;
pub mod check;
pub mod executable;
pub mod seccomp;

mod devices;
mod init;
mod kernel;
mod plan;
mod process;
mod reaper;
mod rootfs;
mod spec;
mod users;

pub use devices::{device_from_host, host_devices};
pub use plan::PlanError;
pub use process::{
    CreateError, Created, ExecError, ExitStatus, InitFailure, InitStep, ProgramFailure, ReapError,
    Running, SignalError, StartError, create, exec,
};
pub use reaper::main_init;
pub use rootfs::{MountLayersError, Unmount, is_mount_point, mount_layers, unmount};
pub use spec::{
    Attachment, CgroupSpec, ContainerSpec, CreateTarget, DeviceNode, ExecSpec, MASKED_PATHS,
    MountFlags, MountSpec, NetworkNamespace, ProcessSpec, READ_ONLY_PATHS, RlimitSpec, RootfsSpec,
    SecuritySpec, StdioFds, WindowSize,
};
