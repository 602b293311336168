//! The only unsafe code: clone3, pidfds, the mount API, bpf, namespaces.
//!
//! A function is here if no crate offers it safely, and does one thing. What it means to a
//! container is decided above.
#![warn(missing_docs)]

pub mod bpf;
pub mod clone;
pub mod execute;
pub mod inherited;
pub mod iptables;
pub mod mount;
pub mod namespace;
pub mod process;
pub mod seccomp;
pub mod signal;
pub mod socket;
pub mod tree;
