//! What the tests stand on: images made in memory, a registry that misbehaves on request,
//! a harness that runs the real `rocker`, and the checker that finds what it left behind.
//!
//! This crate is a development dependency only; nothing of it reaches the binary. Its
//! functions panic where a test could not go on anyway: ground that does not hold is a
//! failed test, not an error to pass along.
#![forbid(unsafe_code)]
#![warn(missing_docs)]
#![expect(
    clippy::expect_used,
    reason = "this crate runs in tests only, where a broken precondition must fail the test at once"
)]

pub mod database;
pub mod host;
pub mod http;
pub mod image;
pub mod leak;
pub mod registry;
pub mod tree;

pub use host::{Host, Missing};
