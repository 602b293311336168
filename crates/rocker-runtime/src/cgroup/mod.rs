//! Where a container lives in the cgroup trees, and what it may use.
//!
//! [`CgroupLayout`] says where each controller of this host is (v1, v2 or both), [`plan`]
//! turns limits into directories and writes without touching anything, and [`Cgroup`] applies
//! the plan, finds and kills every process of a container and takes the directories away.
//!
//! Every container has one *tracking* directory, which finds all of its processes: on the
//! v2 tree where there is one (also on hybrid hosts: `cgroup.kill` and `cgroup.events` work
//! there without any controller), else in the v1 freezer. Beside it exist only the
//! directories that a limit needs.
//!
//! Room: nothing outside `<hierarchy>/rocker` is ever written, but for two files of v2: the
//! `cgroup.subtree_control` of the mount, which only ever gains controllers, and, where rocker
//! itself runs in a container, the processes of that container's own root cgroup (see
//! `apply`).

mod apply;
mod control;
mod create;
mod devices;
mod error;
mod filter;
mod freeze;
mod kill;
mod layout;
mod leave;
mod limits;
mod name;
mod plan;
mod remove;
mod stats;
mod wait;

pub use create::{Cgroup, CgroupEntry};
pub use devices::{DeviceAccess, DeviceKind, DeviceRule, DeviceRules, InvalidDeviceRule};
pub use error::{CgroupError, CgroupKillError, CgroupReadError, CgroupRemoveError, LayoutError};
pub use layout::{CgroupLayout, Controller, LayoutKind};
pub use leave::leave_callers_cgroup;
pub use limits::{Limits, MemorySwap};
pub use name::{CgroupName, InvalidCgroupName};
pub use plan::{CgroupPlan, CgroupStep, HierarchyPlan, Version, plan};
pub use stats::CgroupStats;
