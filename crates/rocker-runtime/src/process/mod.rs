//! From a specification to a process, and to its end.

mod create;
mod error;
mod exec;
mod running;
mod step;

pub use create::{Created, create};
pub use error::{CreateError, ExecError, ProgramFailure, StartError};
pub use exec::exec;
pub use running::{ExitStatus, ReapError, Running, SignalError};
pub use step::{InitFailure, InitStep};
