//! The one place that knows exit codes. They are docker's.

use rocker_types::{Diagnose as _, ErrorKind, Signal};

use crate::cli::{Entry, Failures, Fault, UsageError};
use crate::commands::CommandError;

/// What a command that did its work says to its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    /// All is well; also after detaching.
    Success,
    /// One of several things could not be done, and was reported.
    SomeFailed,
    /// The container's own code, or that of a program in it.
    Container(i32),
    /// A signal ended the command, not the container.
    Interrupted(Signal),
    /// Whoever read our standard output is gone.
    OutputClosed,
}

const FAILED: u8 = 1;
/// rocker itself failed where the container's own code would be the result, or a flag is wrong.
const ROCKER_FAILED: u8 = 125;
/// Shells report a death by signal n as this plus n.
const SIGNAL_BASE: i32 = 128;

impl Status {
    /// What the process exits with.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::SomeFailed => FAILED,
            // Only the low byte crosses exit(2) anyway.
            Self::Container(code) => u8::try_from(code & 0xff).unwrap_or(FAILED),
            Self::Interrupted(signal) => {
                u8::try_from(SIGNAL_BASE + signal.number()).unwrap_or(FAILED)
            }
            Self::OutputClosed => 141,
        }
    }
}

/// For a command line that cannot be understood.
pub(crate) fn of_usage(error: &UsageError) -> u8 {
    match error.fault {
        Fault::Flag => ROCKER_FAILED,
        Fault::Words => FAILED,
    }
}

/// For a command that failed.
pub(crate) fn of_error(entry: &Entry, error: &CommandError) -> u8 {
    let interrupted = error.kind() == ErrorKind::Interrupted;
    match (entry.failures, error) {
        (_, CommandError::Usage(usage)) => of_usage(usage),
        (_, CommandError::NotATerminal) => FAILED,
        (_, CommandError::Stopped { signal, .. } | CommandError::Ended(signal)) => {
            Status::Interrupted(*signal).code()
        }
        _ if interrupted => Status::Interrupted(Signal::INT).code(),
        (Failures::OfRun, CommandError::Engine(error)) => error.run_exit_code(),
        (Failures::OfRun | Failures::OfQuestion, _) => ROCKER_FAILED,
        (Failures::OfExec, CommandError::Engine(error)) => match error.run_exit_code() {
            ROCKER_FAILED => FAILED,
            of_the_program => of_the_program,
        },
        (Failures::OfExec | Failures::Ordinary, _) => FAILED,
    }
}
