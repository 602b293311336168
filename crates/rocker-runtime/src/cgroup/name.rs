//! Names of cgroups.

use std::fmt;
use std::path::{Path, PathBuf};

use rocker_types::ContainerId;

/// The directory that holds every container's cgroup, in each hierarchy.
const PARENT: &str = "rocker";

/// The place of a container, or of a program started in it by `exec`, below the root of each
/// hierarchy: `rocker/<container id>` or `rocker/<container id>/<session>`.
///
/// No component can be a file of the cgroup file system or lead out of its parent.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CgroupName {
    parent: String,
    container: String,
    session: Option<String>,
}

/// A component of a cgroup's name that could collide with a control file or leave the parent.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "cgroup name {0:?} must be 1 to 128 of a-z, A-Z, 0-9, '-', '_', and must not look like a control file"
)]
pub struct InvalidCgroupName(String);

impl CgroupName {
    /// `rocker/<id>`.
    #[must_use]
    pub fn new(container: &ContainerId) -> Self {
        Self {
            parent: PARENT.to_owned(),
            container: container.as_str().to_owned(),
            session: None,
        }
    }

    /// `<parent>/<leaf>`, for a parent directory of one's own.
    ///
    /// # Errors
    ///
    /// [`InvalidCgroupName`]: control files all have a dot in their names (`tasks` and
    /// `notify_on_release` excepted), so dots are refused along with separators.
    pub fn in_parent(parent: &str, leaf: &str) -> Result<Self, InvalidCgroupName> {
        Ok(Self {
            parent: checked(parent)?,
            container: checked(leaf)?,
            session: None,
        })
    }

    /// The cgroup of a program that `exec` starts in this container.
    ///
    /// # Errors
    ///
    /// [`InvalidCgroupName`] as for [`Self::in_parent`].
    pub fn session(&self, session: &str) -> Result<Self, InvalidCgroupName> {
        Ok(Self {
            session: Some(checked(session)?),
            ..self.clone()
        })
    }

    /// The cgroup of the container itself.
    #[must_use]
    pub fn container(&self) -> Self {
        Self {
            session: None,
            ..self.clone()
        }
    }

    /// Whether this is a program started by `exec`, not a container.
    #[must_use]
    pub const fn is_session(&self) -> bool {
        self.session.is_some()
    }

    /// Where those of all containers lie.
    pub(super) fn all_in(mount: &Path) -> PathBuf {
        mount.join(PARENT)
    }

    pub(super) fn parent_in(&self, mount: &Path) -> PathBuf {
        mount.join(&self.parent)
    }

    pub(super) fn directory_in(&self, mount: &Path) -> PathBuf {
        let container = self.parent_in(mount).join(&self.container);
        match &self.session {
            Some(session) => container.join(session),
            None => container,
        }
    }
}

impl fmt::Display for CgroupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.parent, self.container)?;
        match &self.session {
            Some(session) => write!(f, "/{session}"),
            None => Ok(()),
        }
    }
}

fn checked(text: &str) -> Result<String, InvalidCgroupName> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    let control_file = text == "tasks" || text == "notify_on_release" || text == "release_agent";
    if (1..=128).contains(&text.len()) && text.bytes().all(plain) && !control_file {
        Ok(text.to_owned())
    } else {
        Err(InvalidCgroupName(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_lives_below_rocker_and_its_sessions_below_it() {
        let id: ContainerId = "ab".repeat(32).parse().unwrap();
        let name = CgroupName::new(&id);
        assert_eq!(name.to_string(), format!("rocker/{id}"));

        let session = name.session("exec-1").unwrap();
        assert_eq!(session.to_string(), format!("rocker/{id}/exec-1"));
        assert_eq!(
            session.directory_in(Path::new("/c")),
            Path::new(&format!("/c/rocker/{id}/exec-1"))
        );
        assert_eq!(session.container(), name);
    }

    #[test]
    fn nothing_that_leaves_the_parent_or_is_a_control_file_is_a_name() {
        for bad in [
            "",
            ".",
            "..",
            "a/b",
            "cgroup.kill",
            "tasks",
            "memory.max",
            "a\n",
            "ä",
        ] {
            assert!(CgroupName::in_parent("rocker", bad).is_err(), "{bad:?}");
            assert!(CgroupName::in_parent(bad, "x").is_err(), "{bad:?}");
        }
    }
}
