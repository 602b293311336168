//! The mounts of a container, as data.

use std::path::{Path, PathBuf};

use rocker_types::Propagation;

use super::error::PlanError;
use super::path::{clean, components, covers_proc, has_control_bytes};
use crate::spec::{ContainerSpec, CreateTarget, DeviceNode, MountFlags, MountSpec, RootfsSpec};

/// One step towards the container's mount tree. Targets are clean absolute paths in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum MountStep {
    /// procfs of the container's own pid namespace on /proc.
    Proc,
    /// sysfs on /sys.
    Sysfs { read_only: bool },
    /// The container's own cgroups on /sys/fs/cgroup.
    Cgroups {
        mounts: Vec<CgroupMount>,
        read_only: bool,
    },
    /// A tmpfs with these nodes, and links, on /dev.
    Dev { nodes: Vec<DeviceNode> },
    /// A devpts of its own on /dev/pts.
    Devpts,
    /// The terminal on /dev/console.
    Console,
    /// A tmpfs on /dev/shm.
    Shm { size_bytes: u64 },
    /// The IPC namespace's message queues on /dev/mqueue.
    Mqueue,
    /// A file or directory of the host: `source` counts in the list of opened sources.
    Bind {
        source: usize,
        target: String,
        create: CreateTarget,
    },
    /// A new tmpfs.
    Tmpfs {
        target: String,
        size_bytes: Option<u64>,
        mode: u32,
        owner: (u32, u32),
        flags: MountFlags,
    },
    /// Makes the working directory if it is missing: the last moment when `/` can be written.
    WorkingDirectory { path: String },
    /// What lies at `target` cannot be written.
    ReadOnly { target: String },
    /// What lies at `target` reads as empty.
    Mask { target: String },
    /// `/` itself cannot be written; mounts below it are not affected.
    ReadOnlyRoot,
}

/// A host path that is cloned before the mount namespace is cut off from the host's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BindSource {
    pub(crate) path: PathBuf,
    pub(crate) recursive: bool,
    pub(crate) propagation: Propagation,
    pub(crate) flags: MountFlags,
}

/// One hierarchy in which the container has a cgroup of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CgroupMount {
    /// The container's directory on the host.
    pub(crate) directory: PathBuf,
    /// `None`: it is all there is and lies on /sys/fs/cgroup itself (pure v2). Else the name
    /// of the directory below.
    pub(crate) name: Option<String>,
}

/// Decides every mount, in order, and which host paths they need.
pub(crate) fn plan_mounts(
    spec: &ContainerSpec,
    cgroups: Vec<CgroupMount>,
) -> Result<(Vec<MountStep>, Vec<BindSource>), PlanError> {
    check_rootfs(&spec.rootfs)?;
    let mut steps = system_mounts(spec, cgroups)?;
    let mut sources = Vec::new();
    let mut mounts: Vec<&MountSpec> = spec.mounts.iter().collect();
    // Stable: of two mounts at the same depth the later one wins.
    mounts.sort_by_key(|mount| components(target_of(mount)).len());
    for mount in mounts {
        let target = checked_target(target_of(mount))?;
        steps.push(plan_mount(mount, target, &mut sources)?);
    }
    steps.push(MountStep::WorkingDirectory {
        path: clean(&spec.process.cwd),
    });
    let security = &spec.security;
    let read_only = security.read_only_paths.iter();
    steps.extend(read_only.map(|path| MountStep::ReadOnly {
        target: clean(path),
    }));
    let masked = security.masked_paths.iter();
    steps.extend(masked.map(|path| MountStep::Mask {
        target: clean(path),
    }));
    if is_read_only(&spec.rootfs) {
        steps.push(MountStep::ReadOnlyRoot);
    }
    Ok((steps, sources))
}

fn target_of(mount: &MountSpec) -> &str {
    match mount {
        MountSpec::Bind { target, .. } | MountSpec::Tmpfs { target, .. } => target,
    }
}

fn is_read_only(rootfs: &RootfsSpec) -> bool {
    match rootfs {
        RootfsSpec::Overlay { read_only, .. } | RootfsSpec::Directory { read_only, .. } => {
            *read_only
        }
    }
}

fn check_rootfs(rootfs: &RootfsSpec) -> Result<(), PlanError> {
    match rootfs {
        RootfsSpec::Overlay {
            lowers,
            upper,
            work,
            ..
        } => {
            if lowers.is_empty() {
                return Err(PlanError::NoLayers);
            }
            let paths = lowers.iter().chain([upper, work]);
            paths
                .into_iter()
                .try_for_each(|path| absolute("layer", path))
        }
        RootfsSpec::Directory { path, .. } => absolute("root directory", path),
    }
}

fn absolute(what: &'static str, path: &Path) -> Result<(), PlanError> {
    if path.is_absolute() {
        return Ok(());
    }
    Err(PlanError::RelativePath {
        what,
        path: path.display().to_string(),
    })
}

fn system_mounts(
    spec: &ContainerSpec,
    cgroups: Vec<CgroupMount>,
) -> Result<Vec<MountStep>, PlanError> {
    let privileged = spec.security.privileged;
    for device in &spec.security.devices {
        let in_dev = components(&device.path).len() > 1 && clean(&device.path).starts_with("/dev/");
        if !in_dev || has_control_bytes(&device.path) {
            let path = device.path.clone();
            return Err(PlanError::DevicePath { path });
        }
    }
    let user_has = |path: &str| spec.mounts.iter().any(|m| clean(target_of(m)) == path);
    let mut steps = vec![
        MountStep::Proc,
        MountStep::Sysfs {
            read_only: !privileged,
        },
        MountStep::Cgroups {
            mounts: cgroups,
            read_only: !privileged,
        },
        MountStep::Dev {
            nodes: crate::devices::all_nodes(&spec.security.devices),
        },
        MountStep::Devpts,
    ];
    if !user_has("/dev/shm") {
        steps.push(MountStep::Shm {
            size_bytes: spec.shm_bytes,
        });
    }
    if !user_has("/dev/mqueue") {
        steps.push(MountStep::Mqueue);
    }
    if spec.process.terminal.is_some() {
        steps.push(MountStep::Console);
    }
    Ok(steps)
}

fn checked_target(target: &str) -> Result<String, PlanError> {
    let refuse = |why| PlanError::MountTarget {
        target: target.to_owned(),
        why,
    };
    let clean = clean(target);
    if clean == "/" {
        return Err(refuse("it is the root directory"));
    }
    if covers_proc(&clean) {
        return Err(refuse("nothing may cover /proc"));
    }
    if has_control_bytes(&clean) {
        return Err(refuse("it holds control characters"));
    }
    Ok(clean)
}

fn plan_mount(
    mount: &MountSpec,
    target: String,
    sources: &mut Vec<BindSource>,
) -> Result<MountStep, PlanError> {
    match mount {
        MountSpec::Bind {
            source,
            recursive,
            propagation,
            flags,
            create,
            ..
        } => {
            absolute("mount source", source)?;
            sources.push(BindSource {
                path: source.clone(),
                recursive: *recursive,
                propagation: *propagation,
                flags: *flags,
            });
            Ok(MountStep::Bind {
                source: sources.len() - 1,
                target,
                create: *create,
            })
        }
        MountSpec::Tmpfs {
            size_bytes,
            mode,
            owner,
            flags,
            ..
        } => Ok(MountStep::Tmpfs {
            target,
            size_bytes: *size_bytes,
            mode: mode.unwrap_or(0o1777),
            owner: *owner,
            flags: *flags,
        }),
    }
}
