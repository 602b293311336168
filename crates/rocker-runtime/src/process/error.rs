//! Why a container or an exec session did not come to be.

use std::io;
use std::path::PathBuf;

use rocker_types::{Diagnose, ErrorKind};
use rustix::io::Errno;

use super::step::{InitFailure, InitStep};
use crate::cgroup::CgroupError;
use crate::executable::ExecutableError;
use crate::plan::PlanError;

/// Why [`crate::create`] made nothing.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// The specification contradicts itself or asks for what is never allowed.
    #[error("cannot plan the container")]
    Plan(#[source] PlanError),
    /// The binary could be overwritten from inside.
    #[error("rocker's own binary is not protected")]
    Executable(#[source] ExecutableError),
    /// More than one thread: cloning would copy locks that nobody will open.
    #[error("cannot clone: the process has more than one thread")]
    Threads(#[source] io::Error),
    /// A stream is a terminal: the container could type into it.
    #[error("a terminal was to become a stream of the container")]
    TerminalAsStream,
    /// The host itself lacks capabilities that were asked for.
    #[error("this host does not grant capability {names}")]
    CapabilityMissing {
        /// Names, separated by spaces.
        names: String,
    },
    /// The cgroup could not be made or a limit not be set.
    #[error("cannot create the container's cgroup")]
    Cgroup(#[source] CgroupError),
    /// The network namespace to join could not be opened.
    #[error("cannot open network namespace {path:?}")]
    OpenNetns {
        /// The file that names it.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A socket pair, a descriptor or the like.
    #[error("cannot prepare {what}")]
    Prepare {
        /// What was being prepared.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
    /// Init failed before this process could even take its namespaces in hand.
    #[error(transparent)]
    Init(StartError),
    /// clone3(2) itself.
    #[error("cannot clone a process into new namespaces")]
    Clone(#[source] io::Error),
}

/// Why the program of a created container does not run. The container is gone.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Init told what went wrong.
    #[error(transparent)]
    Init(InitFailure),
    /// Init died without a word: killed, or out of memory.
    #[error("the container's init died during setup ({status})")]
    Died {
        /// How it ended.
        status: String,
    },
    /// The socket to init failed.
    #[error("cannot talk to the container's init")]
    Channel(#[source] io::Error),
}

/// Why an exec session did not come to be.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// The container's init is gone.
    #[error("the container is not running (process {pid} is gone)")]
    NotRunning {
        /// Its pid.
        pid: i32,
    },
    /// See [`CreateError`].
    #[error(transparent)]
    Create(CreateError),
    /// See [`StartError`].
    #[error(transparent)]
    Start(StartError),
}

/// Whose fault it is that a program does not run: decides between exit codes 127, 126 and 125.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProgramFailure {
    /// No such program, or its interpreter is missing: 127.
    NotFound,
    /// There, but it cannot be executed: 126.
    NotExecutable,
}

impl StartError {
    /// `None` if the failure is rocker's or the host's (125).
    #[must_use]
    pub fn program_failure(&self) -> Option<ProgramFailure> {
        let Self::Init(failure) = self else {
            return None;
        };
        if failure.step == InitStep::FindProgram {
            return Some(ProgramFailure::NotFound);
        }
        if failure.step != InitStep::Execute {
            return None;
        }
        if failure.errno() == Errno::NOENT.raw_os_error() {
            Some(ProgramFailure::NotFound)
        } else {
            Some(ProgramFailure::NotExecutable)
        }
    }
}

impl ExecError {
    /// See [`StartError::program_failure`].
    #[must_use]
    pub fn program_failure(&self) -> Option<ProgramFailure> {
        match self {
            Self::Start(error) => error.program_failure(),
            Self::NotRunning { .. } | Self::Create(_) => None,
        }
    }
}

/// The kind of an I/O error of the kernel's.
fn kind_of(source: &io::Error) -> ErrorKind {
    let denied = [Errno::PERM, Errno::ACCESS].map(Errno::raw_os_error);
    let unsupported = [Errno::NOSYS, Errno::OPNOTSUPP, Errno::NODEV].map(Errno::raw_os_error);
    match source.raw_os_error() {
        Some(errno) if denied.contains(&errno) => ErrorKind::Denied,
        Some(errno) if unsupported.contains(&errno) => ErrorKind::Unsupported,
        _ => ErrorKind::Internal,
    }
}

impl Diagnose for CreateError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Plan(_) | Self::CapabilityMissing { .. } => ErrorKind::Invalid,
            Self::Threads(_) | Self::Executable(_) | Self::TerminalAsStream => ErrorKind::Internal,
            Self::Cgroup(error) => error.kind(),
            Self::OpenNetns { .. } => ErrorKind::NotFound,
            Self::Init(error) => error.kind(),
            Self::Prepare { source, .. } | Self::Clone(source) => kind_of(source),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Plan(error) => error.hint(),
            Self::Cgroup(error) => error.hint(),
            Self::Init(error) => error.hint(),
            Self::Clone(source) if kind_of(source) == ErrorKind::Denied => {
                Some("rocker needs root (CAP_SYS_ADMIN) to create namespaces".into())
            }
            Self::Clone(_)
            | Self::CapabilityMissing { .. }
            | Self::Executable(_)
            | Self::Threads(_)
            | Self::TerminalAsStream
            | Self::OpenNetns { .. }
            | Self::Prepare { .. } => None,
        }
    }
}

impl Diagnose for StartError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Init(failure) => init_kind(failure),
            Self::Died { .. } | Self::Channel(_) => ErrorKind::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        let Self::Init(failure) = self else {
            return None;
        };
        let is =
            |step, errno: Errno| failure.step == step && failure.errno() == errno.raw_os_error();
        let text = if is(InitStep::MountRootfs, Errno::INVAL) {
            "is rocker's data directory itself on overlayfs? move it with --root"
        } else if is(InitStep::Execute, Errno::NOEXEC) {
            "is the image for another architecture, or a script without #! line?"
        } else if is(InitStep::Execute, Errno::NOENT) {
            "the file or the interpreter that it names does not exist"
        } else if matches!(
            failure.step,
            InitStep::RefuseDirectory | InitStep::ReadUsers
        ) {
            "the image is broken or hostile; nothing on the host was touched"
        } else {
            return None;
        };
        Some(text.to_owned())
    }
}

fn init_kind(failure: &InitFailure) -> ErrorKind {
    const REFUSED: &[InitStep] = &[
        InitStep::RefuseDirectory,
        InitStep::ReadUsers,
        InitStep::RefuseTarget,
        InitStep::RefuseWorkingDirectory,
    ];
    const MISSING: &[InitStep] = &[
        InitStep::FindProgram,
        InitStep::FindUser,
        InitStep::FindGroup,
        InitStep::OpenSource,
    ];
    if REFUSED.contains(&failure.step) {
        ErrorKind::Tampered
    } else if MISSING.contains(&failure.step) {
        ErrorKind::NotFound
    } else {
        failure.source.as_ref().map_or(ErrorKind::Internal, kind_of)
    }
}

impl Diagnose for ExecError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NotRunning { .. } => ErrorKind::Conflict,
            Self::Create(error) => error.kind(),
            Self::Start(error) => error.kind(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NotRunning { .. } => None,
            Self::Create(error) => error.hint(),
            Self::Start(error) => error.hint(),
        }
    }
}
