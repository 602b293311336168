//! Finding out whether a registry accepts a login.

use std::io;

use rocker_types::{Diagnose, ErrorKind};

use super::fetch::{Errand, Repository};
use super::{Credential, Credentials, RegistryError, RegistryOptions, Server, runtime};

/// A login to try.
pub struct LoginRequest<'a> {
    /// Where.
    pub server: &'a Server,
    /// Who.
    pub credential: Credential,
    /// How to talk to registries; its credentials are not used.
    pub registry: RegistryOptions,
    /// Asked about every 50 ms; once it says `true`, the attempt ends with
    /// [`LoginError::Interrupted`].
    pub cancelled: &'a dyn Fn() -> bool,
}

impl std::fmt::Debug for LoginRequest<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoginRequest")
            .field("server", &self.server)
            .field("credential", &self.credential)
            .field("registry", &self.registry)
            .finish_non_exhaustive()
    }
}

/// Why a login is not known to be good.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// The caller said so.
    #[error("login to {server} was interrupted")]
    Interrupted {
        /// The registry.
        server: String,
    },

    /// The registry says that name and password are wrong.
    #[error("{server} refused the user name or the password (status {status})")]
    Refused {
        /// The registry.
        server: String,
        /// 401 or 403.
        status: u16,
    },

    /// The registry could not be asked.
    #[error("cannot log in to {server}")]
    Registry {
        /// The registry.
        server: String,
        /// What happened.
        source: Box<RegistryError>,
    },

    /// The kernel refused an epoll instance.
    #[error("cannot start the network client for the login to {server}")]
    Start {
        /// The registry.
        server: String,
        /// What happened.
        source: io::Error,
    },
}

impl Diagnose for LoginError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Interrupted { .. } => ErrorKind::Interrupted,
            Self::Refused { .. } => ErrorKind::Denied,
            Self::Registry { source, .. } => source.kind(),
            Self::Start { .. } => ErrorKind::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Refused { .. } => {
                Some("many registries want an access token in place of the password".to_owned())
            }
            Self::Registry { source, .. } => source.hint(),
            Self::Interrupted { .. } | Self::Start { .. } => None,
        }
    }
}

/// Asks the registry for its front page (`/v2/`) with the credential, by whatever way it wants
/// it shown: as it is, or for a token. A registry that asks for nothing accepts everybody.
///
/// # Errors
///
/// [`LoginError`].
pub fn check_login(request: &LoginRequest<'_>) -> Result<(), LoginError> {
    let server = request.server.to_string();
    let outcome = runtime::block_on(async {
        tokio::select! {
            biased;
            () = runtime::cancelled(request.cancelled) => {
                Err(LoginError::Interrupted { server: server.clone() })
            }
            outcome = ask(request) => outcome.map_err(|error| failure(&server, error)),
        }
    });
    outcome.map_err(|source| LoginError::Start {
        server: server.clone(),
        source,
    })?
}

fn failure(server: &str, error: RegistryError) -> LoginError {
    let server = server.to_owned();
    if let RegistryError::Denied { status, .. } = error {
        return LoginError::Refused { server, status };
    }
    let source = Box::new(error);
    LoginError::Registry { server, source }
}

async fn ask(request: &LoginRequest<'_>) -> Result<(), RegistryError> {
    let registry = request.server.registry();
    let mut options = request.registry.clone();
    options.credentials = Credentials::none();
    options
        .credentials
        .insert(registry, request.credential.clone());
    let errand = Errand {
        registry,
        repository: "",
        scopes: Vec::new(),
    };
    let repository = Repository::connect(&errand, &options, &|_| {}).await?;
    repository.front_page().await
}
