//! Everything that can go wrong in a use-case, summed up for the front end.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use rocker_db::{DbError, LockError};
use rocker_image::exchange::{LoadError, SaveError};
use rocker_image::registry::{DownloadError, LookError, PullError, PushError};
use rocker_image::store::{ExportError, LayerFault, StoreError, UnpackError};
use rocker_runtime::{CreateError, ExecError, MountLayersError, SignalError, StartError};
use rocker_types::DiffId;

use crate::control::SessionError;
use crate::report::MonitorFailure;
use crate::resolve::ResolveError;

/// A use-case failed.
#[derive(Debug, thiserror::Error)]
#[expect(
    missing_docs,
    reason = "the messages say what each variant and field is"
)]
pub enum EngineError {
    #[error(transparent)]
    Db(#[from] DbError),
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    #[error(transparent)]
    Pull(Box<PullError>),
    #[error(transparent)]
    Push(Box<PushError>),
    #[error(transparent)]
    Look(Box<LookError>),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("cannot save")]
    Save(#[source] Box<SaveError>),
    #[error("cannot export")]
    Export(#[source] Box<ExportError>),
    #[error("cannot hold container {container} still")]
    Freeze {
        container: String,
        source: rocker_runtime::cgroup::CgroupKillError,
    },
    #[error("cannot load the archive")]
    Load(#[source] Box<LoadError>),
    #[error(transparent)]
    Change(#[from] rocker_types::InvalidChange),
    #[error("cannot import the archive")]
    Import { source: Box<UnpackError> },
    #[error(transparent)]
    Download(Box<DownloadError>),
    #[error("cannot {attempt} {path:?}")]
    File {
        attempt: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("{path:?} is not a directory of rocker's own: {why}")]
    UnsafeDirectory { path: PathBuf, why: &'static str },
    /// A power failure took a part of a layer.
    #[error("layer {layer} was not whole on disk when the machine went down")]
    LayerLost {
        /// Which one.
        layer: DiffId,
        /// What is wrong with it.
        source: LayerFault,
    },
    #[error("the database has lost which layers image {image} has")]
    LayersForgotten { image: String },
    #[error("no such image: {0}")]
    NoSuchImage(String),
    #[error("image id {query:?} is ambiguous: it fits {}", candidates.join(", "))]
    AmbiguousImage {
        query: String,
        candidates: Vec<String>,
    },
    #[error("image {image} is used by container {}", users.join(", "))]
    ImageInUse { image: String, users: Vec<String> },
    #[error("image {image} is mounted at {path:?}")]
    ImageMounted { image: String, path: PathBuf },
    #[error(transparent)]
    MountLayers(Box<MountLayersError>),
    #[error("cannot unmount image {image} from {path:?}")]
    Unmount {
        image: String,
        path: PathBuf,
        source: io::Error,
    },
    #[error("image {image} has several names: {}", names.join(", "))]
    ImageHasNames { image: String, names: Vec<String> },
    #[error("cannot give an image the name {0:?}: a digest is not chosen")]
    NameWithDigest(String),
    #[error("the archive names its images like others that are here: {}", .0.join(", "))]
    NamesTaken(Vec<String>),
    #[error("{name} is not a name of image {image}")]
    NotItsName { name: String, image: String },
    #[error("the database of running containers is damaged, and some run: {}", running.join(", "))]
    LiveDamaged { running: Vec<String> },
    #[error("database {path:?} has lost its last changes: what lies beside it is newer")]
    ChangesLost { path: PathBuf },
    #[error("another rocker command works on images right now")]
    ImagesBusy,
    #[error("interrupted")]
    Interrupted,
    #[error("no such volume: {0}")]
    NoSuchVolume(String),
    #[error("volume {volume} is used by container {}", users.join(", "))]
    VolumeInUse { volume: String, users: Vec<String> },
    #[error("image {image} has an unreadable config")]
    ImageConfig {
        image: String,
        source: serde_json::Error,
    },
    #[error("the definition of container {container} is unreadable")]
    Definition {
        container: String,
        source: serde_json::Error,
    },
    #[error("cannot start rocker's monitor")]
    Spawn { source: io::Error },
    #[error("cannot protect rocker's own binary")]
    Protect {
        source: rocker_runtime::executable::ExecutableError,
    },
    #[error("cannot start container {container}")]
    Monitor {
        container: String,
        source: MonitorFailure,
    },
    #[error("the monitor of container {container} died before the program ran")]
    MonitorDied { container: String },
    // the next two are told by a monitor, in whose words the container has its name
    #[error(transparent)]
    Create(Box<CreateError>),
    #[error(transparent)]
    Start(Box<StartError>),
    #[error("cannot run a program in container {container}")]
    Exec {
        container: String,
        source: Box<ExecError>,
    },
    #[error("container {container} is not running")]
    NotRunning { container: String },
    #[error("container {container} is running")]
    StillRunning { container: String },
    #[error("container {container} is paused")]
    Paused { container: String },
    #[error("container {container} is busy: another rocker command works on it")]
    Busy { container: String },
    #[error("container {container} did not end within {} s after SIGKILL", waited.as_secs())]
    WillNotEnd { container: String, waited: Duration },
    #[error("cannot signal container {container}")]
    Signal {
        container: String,
        source: io::Error,
    },
    #[error("cannot signal container {container}")]
    SignalInit {
        container: String,
        source: SignalError,
    },
    #[error(transparent)]
    Session(#[from] SessionError),
    #[error("container {container} keeps no log")]
    NoLog { container: String },
    #[error("cannot read the log of container {container}")]
    Log {
        container: String,
        source: crate::logs::LogReadError,
    },
    #[error("cannot connect container {container} to the network")]
    Attach {
        container: String,
        source: Box<rocker_net::AttachError>,
    },
    #[error("cannot publish a port of container {container}")]
    Publish {
        container: String,
        source: Box<rocker_net::PortError>,
    },
    #[error("cannot read this host's cgroups")]
    Cgroups {
        source: rocker_runtime::cgroup::LayoutError,
    },
    #[error("{} left behind: {}", container, failures.join("; "))]
    Teardown {
        container: String,
        failures: Vec<String>,
    },
    #[error("cannot choose addresses for the bridge")]
    NoSubnet { source: rocker_net::NoFreeSubnet },
    #[error("cannot see which addresses this host uses")]
    HostNetworks { source: rocker_net::host::HostError },
    #[error("cannot bring up the loopback of container {container}")]
    Loopback {
        container: String,
        source: Box<rocker_net::LoopbackError>,
    },
    #[error("cannot write the names of container {container}")]
    NameFile {
        container: String,
        source: rocker_net::files::UnsafeText,
    },
    #[error("cannot write resolv.conf of container {container}")]
    ResolvConf {
        container: String,
        source: rocker_net::files::ResolvConfError,
    },
    #[error("cannot listen for clients of the container")]
    Listen { source: crate::control::ListenError },
    #[error("cannot tidy up the network")]
    NetworkLeft { source: rocker_net::TeardownError },
    #[error("cannot make a pipe")]
    Pipe { source: io::Error },
    #[error("cannot open the log of container {container}")]
    OpenLog {
        container: String,
        source: crate::logs::LogWriteError,
    },
    #[error("cannot learn how container {container} ended")]
    Reap {
        container: String,
        source: rocker_runtime::ReapError,
    },
    #[error("bind source {0:?} does not exist and cannot be made")]
    BindSource(PathBuf, #[source] io::Error),
    #[error("cannot fill volume {volume} from the image")]
    CopyUp { volume: String, source: io::Error },
    #[error("no random bytes from the kernel")]
    Random { source: io::Error },
}

impl EngineError {
    pub(crate) fn file(
        attempt: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File {
            attempt,
            path,
            source,
        }
    }

    /// The exit code that `run`, `create`, `start` and `exec` use for it: 126 and 127 when
    /// the program itself was the cause, else 125.
    #[must_use]
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "all others are rocker's own failures"
    )]
    pub fn run_exit_code(&self) -> u8 {
        match self {
            Self::Monitor { source, .. } => source.exit_code,
            Self::Start(source) => source.program_failure().map_or(125, program_exit_code),
            Self::Exec { source, .. } => source.program_failure().map_or(125, program_exit_code),
            _ => 125,
        }
    }
}

/// 127 for a program that is not there, 126 for one that cannot be run.
pub(crate) fn program_exit_code(failure: rocker_runtime::ProgramFailure) -> u8 {
    match failure {
        rocker_runtime::ProgramFailure::NotFound => 127,
        rocker_runtime::ProgramFailure::NotExecutable => 126,
    }
}
