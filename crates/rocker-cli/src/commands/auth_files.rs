//! The files that know who we are at registries, where the container tools keep them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use rocker_engine::{AuthFile, AuthFileError, Credential, ExtraHeaders, KeyStyle, SavedIn, Server};

use super::CommandError;

/// Auth files in the order in which they are asked.
#[derive(Debug)]
pub(crate) struct AuthFiles {
    files: Vec<Candidate>,
    /// Where a login goes if no file of ours exists.
    fresh: Option<PathBuf>,
}

#[derive(Debug)]
struct Candidate {
    path: PathBuf,
    style: KeyStyle,
    /// Whether logins are written there; docker's file is docker's.
    ours: bool,
}

impl Candidate {
    fn ours(path: PathBuf) -> Self {
        Self {
            path,
            style: KeyStyle::Containers,
            ours: true,
        }
    }
}

impl AuthFiles {
    /// Those of the environment, in the order of the container tools; docker's comes last. Where
    /// a variable names a file, the others are read, and left as they are.
    pub(crate) fn usual() -> Self {
        if let Some(path) = variable("REGISTRY_AUTH_FILE") {
            let mut files = Self::below(home().as_deref());
            files.files.iter_mut().for_each(|file| file.ours = false);
            files.files.insert(0, Candidate::ours(path.clone()));
            files.fresh = Some(path);
            return files;
        }
        Self::below(home().as_deref())
    }

    fn below(home: Option<&Path>) -> Self {
        let config = variable("XDG_CONFIG_HOME").or_else(|| Some(home?.join(".config")));
        let lasting = config.map(|directory| directory.join("containers/auth.json"));
        let runtime = runtime_directory().map(|directory| directory.join("containers/auth.json"));
        let docker = variable("DOCKER_CONFIG").or_else(|| Some(home?.join(".docker")));
        let docker = docker.map(|directory| Candidate {
            path: directory.join("config.json"),
            style: KeyStyle::Docker,
            ours: false,
        });
        let ours = runtime.into_iter().chain(lasting.clone());
        Self {
            files: ours.map(Candidate::ours).chain(docker).collect(),
            fresh: lasting,
        }
    }

    /// The one file that the user named.
    pub(crate) fn only(path: &Path, style: KeyStyle) -> Self {
        Self {
            files: vec![Candidate {
                path: path.to_owned(),
                style,
                ours: true,
            }],
            fresh: Some(path.to_owned()),
        }
    }

    /// Whether any of them is there.
    pub(crate) fn any_exists(&self) -> bool {
        self.files.iter().any(|file| file.path.exists())
    }

    /// The credential of the first file that knows `repository` at `registry`.
    ///
    /// # Errors
    ///
    /// A file that is there and cannot be understood, a helper that fails.
    pub(crate) fn find(
        &self,
        registry: &str,
        repository: &str,
    ) -> Result<Option<Credential>, CommandError> {
        for candidate in &self.files {
            let file = AuthFile::read(&candidate.path).map_err(unusable)?;
            let found = file.map_or(Ok(None), |file| file.find(registry, repository));
            if let Some(credential) = found.map_err(unusable)? {
                return Ok(Some(credential));
            }
        }
        Ok(None)
    }

    /// What the first file that has something to say wants registries to see besides.
    ///
    /// # Errors
    ///
    /// A file that is there and cannot be understood.
    pub(crate) fn headers(&self) -> Result<ExtraHeaders, CommandError> {
        for candidate in &self.files {
            let file = AuthFile::read(&candidate.path).map_err(unusable)?;
            if let Some(file) = file.filter(|file| !file.headers().is_empty()) {
                return Ok(file.headers().clone());
            }
        }
        Ok(ExtraHeaders::default())
    }

    /// The registries that the files name, sorted. What cannot be read names none.
    pub(crate) fn servers(&self) -> BTreeSet<String> {
        let files = self.files.iter();
        let read = files.filter_map(|file| AuthFile::read(&file.path).ok().flatten());
        let mut servers = BTreeSet::new();
        for file in read {
            servers.extend(file.servers().map(str::to_owned));
        }
        servers
    }

    /// Keeps a login in the first file of ours that exists, else in a new one.
    ///
    /// # Errors
    ///
    /// The file or its helper cannot take it, or there is no home to make one in.
    pub(crate) fn save(
        &self,
        server: &Server,
        login: (&str, &str),
    ) -> Result<SavedIn, CommandError> {
        let exists = |file: &&Candidate| file.ours && file.path.exists();
        let (path, style) = match self.files.iter().find(exists) {
            Some(file) => (file.path.as_path(), file.style),
            None => {
                let fresh = self.fresh.as_deref().ok_or(CommandError::NoHome)?;
                let named = self.files.iter().find(|file| file.path == fresh);
                (fresh, named.map_or(KeyStyle::Containers, |file| file.style))
            }
        };
        rocker_engine::save_login(path, style, server, login).map_err(unusable)
    }

    /// Forgets a login in every file of ours; `false` if none had it.
    ///
    /// # Errors
    ///
    /// A file or a helper that cannot be used.
    pub(crate) fn forget(&self, server: &Server) -> Result<bool, CommandError> {
        self.forget_by(|path| rocker_engine::forget_login(path, server))
    }

    /// Forgets every login in every file of ours; `false` if there was none.
    ///
    /// # Errors
    ///
    /// A file or a helper that cannot be used.
    pub(crate) fn forget_all(&self) -> Result<bool, CommandError> {
        self.forget_by(rocker_engine::forget_all_logins)
    }

    fn forget_by(
        &self,
        forget: impl Fn(&Path) -> Result<bool, AuthFileError>,
    ) -> Result<bool, CommandError> {
        // every file gets its turn; the first failure is told
        let mut outcome = Ok(false);
        for file in self.files.iter().filter(|file| file.ours) {
            let forgotten = forget(&file.path).map_err(unusable);
            outcome = match (outcome, forgotten) {
                (Ok(before), Ok(now)) => Ok(before || now),
                (Err(error), _) | (Ok(_), Err(error)) => Err(error),
            };
        }
        outcome
    }

    /// A file that is not ours and knows `server`.
    ///
    /// # Errors
    ///
    /// A file or a helper that cannot be used.
    pub(crate) fn elsewhere(&self, server: &Server) -> Result<Option<&Path>, CommandError> {
        for candidate in self.files.iter().filter(|file| !file.ours) {
            let file = AuthFile::read(&candidate.path).map_err(unusable)?;
            let knows = file.map_or(Ok(false), |file| file.knows(server));
            if knows.map_err(unusable)? {
                return Ok(Some(&candidate.path));
            }
        }
        Ok(None)
    }
}

fn unusable(source: AuthFileError) -> CommandError {
    CommandError::AuthFile(Box::new(source))
}

/// A variable that is set to something.
pub(super) fn variable(name: &str) -> Option<PathBuf> {
    let value = std::env::var_os(name).filter(|value| !value.is_empty())?;
    Some(value.into())
}

/// The user's home directory, whatever the environment leaves out.
pub(super) fn home() -> Option<PathBuf> {
    let from_accounts = || {
        let me = nix::unistd::User::from_uid(nix::unistd::Uid::effective());
        Some(me.ok()??.dir)
    };
    variable("HOME").or_else(from_accounts)
}

/// Where this user's files of this session are. `su` may leave another user's there, whose
/// files are neither to be believed nor to be written.
fn runtime_directory() -> Option<PathBuf> {
    use std::os::unix::fs::MetadataExt as _;
    let directory = variable("XDG_RUNTIME_DIR")?;
    let owner = fs_err::metadata(&directory).ok()?.uid();
    (owner == nix::unistd::Uid::effective().as_raw()).then_some(directory)
}
