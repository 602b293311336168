//! Which system calls a container may make.
// PLACEHOLDERS until CGROUP fills this module: replace freely, keep the names.

#[derive(Clone, Debug)]
pub enum SeccompPolicy {
    Default,
    Unconfined,
}
