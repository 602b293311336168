//! The validated words of the field: ids, names, digests, references, ports, limits.
//!
//! A value of a type in this crate is well formed; text becomes a value once, at the edge
//! (a flag, a registry document, a database row), and is never checked again. Nothing here
//! performs I/O, so everything is tested with tables.
//!
//! Room: the bottom of the house. Every other crate may use it, it uses none of them.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod bytes;
mod capability;
mod config_change;
mod cpu;
mod diagnose;
mod digest;
mod id;
mod image_config;
mod layout;
mod name;
mod platform;
mod port;
mod reference;
mod restart;
mod signal;
mod status;
mod text;
mod ulimit;
mod user;
mod volume;

pub use bytes::{ByteSize, InvalidByteSize};
pub use capability::{Capability, CapabilitySet, UnknownCapability};
pub use config_change::{ConfigChange, InvalidChange};
pub use cpu::{CpuQuota, InvalidCpus};
pub use diagnose::{Diagnose, ErrorKind};
pub use digest::{Algorithm, DiffId, Digest, InvalidDigest};
pub use id::{ContainerId, InvalidContainerId};
pub use image_config::{HealthConfig, HistoryEntry, ImageConfig, ProcessConfig, RootFs};
pub use layout::Layout;
pub use name::{ContainerName, ContainerQuery, InvalidName, VolumeName, random_name};
pub use platform::{InvalidPlatform, Platform};
pub use port::{InvalidPort, PortSpec, Protocol, PublishedPort};
pub use reference::{ImageRef, InvalidReference};
pub use restart::{InvalidRestartPolicy, RestartPolicy};
pub use signal::{InvalidSignal, Signal};
pub use status::ContainerStatus;
pub use text::is_plain;
pub use ulimit::{InvalidUlimit, Ulimit, UlimitKind};
pub use user::{InvalidUser, Principal, UserSpec};
pub use volume::{Access, InvalidVolume, Propagation, TmpfsSpec, VolumeSource, VolumeSpec};
