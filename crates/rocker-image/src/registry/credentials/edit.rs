//! Changing auth files: one writer at a time, as a whole or not at all.
//!
//! Everything that a login is not about stays as it was, and in its order: other tools keep
//! settings of their own in these files.

use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fs_err::os::unix::fs::OpenOptionsExt as _;
use rustix::fs::{FlockOperation, flock};
use serde_json::{Map, Value, json};

use super::file::{read_bytes, syntax};
use super::server::normalise;
use super::{AuthFile, AuthFileError, Server};

/// How long to wait for another writer.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often to look whether the other writer is done.
const POLL: Duration = Duration::from_millis(20);

/// How a file calls Docker Hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyStyle {
    /// `docker.io`, as the container tools do.
    Containers,
    /// `https://index.docker.io/v1/`, as docker does.
    Docker,
}

/// Where a login is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SavedIn {
    /// In this file.
    File(PathBuf),
    /// In this credential helper.
    Helper(String),
}

/// Keeps a name and a password for `server` in the auth file at `path`, or in the credential
/// helper that the file names for it. The file is made if there is none, for its owner only.
///
/// # Errors
///
/// [`AuthFileError`]; the file is as it was then.
pub fn save_login(
    path: &Path,
    style: KeyStyle,
    server: &Server,
    (username, password): (&str, &str),
) -> Result<SavedIn, AuthFileError> {
    if username.contains(':') {
        let problem = "a user name must not contain a colon";
        return Err(AuthFileError::Unfit { problem });
    }
    let keeper = match AuthFile::read(path)? {
        Some(file) => file.keeper(server)?.map(|helper| (file, helper)),
        None => None,
    };
    if let Some((file, helper)) = keeper {
        helper
            .store(server.address(), username, password)
            .map_err(|source| file.helper_failed(source))?;
        // what the file itself had is out of date now
        if file.has_to_name(server) {
            Edit::begin(path)?.change(|auths| {
                insert(auths, server, style, json!({}));
                true
            })?;
        } else if file.has_secret(server) {
            Edit::begin(path)?.change(|auths| remove(auths, server))?;
        }
        return Ok(SavedIn::Helper(helper.program().to_owned()));
    }
    let entry = json!({ "auth": STANDARD.encode(format!("{username}:{password}")) });
    let edit = Edit::begin(path)?;
    edit.change(|auths| {
        insert(auths, server, style, entry);
        true
    })?;
    Ok(SavedIn::File(path.to_owned()))
}

/// Puts the only entry for `server`, under the name that it has there already.
fn insert(auths: &mut Map<String, Value>, server: &Server, style: KeyStyle, entry: Value) {
    let own = match style {
        KeyStyle::Containers => server.key(),
        KeyStyle::Docker => server.address(),
    };
    let found = auths.keys().find(|key| normalise(key) == server.key());
    let key = found.map_or(own, String::as_str).to_owned();
    auths.insert(key.clone(), entry);
    auths.retain(|other, _| *other == key || normalise(other) != server.key());
}

/// Forgets what the auth file at `path`, and the helper that it names, has for exactly
/// `server`; `false` if that is nothing.
///
/// # Errors
///
/// [`AuthFileError`].
pub fn forget_login(path: &Path, server: &Server) -> Result<bool, AuthFileError> {
    let Some(file) = AuthFile::read(path)? else {
        return Ok(false);
    };
    let mut known = false;
    // the file first: a helper that is broken must not keep a password there
    let changed = match file.mentions(server) {
        true => Edit::begin(path)?.change(|auths| remove(auths, server))?,
        false => false,
    };
    if let Some(helper) = file.keeper(server)? {
        for address in server.addresses() {
            let failed = |source| file.helper_failed(source);
            if helper.get(address).map_err(failed)?.is_some() {
                helper.erase(address).map_err(failed)?;
                known = true;
            }
        }
    }
    Ok(known || changed)
}

/// Forgets everything that the auth file at `path`, and the helpers that it names, have;
/// `false` if that is nothing.
///
/// # Errors
///
/// [`AuthFileError`].
pub fn forget_all_logins(path: &Path) -> Result<bool, AuthFileError> {
    let Some(file) = AuthFile::read(path)? else {
        return Ok(false);
    };
    // the file first: a helper that cannot forget must not keep what lies open here
    let changed = match file.has_no_entries() {
        true => false,
        false => Edit::begin(path)?.change(|auths| {
            let had_any = !auths.is_empty();
            auths.clear();
            had_any
        })?,
    };
    let mut known = false;
    for (key, helper) in file.helpers()? {
        let failed = |source| file.helper_failed(source);
        // a helper for one registry may keep other things for others
        let is_meant = |address: &String| key.is_none_or(|key| normalise(address) == key);
        let addresses = helper.list().map_err(failed)?;
        for address in addresses.iter().filter(|address| is_meant(address)) {
            helper.erase(address).map_err(failed)?;
            known = true;
        }
    }
    Ok(known || changed)
}

fn remove(auths: &mut Map<String, Value>, server: &Server) -> bool {
    let before = auths.len();
    auths.retain(|key, _| normalise(key) != server.key());
    auths.len() != before
}

/// An auth file that nobody else changes meanwhile.
struct Edit {
    /// The file itself: where it is a link, what it leads to.
    path: PathBuf,
    directory: PathBuf,
    /// The directory, open and locked: a lock on the file would be one on what is replaced.
    _lock: fs_err::File,
}

impl Edit {
    fn begin(path: &Path) -> Result<Self, AuthFileError> {
        let failed = |source| AuthFileError::Write {
            path: path.to_owned(),
            source,
        };
        let path = match fs_err::canonicalize(path) {
            Ok(path) => path,
            Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_owned(),
            Err(error) => return Err(failed(error)),
        };
        if fs_err::metadata(&path).is_ok_and(|found| !found.is_file()) {
            return Err(AuthFileError::NotAFile { path });
        }
        let directory = match path.parent() {
            Some(parent) if parent != Path::new("") => parent.to_owned(),
            Some(_) | None => PathBuf::from("."),
        };
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&directory)
            .map_err(failed)?;
        let lock = fs_err::File::open(&directory).map_err(failed)?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                Err(rustix::io::Errno::WOULDBLOCK) if Instant::now() >= deadline => {
                    return Err(AuthFileError::Locked { path });
                }
                Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) => {
                    std::thread::sleep(POLL);
                }
                Err(errno) => return Err(failed(errno.into())),
            }
        }
        Ok(Self {
            path,
            directory,
            _lock: lock,
        })
    }

    /// Has the file's `auths` changed and writes them if `change` says that it did; gives
    /// back what it said.
    fn change(
        &self,
        change: impl FnOnce(&mut Map<String, Value>) -> bool,
    ) -> Result<bool, AuthFileError> {
        let bytes = read_bytes(&self.path)?.unwrap_or_default();
        let mut document: Map<String, Value> = match bytes.trim_ascii() {
            [] => Map::new(),
            text => serde_json::from_slice(text).map_err(syntax(&self.path))?,
        };
        let auths = document
            .entry("auths")
            .and_modify(|auths| {
                if auths.is_null() {
                    *auths = json!({});
                }
            })
            .or_insert_with(|| json!({}));
        let Value::Object(auths) = auths else {
            let problem = "the auth file's auths are not an object";
            return Err(AuthFileError::Unfit { problem });
        };
        if !change(auths) {
            return Ok(false);
        }
        self.replace(&document)
            .map_err(|source| AuthFileError::Write {
                path: self.path.clone(),
                source,
            })?;
        Ok(true)
    }

    /// Writes beside the file and renames. The name beside it is always the same: what a
    /// writer that was killed left is gone after the next.
    fn replace(&self, document: &Map<String, Value>) -> io::Result<()> {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let beside = self.directory.join(format!(".{name}.rocker"));
        match fs_err::remove_file(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let mut text = Vec::new();
        let indent = serde_json::ser::PrettyFormatter::with_indent(b"\t");
        let mut writer = serde_json::Serializer::with_formatter(&mut text, indent);
        serde::Serialize::serialize(document, &mut writer)?;
        text.push(b'\n');
        let mut file = fs_err::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&beside)?;
        file.write_all(&text)?;
        self.keep_owner(&file);
        file.sync_all()?;
        fs_err::rename(&beside, &self.path)?;
        fs_err::File::open(&self.directory)?.sync_all()
    }

    /// Root may log in for somebody whose file it is. A file in somebody else's directory was
    /// put there by who knows whom, and nobody is to read what is in it now.
    fn keep_owner(&self, file: &fs_err::File) {
        use std::os::unix::fs::MetadataExt as _;
        let owner = |path: &Path| {
            let metadata = fs_err::metadata(path).ok()?;
            Some((metadata.uid(), metadata.gid()))
        };
        let (before, directory) = (owner(&self.path), owner(&self.directory));
        if let Some((user, group)) =
            before.filter(|(user, _)| directory.is_some_and(|(directory, _)| directory == *user))
        {
            // who may not give files away owns what was there
            let _ = std::os::unix::fs::fchown(file.file(), Some(user), Some(group));
        }
    }
}

#[cfg(test)]
mod tests;
