//! Making a cgroup, and the way into it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rocker_types::ContainerId;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::apply;
use super::control;
use super::error::CgroupError;
use super::layout::{CgroupLayout, Home};
use super::name::CgroupName;
use super::plan::{CgroupPlan, Version};

/// A container's cgroup, or the one of a program that `exec` started in it: the directories of
/// one name in all hierarchies where it has one.
///
/// Dropping it leaves everything as it is; [`Self::remove`] takes it away.
#[derive(Debug)]
pub struct Cgroup {
    pub(super) name: CgroupName,
    /// The tracking one first.
    pub(super) members: Vec<Member>,
}

/// A cgroup's directory in one hierarchy.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) version: Version,
    pub(super) parent: PathBuf,
    pub(super) directory: PathBuf,
    /// Whether the directory is the cgroup's own. A session's own directory is in the tracking
    /// hierarchy only; elsewhere its processes join those of their container.
    pub(super) owned: bool,
}

/// How often the common parent may be found just made by somebody else, and still empty.
const PARENT_RACES: usize = 20;

/// Whether a v1 cpuset refused CPUs or memory nodes because its parent has none: another
/// process made the parent anew and has not filled it yet.
fn is_empty_parent(error: &CgroupError) -> bool {
    let CgroupError::Limit { path, source, .. } = error else {
        return false;
    };
    let is_cpuset = path
        .file_name()
        .is_some_and(|name| name == "cpuset.cpus" || name == "cpuset.mems");
    is_cpuset && source.kind() == std::io::ErrorKind::PermissionDenied
}

impl Cgroup {
    /// Makes the directories and sets the limits. What cannot be done leaves nothing behind.
    ///
    /// Nothing is in the cgroup yet: see [`Self::entry`].
    ///
    /// # Errors
    ///
    /// [`CgroupError`]; a limit that the kernel does not take is one, never a warning.
    pub fn create(plan: &CgroupPlan) -> Result<Self, CgroupError> {
        for _ in 0..PARENT_RACES {
            match Self::create_once(plan) {
                Err(error) if is_empty_parent(&error) => {}
                result => return result,
            }
        }
        Self::create_once(plan)
    }

    fn create_once(plan: &CgroupPlan) -> Result<Self, CgroupError> {
        for (done, hierarchy) in plan.hierarchies.iter().enumerate() {
            if let Err(error) = apply::apply(hierarchy) {
                plan.hierarchies[..done].iter().for_each(apply::discard);
                return Err(error);
            }
        }
        let member = |hierarchy: &super::plan::HierarchyPlan| Member {
            version: hierarchy.version,
            parent: hierarchy.parent.clone(),
            directory: hierarchy.directory.clone(),
            owned: true,
        };
        Ok(Self {
            name: plan.name.clone(),
            members: plan.hierarchies.iter().map(member).collect(),
        })
    }

    /// The cgroup of this name as far as it exists: what is not there (any more) is no error,
    /// so that recovery can remove whatever a crash left.
    #[must_use]
    pub fn open(layout: &CgroupLayout, name: &CgroupName) -> Self {
        let tracking = layout.tracking().map(|home| Member::at(home, name));
        let mut members: Vec<Member> = tracking.into_iter().collect();
        let unified = layout.unified.iter().map(Home::V2);
        for home in unified.chain(layout.v1.iter().map(Home::V1)) {
            let member = Member::at(home, name);
            if members.iter().all(|m| m.directory != member.directory) {
                members.push(member);
            }
        }
        members.retain(|member| member.directory.exists());
        Self {
            name: name.clone(),
            members,
        }
    }

    /// The containers that have a cgroup, of all installations on this host: those that are alive,
    /// whatever any database says.
    #[must_use]
    pub fn containers(layout: &CgroupLayout) -> Vec<ContainerId> {
        let Some(home) = layout.tracking() else {
            return Vec::new();
        };
        let children = control::child_directories(&CgroupName::all_in(home.mount()));
        let name = |path: PathBuf| path.file_name()?.to_str()?.parse().ok();
        // without the directory of all containers there are none
        children
            .unwrap_or_default()
            .into_iter()
            .filter_map(name)
            .collect()
    }

    /// Makes a cgroup below this container's for a program that `exec` starts in it: the
    /// container's limits count for it, and it can be killed alone.
    ///
    /// # Errors
    ///
    /// [`CgroupError::Open`] when the container's cgroup is gone, [`CgroupError::InUse`] when
    /// there is a session of this name, [`CgroupError::CreateDirectory`] from the kernel.
    pub fn create_session(&self, name: &CgroupName) -> Result<Self, CgroupError> {
        let mut members = self.members.clone();
        let gone = || CgroupError::Open {
            path: PathBuf::from(self.name.to_string()),
            source: Errno::NOENT.into(),
        };
        let (tracking, others) = members.split_first_mut().ok_or_else(gone)?;
        let mount = mount_of(&tracking.parent).ok_or_else(gone)?;
        let directory = name.directory_in(mount);
        control::make_directory(&directory).map_err(|source| match source {
            Errno::EXIST => CgroupError::InUse {
                path: directory.clone(),
            },
            _ => CgroupError::CreateDirectory {
                path: directory.clone(),
                source: source.into(),
            },
        })?;
        tracking.directory = directory;
        others.iter_mut().for_each(|member| member.owned = false);
        Ok(Self {
            name: name.clone(),
            members,
        })
    }

    /// The cgroup's name.
    #[must_use]
    pub const fn name(&self) -> &CgroupName {
        &self.name
    }

    /// Whether it has a directory in any hierarchy.
    #[must_use]
    pub const fn exists(&self) -> bool {
        !self.members.is_empty()
    }

    /// The cgroup's directories, the tracking one first; of a session those that its processes
    /// are in.
    pub fn directories(&self) -> impl Iterator<Item = &Path> {
        self.members.iter().map(|m| m.directory.as_path())
    }

    /// Opens the way into the cgroup for one new process.
    ///
    /// # Errors
    ///
    /// [`CgroupError::Open`], also when the cgroup does not exist.
    pub fn entry(&self) -> Result<CgroupEntry, CgroupError> {
        let mut entry = CgroupEntry::default();
        if !self.exists() {
            return Err(CgroupError::Open {
                path: PathBuf::from(self.name.to_string()),
                source: Errno::NOENT.into(),
            });
        }
        for member in &self.members {
            let (path, flags) = match member.version {
                Version::V1 => (member.directory.join("tasks"), OFlags::WRONLY),
                Version::V2 => (member.directory.clone(), OFlags::RDONLY | OFlags::DIRECTORY),
            };
            let fd = rustix::fs::open(&path, flags | OFlags::CLOEXEC, Mode::empty());
            let fd = fd.map_err(|source| CgroupError::Open {
                path,
                source: source.into(),
            })?;
            match member.version {
                Version::V1 => entry.join_files.push(fd),
                Version::V2 => entry.clone_into = Some(fd),
            }
        }
        Ok(entry)
    }

    /// The member that finds all processes.
    pub(super) fn tracking(&self) -> Option<&Member> {
        self.members.first()
    }
}

impl Member {
    fn at(home: Home<'_>, name: &CgroupName) -> Self {
        let mount = home.mount();
        Self {
            version: match home {
                Home::V1(_) => Version::V1,
                Home::V2(_) => Version::V2,
            },
            parent: name.parent_in(mount),
            directory: name.directory_in(mount),
            owned: true,
        }
    }
}

/// The parent of all containers stands directly below the mount.
fn mount_of(parent: &Path) -> Option<&Path> {
    parent.parent()
}

/// Open files that lead one new process into a cgroup. All are close-on-exec.
///
/// The process starts in the v2 cgroup by `CLONE_INTO_CGROUP`. It enters the v1 ones itself, by
/// writing `0` to each join file while it has one thread and *before* it unshares the cgroup
/// namespace; from outside, the kernel takes forty times as long for it.
#[derive(Debug, Default)]
pub struct CgroupEntry {
    clone_into: Option<OwnedFd>,
    join_files: Vec<OwnedFd>,
}

impl CgroupEntry {
    /// The v2 directory to clone into, where there is a v2 tree.
    #[must_use]
    pub fn clone_into(&self) -> Option<BorrowedFd<'_>> {
        self.clone_into.as_ref().map(AsFd::as_fd)
    }

    /// The v1 `tasks` files, open for writing.
    #[must_use]
    pub fn join_files(&self) -> &[OwnedFd] {
        &self.join_files
    }
}
