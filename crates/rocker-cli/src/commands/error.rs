//! Why a command failed.

use std::io;
use std::path::PathBuf;

use rocker_engine::EngineError;
use rocker_types::{Diagnose, ErrorKind, InvalidReference, Signal};

use crate::cli::{Fault, UsageError};
use crate::template::TemplateError;
use crate::terminal::PumpError;

/// A command could not do its work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Pump(#[from] PumpError),
    #[error("{}", .0.message)]
    Usage(UsageError),
    #[error(transparent)]
    Reference(#[from] InvalidReference),
    #[error("cannot use --format")]
    Template(#[from] TemplateError),
    #[error("cannot write to stdout")]
    Output(#[source] io::Error),
    #[error("cannot use the terminal")]
    Terminal(#[source] io::Error),
    #[error("the input device is not a terminal: stdin is a file, a pipe or closed")]
    NotATerminal,
    #[error("nobody said yes to this: stdin is not a terminal")]
    NobodyToAsk,
    #[error("bars need a terminal, and standard error is none")]
    NoTerminalForProgress,
    #[error("the monitor of container {0} hung up before the container ended")]
    MonitorLost(String),
    #[error("cannot read {path:?}")]
    Archive { path: String, source: io::Error },
    #[error("cannot write {path:?}")]
    WriteArchive { path: String, source: io::Error },
    #[error("cannot write {what}")]
    Generate { what: String, source: io::Error },
    #[error("invalid configuration {path:?}, line {line}: {message}")]
    Config {
        path: PathBuf,
        line: usize,
        message: String,
    },
    #[error("stopped by {signal}")]
    Stopped { signal: Signal, source: EngineError },
    #[error("cannot use the stored credentials")]
    AuthFile(#[source] Box<rocker_engine::AuthFileError>),
    #[error("cannot read the credentials file {0:?}: there is none")]
    NoAuthFile(PathBuf),
    #[error("there is no file to keep the login in: HOME is not set")]
    NoHome,
    #[error("cannot push {0:?}: a digest is the registry's to give")]
    PushByDigest(String),
    #[error("cannot write {0:?}, so nothing is pushed")]
    DigestFile(PathBuf, #[source] io::Error),
    #[error("cannot write the digest; the image was pushed")]
    DigestLost(#[source] io::Error),
    #[error("cannot use the registry's certificates")]
    Certificates(#[source] Box<rocker_engine::CertificateError>),
    #[error("cannot use {image:?}")]
    Route {
        image: String,
        source: rocker_engine::RouteError,
    },
    #[error("cannot read the configuration")]
    ReadSettings(#[source] io::Error),
    #[error("invalid configuration {path:?}")]
    Registries {
        path: PathBuf,
        source: rocker_engine::RouteError,
    },
    #[error(transparent)]
    Policy(#[from] rocker_engine::PolicyError),
    #[error("rocker does not know the place {0:?}")]
    Transport(String),
    #[error("not logged in to {0}")]
    NotLoggedIn(String),
    #[error("cannot perform an interactive login: stdin is not a terminal")]
    NoTerminalForLogin,
    #[error("cannot read the password from stdin")]
    PasswordInput(#[source] io::Error),
    #[error("stopped by {0}")]
    Ended(Signal),
    #[error(transparent)]
    Login(#[from] rocker_engine::LoginError),
    #[error(transparent)]
    Server(#[from] rocker_engine::InvalidServer),
    #[error("cannot print {0} as JSON")]
    Json(&'static str, #[source] serde_json::Error),
    #[error("image {image} is here, but not for {platform}")]
    OtherPlatform {
        image: String,
        platform: rocker_types::Platform,
    },
    #[error("cannot write the image's ID; the image was made")]
    IdFile(#[source] io::Error),
    #[error("no such object: {0}")]
    NoSuchObject(String),
}

impl CommandError {
    /// A flag that makes no sense beside another one.
    pub(crate) fn conflict(message: impl Into<String>, hint: &str) -> Self {
        Self::Usage(UsageError {
            message: message.into(),
            hint: Some(hint.to_owned()),
            fault: Fault::Flag,
        })
    }
}

impl From<clap::Error> for CommandError {
    /// Matches that do not fit their own definition; a mistake of ours if ever seen.
    fn from(error: clap::Error) -> Self {
        Self::Usage(UsageError::from_clap(&error, "rocker --help"))
    }
}

impl Diagnose for CommandError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Engine(error) => error.kind(),
            Self::Stopped { .. } | Self::Ended(_) => ErrorKind::Interrupted,
            Self::Login(error) => error.kind(),
            Self::AuthFile(error) => error.kind(),
            Self::Certificates(error) => error.kind(),
            Self::Policy(error) => error.kind(),
            Self::Route { source, .. } | Self::Registries { source, .. } => source.kind(),
            Self::NotLoggedIn(_) | Self::NoAuthFile(_) => ErrorKind::NotFound,
            Self::Pump(PumpError::Session(error)) => error.kind(),
            Self::NoSuchObject(_) | Self::OtherPlatform { .. } => ErrorKind::NotFound,
            Self::Usage(_)
            | Self::Reference(_)
            | Self::Template(_)
            | Self::NotATerminal
            | Self::NobodyToAsk
            | Self::NoTerminalForProgress
            | Self::Config { .. }
            | Self::NoTerminalForLogin
            | Self::Transport(_)
            | Self::PushByDigest(_)
            | Self::NoHome
            | Self::PasswordInput(_)
            | Self::Server(_) => ErrorKind::Invalid,
            Self::Pump(_)
            | Self::Output(_)
            | Self::Terminal(_)
            | Self::MonitorLost(_)
            | Self::Archive { .. }
            | Self::WriteArchive { .. }
            | Self::Generate { .. }
            | Self::DigestFile(..)
            | Self::DigestLost(_)
            | Self::IdFile(_)
            | Self::ReadSettings(_)
            | Self::Json(..) => ErrorKind::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Engine(error) => error.hint(),
            Self::Pump(PumpError::Session(error)) => error.hint(),
            Self::Usage(error) => error.hint.clone(),
            Self::NotATerminal => Some("leave out -t, or start rocker in a terminal".to_owned()),
            Self::NobodyToAsk => Some("use -f, or set ROCKER_ASSUME_YES=1".to_owned()),
            Self::NoTerminalForProgress => Some("try --progress plain".to_owned()),
            Self::MonitorLost(container) => Some(format!(
                "see `rocker inspect {container}` and `rocker logs {container}`"
            )),
            Self::AuthFile(error) => error.hint(),
            Self::Login(error) => error.hint(),
            Self::Certificates(error) => error.hint(),
            Self::Policy(error) => error.hint(),
            Self::Route { source, .. } | Self::Registries { source, .. } => source.hint(),
            Self::NoTerminalForLogin => {
                Some("give -u NAME and --password-stdin, or start rocker in a terminal".to_owned())
            }
            Self::PushByDigest(_) => Some("name a tag: NAME[:TAG]".to_owned()),
            Self::Transport(_) => Some(
                "it knows registries, oci:DIR, oci-archive:FILE and docker-archive:FILE; skopeo copies from and to others".to_owned(),
            ),
            Self::NoHome => Some("name a file with --authfile".to_owned()),
            Self::Stopped { source, .. } => source.hint(),
            Self::OtherPlatform { image, platform } => {
                Some(format!("get it with `rocker pull --platform {platform} {image}`"))
            }
            Self::Pump(_)
            | Self::Ended(_)
            | Self::DigestFile(..)
            | Self::DigestLost(_)
            | Self::IdFile(_)
            | Self::ReadSettings(_)
            | Self::NoAuthFile(_)
            | Self::NotLoggedIn(_)
            | Self::PasswordInput(_)
            | Self::Server(_)
            | Self::Reference(_)
            | Self::Template(_)
            | Self::Config { .. }
            | Self::Output(_)
            | Self::Terminal(_)
            | Self::Archive { .. }
            | Self::WriteArchive { .. }
            | Self::Generate { .. }
            | Self::Json(..)
            | Self::NoSuchObject(_) => None,
        }
    }
}
