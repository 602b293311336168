//! The use-cases around containers, one file each.

mod attach;
mod changes;
mod commit;
mod create;
mod exec;
mod inspect;
mod list;
mod logs;
mod remove;
mod signal;
pub(crate) mod spawn;
mod start;
mod volumes;
mod wait;

pub use attach::Attached;
pub use commit::CommitOptions;
pub use create::CreatedContainer;
pub use exec::{ExecRequest, ExecSession, ExecStreams};
pub use list::ContainerSummary;
pub use logs::LogRequest;
pub use remove::RemoveOptions;
pub use signal::{STOP_TIMEOUT, StopTimeout};
pub use start::{StartMode, Started};
pub use volumes::Volume;

pub(crate) use logs::{log_files, log_name};
pub(crate) use remove::volumes_of_removal;
pub(crate) use start::BUSY_PATIENCE;
