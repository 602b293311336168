//! Where a container lives in the cgroup trees, and what it may use.
// PLACEHOLDERS until CGROUP fills this module: replace freely, keep the names.

use rocker_types::{Diagnose, ErrorKind};

#[derive(Clone, Debug)]
pub struct CgroupName(pub String);
#[derive(Clone, Debug, Default)]
pub struct Limits {}
#[derive(Clone, Debug, Default)]
pub struct DeviceRules {}
#[derive(Clone, Debug)]
pub struct CgroupLayout {}
#[derive(Debug)]
pub struct Cgroup {}
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {}
impl Diagnose for CgroupError {
    fn kind(&self) -> ErrorKind {
        match *self {}
    }
}
