//! The files that say where registries really are: `registries.conf` and its drop-ins.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use rocker_engine::Routes;

use super::CommandError;
use super::auth_files::{home, variable};

/// The largest file, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// What the container tools' files say, the later over the earlier: the main file, of the user
/// or else of the system, then what the system and the user dropped in. A file that
/// `CONTAINERS_REGISTRIES_CONF` names counts alone.
///
/// # Errors
///
/// A file that is there and cannot be understood.
pub(crate) fn routes() -> Result<Routes, CommandError> {
    let mut routes = Routes::default();
    if let Some(path) = variable("CONTAINERS_REGISTRIES_CONF") {
        let text = read(&path)?.ok_or_else(|| {
            let missing = std::io::Error::from(std::io::ErrorKind::NotFound);
            CommandError::ReadRegistries(path.clone(), missing)
        })?;
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
        if let Some(text) = read(&path)? {
            add(&mut routes, &path, &text)?;
            break;
        }
    }
    for directory in [&system].into_iter().chain(&user) {
        for path in drop_ins(&directory.join("registries.conf.d"))? {
            if let Some(text) = read(&path)? {
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

/// The file's text; `None` if there is none.
fn read(path: &Path) -> Result<Option<String>, CommandError> {
    let failed = |source| CommandError::ReadRegistries(path.to_owned(), source);
    let file = match fs_err::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut text = String::new();
    file.take(MAX_BYTES)
        .read_to_string(&mut text)
        .map_err(failed)?;
    Ok(Some(text))
}

/// `*.conf` of a directory, by name.
fn drop_ins(directory: &Path) -> Result<Vec<PathBuf>, CommandError> {
    let failed = |source| CommandError::ReadRegistries(directory.to_owned(), source);
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
