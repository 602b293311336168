//! What can be typed: every command with its flags, and what is said when it cannot.
//!
//! The table of commands is in [`table`]; the flags are the argument structs of
//! [`commands`](crate::commands), whose doc comments are the help. A command's flags are built
//! only when its name was typed: building all of them takes longer than `rocker ps` may.

mod globals;
mod parse;
mod table;
mod usage_error;
pub(crate) mod values;

pub(crate) use globals::Globals;
pub(crate) use parse::{Parsed, documentation, failures_of, parse};
pub(crate) use table::{Entry, Failures};
pub(crate) use usage_error::{Fault, UsageError};

#[cfg(test)]
mod examples;
#[cfg(test)]
mod tests;
