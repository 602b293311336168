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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::{CgroupName, DeviceKind, DeviceRules, Limits};
    use crate::seccomp::SeccompPolicy;
    use crate::spec::{CgroupSpec, NetworkNamespace, ProcessSpec, SecuritySpec, WindowSize};
    use rocker_types::{CapabilitySet, ContainerId, UserSpec};

    fn spec(mounts: Vec<MountSpec>) -> ContainerSpec {
        let id = ContainerId::from_bytes([1; 32]);
        ContainerSpec {
            rootfs: RootfsSpec::Overlay {
                lowers: vec!["/layers/a".into()],
                upper: "/c/upper".into(),
                work: "/c/work".into(),
                volatile: false,
                read_only: true,
            },
            mounts,
            process: ProcessSpec {
                argv: vec!["sh".into()],
                env: Vec::new(),
                cwd: "work/dir".into(),
                user: UserSpec::default(),
                extra_groups: Vec::new(),
                capabilities: CapabilitySet::DEFAULT,
                ambient_capabilities: CapabilitySet::EMPTY,
                no_new_privileges: false,
                rlimits: Vec::new(),
                oom_score_adj: None,
                terminal: None,
                init: false,
                umask: 0o022,
            },
            hostname: None,
            network: NetworkNamespace::New,
            cgroup: CgroupSpec {
                name: CgroupName::new(&id),
                limits: Limits::default(),
                devices: DeviceRules::default(),
            },
            security: SecuritySpec::confined(SeccompPolicy::Default),
            sysctls: Vec::new(),
            shm_bytes: 1,
            id,
        }
    }

    fn bind(target: &str) -> MountSpec {
        MountSpec::Bind {
            source: "/srv/data".into(),
            target: target.into(),
            recursive: true,
            propagation: Propagation::Rprivate,
            flags: MountFlags::default(),
            create: CreateTarget::LikeSource,
        }
    }

    fn steps(spec: &ContainerSpec) -> Vec<MountStep> {
        plan_mounts(spec, Vec::new()).unwrap().0
    }

    fn position(steps: &[MountStep], wanted: impl Fn(&MountStep) -> bool) -> usize {
        steps.iter().position(wanted).unwrap()
    }

    #[test]
    fn volumes_lie_between_system_mounts_and_what_takes_rights_away() {
        let steps = steps(&spec(vec![
            bind("/data"),
            bind("/dev"),
            bind("/sys/kernel"),
        ]));

        let system = steps.iter().rposition(|step| {
            matches!(
                step,
                MountStep::Proc
                    | MountStep::Sysfs { .. }
                    | MountStep::Dev { .. }
                    | MountStep::Mqueue
            )
        });
        let is_bind = |step: &MountStep| matches!(step, MountStep::Bind { .. });
        let first = position(&steps, is_bind);
        let last = steps.iter().rposition(is_bind).unwrap();
        let cwd = position(&steps, |s| matches!(s, MountStep::WorkingDirectory { .. }));
        let read_only = position(&steps, |s| matches!(s, MountStep::ReadOnly { .. }));
        let mask = position(&steps, |s| matches!(s, MountStep::Mask { .. }));
        assert!(system.unwrap() < first, "{steps:?}");
        assert!(
            last < cwd && cwd < read_only && read_only < mask,
            "{steps:?}"
        );
        assert_eq!(steps.last(), Some(&MountStep::ReadOnlyRoot));
    }

    #[test]
    fn parents_come_before_children_and_later_ones_win() {
        let spec = spec(vec![
            bind("/a/b/c"),
            bind("/x"),
            bind("/a//b/."),
            bind("/x"),
        ]);
        let (steps, _) = plan_mounts(&spec, Vec::new()).unwrap();
        let targets: Vec<(usize, &str)> = steps
            .iter()
            .filter_map(|step| {
                if let MountStep::Bind { target, source, .. } = step {
                    Some((*source, target.as_str()))
                } else {
                    None
                }
            })
            .collect();
        assert_eq!(targets, [(0, "/x"), (1, "/x"), (2, "/a/b"), (3, "/a/b/c")]);
    }

    #[test]
    fn a_users_shm_replaces_ours_and_a_console_needs_a_terminal() {
        let has = |steps: &[MountStep], wanted: fn(&MountStep) -> bool| steps.iter().any(wanted);
        let plain = steps(&spec(Vec::new()));
        assert!(has(&plain, |s| matches!(s, MountStep::Shm { .. })));
        assert!(!has(&plain, |s| *s == MountStep::Console));
        let mut other = spec(vec![bind("/dev/shm")]);
        other.process.terminal = Some(WindowSize::default());
        let other = steps(&other);
        assert!(!has(&other, |s| matches!(s, MountStep::Shm { .. })));
        assert!(has(&other, |s| *s == MountStep::Console));
    }

    #[test]
    fn what_is_never_done_is_refused_here() {
        for target in ["/", "/proc", "/proc/sys", "/x/../proc/self", "/a\nb", ""] {
            assert!(
                plan_mounts(&spec(vec![bind(target)]), Vec::new()).is_err(),
                "{target:?}"
            );
        }
        let mut relative = spec(vec![bind("/x")]);
        if let MountSpec::Bind { source, .. } = &mut relative.mounts[0] {
            *source = "srv".into();
        }
        assert!(plan_mounts(&relative, Vec::new()).is_err());
        for path in ["/etc/x", "/dev", "/dev/../etc/x", "/dev/a\nb"] {
            let mut device = spec(Vec::new());
            device.security.devices = vec![DeviceNode {
                path: path.into(),
                kind: DeviceKind::Char,
                major: 1,
                minor: 3,
                mode: 0o666,
                owner: (0, 0),
            }];
            assert!(plan_mounts(&device, Vec::new()).is_err(), "{path:?}");
        }
        let mut empty = spec(Vec::new());
        if let RootfsSpec::Overlay { lowers, .. } = &mut empty.rootfs {
            lowers.clear();
        }
        assert_eq!(
            plan_mounts(&empty, Vec::new()).err(),
            Some(PlanError::NoLayers)
        );
    }

    #[test]
    fn a_privileged_container_has_no_masks_and_a_writable_sys() {
        let mut privileged = spec(Vec::new());
        privileged.security = SecuritySpec::privileged(SeccompPolicy::Unconfined, Vec::new());
        let steps = steps(&privileged);
        assert!(steps.contains(&MountStep::Sysfs { read_only: false }));
        let taken =
            |step: &MountStep| matches!(step, MountStep::Mask { .. } | MountStep::ReadOnly { .. });
        assert!(!steps.iter().any(taken));
    }
}
