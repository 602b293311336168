//! The files that say where registries really are: `registries.conf` and its drop-ins.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rocker_engine::Routes;

use super::CommandError;
use super::auth_files::{home, variable};
use crate::settings_file;

/// What the container tools' files say, the later over the earlier: the main file, of the user
/// or else of the system, then what the system and the user dropped in. A file that
/// `CONTAINERS_REGISTRIES_CONF` names counts alone.
///
/// # Errors
///
/// A file that is there and cannot be understood.
pub(crate) fn routes() -> Result<&'static Routes, CommandError> {
    // every name of a command line is looked up there
    static ROUTES: OnceLock<Routes> = OnceLock::new();
    match ROUTES.get() {
        Some(routes) => Ok(routes),
        None => read().map(|routes| ROUTES.get_or_init(|| routes)),
    }
}

fn read() -> Result<Routes, CommandError> {
    let mut routes = Routes::default();
    if let Some(path) = variable("CONTAINERS_REGISTRIES_CONF") {
        let text = settings_file::read_existing(&path)?;
        add(&mut routes, &path, &text)?;
        return Ok(routes);
    }
    let user = variable("XDG_CONFIG_HOME").or_else(|| Some(home()?.join(".config")));
    let user = user.map(|directory| directory.join("containers"));
    let system = PathBuf::from("/etc/containers");
    let main = user
        .iter()
        .chain([&system])
        .map(|dir| dir.join("registries.conf"));
    for path in main {
        if let Some(text) = settings_file::read(&path)? {
            add(&mut routes, &path, &text)?;
            break;
        }
    }
    for directory in [&system].into_iter().chain(&user) {
        for path in drop_ins(&directory.join("registries.conf.d"))? {
            if let Some(text) = settings_file::read(&path)? {
                add(&mut routes, &path, &text)?;
            }
        }
    }
    Ok(routes)
}

fn add(routes: &mut Routes, path: &Path, text: &str) -> Result<(), CommandError> {
    let added = routes.add(text);
    added.map_err(|source| CommandError::Registries {
        path: path.to_owned(),
        source,
    })
}

/// `*.conf` of a directory, by name.
fn drop_ins(directory: &Path) -> Result<Vec<PathBuf>, CommandError> {
    let failed = CommandError::ReadSettings;
    let entries = match fs_err::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "conf")
        {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}
