//! From a specification to a process, and to its end: the host's side.

mod create;
mod error;
mod exec;
mod init_process;
mod prepare;
mod running;
mod step;
mod sync;

pub use create::{Created, create};
pub use error::{CreateError, ExecError, ProgramFailure, StartError};
pub use exec::exec;
pub use running::{ExitStatus, ReapError, Running, SignalError};
pub(crate) use step::At;
pub use step::{InitFailure, InitStep};
pub(crate) use sync::InitEnd;
