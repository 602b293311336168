//! Performs the mount plan. Runs in the child, before it changes its root.

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use rocker_sys::mount::{MountAttributes, MountPropagation, Reach, set_attributes};
use rocker_types::Propagation;
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountAttrFlags, MountPropagationFlags};

use super::dev::{Dev, Terminal};
use super::filesystem::{
    Parameter, attach, attribute_flags_of, attributes_of, clone_of_host_path, new_filesystem,
    set_propagation,
};
use super::mask::Masks;
use super::overlay::{OverlayPlan, mount_overlay};
use super::root::{Missing, Root};
use super::{cgroups, mask, pivot};
use crate::plan::{BindSource, MountStep, covers_proc};
use crate::process::{At, InitFailure, InitStep};
use crate::spec::{CreateTarget, MountFlags, WindowSize};

/// Where `/` comes from, decided.
#[derive(Clone, Debug)]
pub(crate) enum RootSource {
    /// An overlay of layers.
    Overlay(OverlayPlan),
    /// A directory of the host with what is mounted below it.
    Directory(PathBuf),
}

/// Everything about the container's mounts, decided.
#[derive(Clone, Debug)]
pub(crate) struct Blueprint {
    pub(crate) root: RootSource,
    pub(crate) sources: Vec<BindSource>,
    pub(crate) steps: Vec<MountStep>,
    pub(crate) terminal: Option<WindowSize>,
}

/// The mount tree while it is being put together, and what later steps need of it.
#[derive(Debug)]
pub(crate) struct Assembly {
    /// The container's `/`.
    pub(crate) root: Root,
    /// The container's terminal, if it was asked for.
    pub(crate) terminal: Option<Terminal>,
    sources: Vec<OwnedFd>,
    /// The root of a procfs that nothing is mounted on yet when this is opened.
    proc: Option<OwnedFd>,
    /// Its `sys` directory, below the read-only mount that comes later: the private handle
    /// through which the container's kernel settings are written (CVE-2025-52881).
    sysctl: Option<OwnedFd>,
    dev: Option<Dev>,
    masks: Masks,
    terminal_size: Option<WindowSize>,
}

/// nosuid, nodev, noexec.
pub(super) fn bare() -> MountAttrFlags {
    MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC
}

impl Assembly {
    /// Cuts the mount namespace off from the host's, mounts the root and performs every step.
    pub(crate) fn build(blueprint: &Blueprint) -> Result<Self, InitFailure> {
        // Before the namespace is made private: a shared or slave bind needs its group.
        let sources = blueprint
            .sources
            .iter()
            .map(open_source)
            .collect::<Result<_, _>>()?;
        let directory = match &blueprint.root {
            RootSource::Directory(path) => Some(open_directory_root(path)?),
            RootSource::Overlay(_) => None,
        };
        rustix::mount::mount_change(
            "/",
            MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
        )
        .at(InitStep::IsolateMounts, "/")?;
        let root = match (&blueprint.root, directory) {
            (RootSource::Overlay(plan), _) => open_overlay_root(plan)?,
            (RootSource::Directory(_), Some(fd)) => fd,
            (RootSource::Directory(path), None) => open_directory_root(path)?,
        };
        pivot::attach_over_old_root(root.as_fd())?;
        let mut assembly = Self {
            root: Root::new(root),
            terminal: None,
            sources,
            proc: None,
            sysctl: None,
            dev: None,
            masks: Masks::default(),
            terminal_size: blueprint.terminal,
        };
        blueprint
            .steps
            .iter()
            .try_for_each(|step| assembly.perform(step))?;
        Ok(assembly)
    }

    fn perform(&mut self, step: &MountStep) -> Result<(), InitFailure> {
        match step {
            MountStep::Proc => self.mount_proc(),
            MountStep::Sysfs { read_only } => self.mount_sysfs(*read_only),
            MountStep::Cgroups { mounts, read_only } => {
                cgroups::mount(&self.root, mounts, *read_only)
            }
            MountStep::Dev { nodes } => {
                let dev = Dev::mount(&self.root, nodes)?;
                self.masks.null = Some(dev.verified_null()?);
                self.dev = Some(dev);
                Ok(())
            }
            MountStep::Devpts => self.dev()?.mount_pts(),
            MountStep::Console => {
                let size = self.terminal_size.unwrap_or_default();
                self.terminal = Some(self.dev()?.open_terminal(size)?);
                Ok(())
            }
            MountStep::Shm { size_bytes } => self.dev()?.mount_shm(*size_bytes),
            MountStep::Mqueue => self.dev()?.mount_mqueue(),
            MountStep::Bind {
                source,
                target,
                create,
            } => self.bind(*source, target, *create),
            MountStep::Tmpfs { .. } => self.mount_tmpfs(step),
            MountStep::WorkingDirectory { path } => self.make_working_directory(path),
            MountStep::ReadOnly { target } => mask::make_read_only(&self.root, target),
            MountStep::Mask { target } => self.masks.mask(&self.root, target),
            MountStep::ReadOnlyRoot => {
                let read_only = MountAttributes::default().read_only();
                set_attributes(self.root.as_fd(), read_only, Reach::Mount)
                    .at(InitStep::ReadOnlyRoot, "")
            }
        }
    }

    fn dev(&mut self) -> Result<&mut Dev, InitFailure> {
        let missing = || InitFailure::refusal(InitStep::Mount, "/dev is not there yet");
        self.dev.as_mut().ok_or_else(missing)
    }

    /// A real directory of the image at `/name`, made if missing: through a link in its place
    /// we would mount, or make nodes, wherever the image likes (CVE-2026-41579).
    fn real_directory(&self, name: &str) -> Result<OwnedFd, InitFailure> {
        real_directory_of_image(&self.root, name)
    }

    fn mount_proc(&mut self) -> Result<(), InitFailure> {
        let target = self.real_directory("proc")?;
        let mount = new_filesystem("proc", &[], bare()).at(InitStep::Mount, "/proc")?;
        attach(mount.as_fd(), target.as_fd()).at(InitStep::Mount, "/proc")?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let sysctl = rustix::fs::openat(&mount, "sys", flags, Mode::empty())
            .at(InitStep::Mount, "/proc/sys")?;
        self.sysctl = Some(sysctl);
        self.proc = Some(mount);
        Ok(())
    }

    fn mount_sysfs(&mut self, read_only: bool) -> Result<(), InitFailure> {
        let target = self.real_directory("sys")?;
        let mut attributes = bare();
        if read_only {
            attributes |= MountAttrFlags::MOUNT_ATTR_RDONLY;
        }
        let mount = new_filesystem("sysfs", &[], attributes).at(InitStep::Mount, "/sys")?;
        attach(mount.as_fd(), target.as_fd()).at(InitStep::Mount, "/sys")
    }

    /// The private handle on the container's `/proc/sys`.
    pub(crate) fn sysctl_directory(&self) -> Result<&OwnedFd, InitFailure> {
        let missing = || InitFailure::refusal(InitStep::Sysctl, "/proc/sys is not there");
        self.sysctl.as_ref().ok_or_else(missing)
    }

    fn bind(
        &mut self,
        source: usize,
        target: &str,
        create: CreateTarget,
    ) -> Result<(), InitFailure> {
        let source = &self.sources[source];
        let missing = match create {
            CreateTarget::Directory => Missing::Directory,
            CreateTarget::File => Missing::File,
            CreateTarget::LikeSource => {
                let mode = rustix::fs::fstat(source)
                    .at(InitStep::Mount, target)?
                    .st_mode;
                if FileType::from_raw_mode(mode) == FileType::Directory {
                    Missing::Directory
                } else {
                    Missing::File
                }
            }
        };
        let place = self.target(target, missing)?;
        attach(source.as_fd(), place.as_fd()).at(InitStep::Mount, target)
    }

    /// The descriptor to mount on, made if missing and never in a procfs.
    fn target(&self, target: &str, missing: Missing) -> Result<OwnedFd, InitFailure> {
        let place = self
            .root
            .ensure(target, missing)
            .at(InitStep::CreateTarget, target)?;
        let kind = rustix::fs::fstatfs(&place).at(InitStep::CreateTarget, target)?;
        let in_proc = u64::try_from(kind.f_type) == Ok(PROC_SUPER_MAGIC);
        // By its name it may be one of the files that may be covered; by a link of the image
        // it never may.
        if in_proc && (covers_proc(target) || !target.starts_with("/proc/")) {
            return Err(InitFailure::refusal(InitStep::RefuseTarget, target));
        }
        Ok(place)
    }

    fn mount_tmpfs(&self, step: &MountStep) -> Result<(), InitFailure> {
        let MountStep::Tmpfs {
            target,
            size_bytes,
            mode,
            owner,
            flags,
        } = step
        else {
            return Ok(());
        };
        let place = self.target(target, Missing::Directory)?;
        let size = size_bytes.map(|bytes| bytes.to_string());
        let (mode, uid) = (format!("{mode:o}"), owner.0.to_string());
        let gid = owner.1.to_string();
        let mut parameters = vec![
            Parameter::Text("mode", &mode),
            Parameter::Text("uid", &uid),
            Parameter::Text("gid", &gid),
        ];
        parameters.extend(size.as_deref().map(|size| Parameter::Text("size", size)));
        let attributes = attribute_flags_of(*flags);
        let mount = new_filesystem("tmpfs", &parameters, attributes).at(InitStep::Mount, target)?;
        attach(mount.as_fd(), place.as_fd()).at(InitStep::Mount, target)
    }

    fn make_working_directory(&self, path: &str) -> Result<(), InitFailure> {
        match self.root.ensure(path, Missing::Directory) {
            Err(error) if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => {
                Err(InitFailure::refusal(InitStep::RefuseWorkingDirectory, path))
            }
            result => result.map(drop).at(InitStep::WorkingDirectory, path),
        }
    }
}

/// From `linux/magic.h`.
const PROC_SUPER_MAGIC: u64 = 0x9fa0;

/// See [`Assembly::real_directory`].
pub(super) fn real_directory_of_image(root: &Root, name: &str) -> Result<OwnedFd, InitFailure> {
    root.real_directory(name).map_err(|error| {
        let path = format!("/{name}");
        if error.raw_os_error() == Some(Errno::NOTDIR.raw_os_error()) {
            return InitFailure::refusal(InitStep::RefuseDirectory, path);
        }
        InitFailure {
            step: InitStep::CreateTarget,
            object: path,
            source: Some(error),
        }
    })
}

fn open_source(source: &BindSource) -> Result<OwnedFd, InitFailure> {
    let name = source.path.to_string_lossy();
    let reach = if source.recursive {
        Reach::Tree
    } else {
        Reach::Mount
    };
    let clone = clone_of_host_path(&source.path, reach).at(InitStep::OpenSource, &name)?;
    let attributes = attributes_of(source.flags);
    if source.propagation == Propagation::Rprivate {
        let private = attributes.propagation(MountPropagation::Private);
        set_attributes(clone.as_fd(), private, Reach::Tree).at(InitStep::OpenSource, &name)?;
        return Ok(clone);
    }
    if source.flags != MountFlags::default() {
        set_attributes(clone.as_fd(), attributes, Reach::Tree).at(InitStep::OpenSource, &name)?;
    }
    set_propagation(clone.as_fd(), source.propagation).at(InitStep::OpenSource, &name)?;
    Ok(clone)
}

fn open_directory_root(path: &std::path::Path) -> Result<OwnedFd, InitFailure> {
    let name = path.to_string_lossy();
    let clone = clone_of_host_path(path, Reach::Tree).at(InitStep::MountRootfs, &name)?;
    let private = MountAttributes::default().propagation(MountPropagation::Private);
    set_attributes(clone.as_fd(), private, Reach::Tree).at(InitStep::MountRootfs, &name)?;
    Ok(clone)
}

fn open_overlay_root(plan: &OverlayPlan) -> Result<OwnedFd, InitFailure> {
    mount_overlay(plan).map_err(|error| {
        let words = if error.message.is_empty() {
            String::new()
        } else {
            format!(" (the kernel says: {})", error.message)
        };
        let layers = plan.lowers.len();
        InitFailure {
            step: InitStep::MountRootfs,
            object: format!("overlay of {layers} layers{words}"),
            source: Some(error.source),
        }
    })
}
