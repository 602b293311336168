//! Decides every mount, in order, and touches nothing.

use rocker_types::{Diagnose, ErrorKind};

/// The specification asks for something that is never done.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PlanError {
    /// No program.
    #[error("no program to run")]
    NoProgram,
}

impl Diagnose for PlanError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}
