//! Decides every mount, in order, and touches nothing.
//!
//! The order is the security property: the system's own mounts first, so that nothing of the
//! image or the user lies on the way to them; then the user's, parents before children; then
//! what takes rights away, so that no volume can uncover a masked path.

mod error;
mod mounts;
mod path;
mod sysctl;

pub use error::PlanError;
pub(crate) use mounts::{BindSource, CgroupMount, MountStep, plan_mounts};
pub(crate) use path::{clean, components, covers_proc};
pub(crate) use sysctl::Sysctl;
