//! Another program in a running container.

use super::error::ExecError;
use super::running::Running;
use crate::cgroup::CgroupLayout;
use crate::spec::{ExecSpec, StdioFds};

/// Starts a program in all namespaces of a running container, in a child of its cgroup.
///
/// Returns once `execve` has succeeded.
///
/// # Errors
///
/// [`ExecError`]; nothing is left behind then.
pub fn exec(spec: &ExecSpec, layout: &CgroupLayout, stdio: StdioFds) -> Result<Running, ExecError> {
    let _ = (spec, layout, stdio);
    todo!()
}
