//! Pulls from real HTTP servers on loopback: the in-repo registry, which misbehaves on
//! request, and the CNCF distribution server.
//!
//! Unpacking makes device nodes and owners, so these tests need root.
#![expect(
    clippy::unwrap_used,
    reason = "ground that does not hold is a failed test"
)]

mod auth;
mod distribution;
mod faults;
mod ground;
mod hostile;
mod interrupt;
mod publishing;
mod pulling;
mod pushing;
mod ranges;
mod redirects;
mod resuming;
mod tls;
