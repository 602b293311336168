//! Assembles the container's mount tree, in the child, from descriptors.
//!
//! Nothing here takes a path that crosses the container's root as text: targets are resolved
//! by [`Root`], mounts are made detached and attached to descriptors.

mod apply;
mod cgroups;
mod dev;
mod filesystem;
mod mask;
mod overlay;
mod pivot;
mod root;
mod view;

pub(crate) use apply::{Assembly, Blueprint, RootSource};
pub(crate) use dev::Terminal;
pub(crate) use overlay::{OverlayPlan, Writable};
pub(crate) use pivot::enter_working_directory;
pub(crate) use root::Root;
pub use view::{MountLayersError, Unmount, is_mount_point, mount_layers, unmount};
