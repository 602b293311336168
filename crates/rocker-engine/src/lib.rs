//! The use-cases: pull, create, start, stop, remove, exec, recover, and the monitor.
//!
//! The only place that knows images, databases, network and runtime together: it hands the
//! values of one to the other. It prints nothing and knows no flags, so that another front
//! end can sit beside the command line.
//!
//! * [`Engine`] is what a command opens; opening it puts right what a dead rocker left.
//! * [`monitor_main`] is the life of the process that stays with a running container.
//! * [`control`] is how the two talk, [`logs`] what stays of a container's output.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod check;
mod clock;
mod containers;
pub mod control;
mod copy_up;
mod crash;
mod definition;
mod disk_usage;
mod engine;
mod error;
mod error_kind;
mod forgotten;
mod images;
mod lifecycle;
pub mod logs;
pub mod monitor;
mod network;
mod recover;
mod report;
mod request;
mod resolve;
mod spare;
mod sweep;
mod teardown;
#[cfg(test)]
mod testing;
mod trash;

pub use check::{CheckLine, CheckReport, CheckRequest, CheckStatus, HostFacts, Repair};
pub use containers::spawn::MONITOR_WORD;
pub use containers::{
    Attached, CommitOptions, ContainerSummary, CreatedContainer, ExecRequest, ExecSession,
    ExecStreams, LogRequest, RemoveOptions, STOP_TIMEOUT, StartMode, Started, StopTimeout, Volume,
};
pub use crash::CrashPoint;
pub use definition::{Definition, MountDefinition, NetworkMode, Resources};
pub use disk_usage::{DetailedUsage, DiskUsage, ImageUsage, Share};
pub use engine::Engine;
pub use error::EngineError;
pub use images::{
    BuildStep, FoundBy, ImageSummary, ImageTree, ImportOptions, Loaded, MountedImage, PlannedImage,
    PreviewedLayer, PrunePlan, PruneRequest, PullPreview, PullRequest, Pulled, PushRequest,
    PushWatch, Pushed, RemovedImage, RmiForce, TakenNames, TreeLayer, WebArchive,
};
pub use lifecycle::monitor_main;
pub use report::MonitorFailure;
pub use request::{CreateRequest, PullPolicy};
pub use resolve::{ResolveError, check_hostname};
pub use rocker_image::document::{DocumentLimits, Format};
pub use rocker_image::exchange::{
    ArchiveFormat, LoadRequest, LoadSource, LoadedImage, SavedImage, SavedName,
};
pub use rocker_image::policy::{Entry, Policy, PolicyError};
pub use rocker_image::registry::{
    AuthFile, AuthFileError, CertificateError, Certificates, Credential, Credentials, Elsewhere,
    Endpoint, ExtraHeaders, InvalidServer, KeyStyle, LayerState, LoginError, LoginRequest,
    LookError, Meaning, NoProgress, NoPushProgress, PullError, PullEvent, PullProgress,
    PushCompression, PushEvent, PushProgress, PushState, RegistryOptions, RemoteDocument, Reuse,
    RouteError, Routes, SavedIn, SearchResult, Server, Stop, TlsPolicy, Way, check_login,
    fetch_document, forget_all_logins, forget_login, list_tags, save_login, search, server_of,
};
pub use rocker_image::store::{Change, ChangeKind, Depth, UnpackLimits};
pub use rocker_runtime::{ExitStatus, Running, executable, main_init};

/// The control socket's name in a container's run directory.
pub(crate) const CONTROL_SOCKET: &str = "control";

/// The directory of a volume that holds its content; docker's name.
pub(crate) const VOLUME_DATA: &str = "_data";
