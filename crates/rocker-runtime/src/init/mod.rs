//! What runs in the child, between clone and execve.
//!
//! The child is a copy of the host's process with one thread. It walks a plan that was made
//! before the clone; each failure names its step and ends it. It must never touch a file of
//! the host by a path that the container can influence, and never go on when a step of its
//! confinement fails.

mod container;
mod credentials;
mod launch;
mod limits;
mod program;
mod session;
mod streams;

pub(crate) use container::{ContainerPlan, run_container};
pub(crate) use launch::Launch;
pub(crate) use program::Program;
pub(crate) use session::{SessionPlan, run_session};
