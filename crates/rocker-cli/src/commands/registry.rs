//! What the user configured about registries: which are insecure, and who we are.

use std::path::PathBuf;

use rocker_engine::{Credentials, RegistryOptions};
use rocker_types::ImageRef;
use serde::Deserialize;

use super::CommandError;

/// The system's configuration; `ROCKER_CONFIG` names another file.
const CONFIG: &str = "/etc/rocker/config.toml";

/// Keys of the configuration. An unknown one is an error, never ignored.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// `HOST[:PORT]` of registries that speak plain HTTP.
    insecure: Vec<String>,
}

/// How to talk to the registry of `reference`.
///
/// # Errors
///
/// A configuration or credentials file that is there and cannot be understood.
pub(crate) fn options(reference: &ImageRef) -> Result<RegistryOptions, CommandError> {
    Ok(RegistryOptions {
        insecure_hosts: config()?.insecure,
        credentials: credentials(reference)?,
        ..RegistryOptions::default()
    })
}

fn config() -> Result<Config, CommandError> {
    let own = variable("ROCKER_CONFIG");
    let path = own.clone().unwrap_or_else(|| CONFIG.into());
    match fs_err::read_to_string(&path) {
        Ok(text) => toml::from_str(&text).map_err(|error| misread(path, &text, &error)),
        // Only the default one may be missing.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && own.is_none() => {
            Ok(Config::default())
        }
        Err(source) => Err(CommandError::ReadConfig(source)),
    }
}

/// The parser's words without its drawing of the place.
fn misread(path: PathBuf, text: &str, error: &toml::de::Error) -> CommandError {
    let before = error.span().and_then(|span| text.get(..span.start));
    CommandError::Config {
        path,
        line: 1 + before.unwrap_or_default().matches('\n').count(),
        message: error.message().to_owned(),
    }
}

/// A variable that is set to something.
fn variable(name: &str) -> Option<PathBuf> {
    let value = std::env::var_os(name).filter(|value| !value.is_empty())?;
    Some(value.into())
}

/// Those of the first file that knows this registry, in the order of the container tools.
fn credentials(reference: &ImageRef) -> Result<Credentials, CommandError> {
    for path in auth_files() {
        let found = rocker_engine::read_auth_file(&path)
            .map_err(|source| CommandError::AuthFile(Box::new(source)))?;
        let fits = |c: &Credentials| {
            c.find(reference.registry(), reference.repository())
                .is_some()
        };
        if let Some(credentials) = found.filter(fits) {
            return Ok(credentials);
        }
    }
    Ok(Credentials::none())
}

fn auth_files() -> Vec<PathBuf> {
    let home = variable("HOME");
    let below_home = |path: &str| home.as_ref().map(|home| home.join(path));
    let runtime = variable("XDG_RUNTIME_DIR").map(|dir| dir.join("containers/auth.json"));
    let config = variable("XDG_CONFIG_HOME").or_else(|| below_home(".config"));
    let docker = variable("DOCKER_CONFIG").or_else(|| below_home(".docker"));
    [
        variable("REGISTRY_AUTH_FILE"),
        runtime,
        config.map(|dir| dir.join("containers/auth.json")),
        docker.map(|dir| dir.join("config.json")),
    ]
    .into_iter()
    .flatten()
    .collect()
}
