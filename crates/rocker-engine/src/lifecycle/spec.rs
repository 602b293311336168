//! From a definition to what the runtime is to make. Decides nothing a user could have said.

use rocker_runtime::cgroup::{CgroupName, DeviceRules, Limits};
use rocker_runtime::seccomp::SeccompPolicy;
use rocker_runtime::{
    CgroupSpec, ContainerSpec, CreateTarget, MountFlags, MountSpec, NetworkNamespace, ProcessSpec,
    RlimitSpec, RootfsSpec, SecuritySpec, WindowSize,
};
use rocker_types::{
    Access, CapabilitySet, ContainerId, Layout, Propagation, Ulimit, UlimitKind, VolumeSource,
};

use super::files;
use crate::EngineError;
use crate::definition::{Definition, MountDefinition, NetworkMode};

/// Size of `/dev/shm`, docker's.
const SHM_BYTES: u64 = 64 << 20;

/// Everything the runtime needs.
pub(super) fn container(
    layout: &Layout,
    id: &ContainerId,
    definition: &Definition,
    oom_score_adj: Option<i32>,
) -> Result<ContainerSpec, EngineError> {
    Ok(ContainerSpec {
        id: id.clone(),
        rootfs: rootfs(layout, id, definition),
        mounts: mounts(layout, id, definition),
        process: ProcessSpec {
            oom_score_adj,
            ..process(definition)
        },
        hostname: definition.hostname.clone(),
        network: match definition.network {
            NetworkMode::Host => NetworkNamespace::Host,
            NetworkMode::Bridge | NetworkMode::None => NetworkNamespace::New,
        },
        cgroup: CgroupSpec {
            name: CgroupName::new(id),
            limits: limits(definition),
            devices: devices(definition),
        },
        security: security(definition)?,
        sysctls: sysctls(definition),
        shm_bytes: SHM_BYTES,
    })
}

fn rootfs(layout: &Layout, id: &ContainerId, definition: &Definition) -> RootfsSpec {
    let container = layout.container(id);
    // definitions list layers base first; overlayfs wants the topmost first
    let mut lowers: Vec<_> = definition
        .layers
        .iter()
        .rev()
        .map(|layer| layout.layer(layer))
        .collect();
    if lowers.is_empty() {
        lowers.push(container.join(files::NO_LAYERS));
    }
    RootfsSpec::Overlay {
        lowers,
        upper: container.join("upper"),
        work: container.join("work"),
        volatile: definition.auto_remove,
        read_only: definition.read_only,
    }
}

/// The user's mounts and volumes, tmpfs, and the files that name things, unless the user
/// mounts something of his own there.
fn mounts(layout: &Layout, id: &ContainerId, definition: &Definition) -> Vec<MountSpec> {
    let mut mounts: Vec<MountSpec> = definition
        .mounts
        .iter()
        .map(|mount| bind(layout, mount))
        .collect();
    mounts.extend(definition.tmpfs.iter().map(|tmpfs| MountSpec::Tmpfs {
        target: tmpfs.target.clone(),
        size_bytes: tmpfs.size.map(rocker_types::ByteSize::bytes),
        mode: Some(tmpfs.mode),
        owner: (tmpfs.uid, tmpfs.gid),
        flags: MountFlags {
            read_only: tmpfs.access == Access::ReadOnly,
            no_suid: tmpfs.no_suid,
            no_dev: tmpfs.no_dev,
            no_exec: tmpfs.no_exec,
        },
    }));
    for name in ["hostname", "hosts", "resolv.conf"] {
        let target = format!("/etc/{name}");
        if !definition
            .mounts
            .iter()
            .any(|mount| mount.spec.target == target)
        {
            mounts.push(MountSpec::Bind {
                source: files::injected(layout, id, name),
                target,
                recursive: false,
                propagation: Propagation::Rprivate,
                flags: MountFlags::default(),
                create: CreateTarget::File,
            });
        }
    }
    mounts
}

fn bind(layout: &Layout, mount: &MountDefinition) -> MountSpec {
    let spec = &mount.spec;
    let source = match &spec.source {
        VolumeSource::Bind(path) => path.clone(),
        VolumeSource::Named(name) => layout.volume(name).join(crate::VOLUME_DATA),
        // resolved when the container was created
        VolumeSource::Anonymous => std::path::PathBuf::new(),
    };
    MountSpec::Bind {
        source,
        target: spec.target.clone(),
        recursive: spec.recursive,
        propagation: spec.propagation,
        flags: MountFlags {
            read_only: spec.access == Access::ReadOnly,
            ..MountFlags::default()
        },
        create: CreateTarget::LikeSource,
    }
}

fn process(definition: &Definition) -> ProcessSpec {
    ProcessSpec {
        argv: definition.argv(),
        env: definition.env.clone(),
        cwd: definition.working_dir.clone(),
        user: definition.user.clone(),
        extra_groups: Vec::new(),
        capabilities: definition.capabilities,
        ambient_capabilities: ambient(definition),
        no_new_privileges: false,
        rlimits: rlimits(definition),
        oom_score_adj: None,
        terminal: definition.tty.then(WindowSize::default),
        init: definition.init,
        umask: 0o022,
    }
}

/// What a user other than root keeps: the capabilities that were named, as in podman.
pub(crate) fn ambient(definition: &Definition) -> CapabilitySet {
    let named = definition
        .cap_add
        .iter()
        .filter_map(|name| name.parse().ok());
    named
        .fold(CapabilitySet::EMPTY, CapabilitySet::with)
        .intersection(definition.capabilities)
}

/// The user's limits, and defaults that fit most programs: few files for `select`, many for
/// who asks, no core dumps into somebody's image.
pub(crate) fn rlimits(definition: &Definition) -> Vec<RlimitSpec> {
    let defaults = [
        Ulimit {
            kind: UlimitKind::Nofile,
            soft: 1024,
            hard: 524_288,
        },
        Ulimit {
            kind: UlimitKind::Core,
            soft: 0,
            hard: 0,
        },
        Ulimit {
            kind: UlimitKind::Memlock,
            soft: 8 << 20,
            hard: 8 << 20,
        },
    ];
    let asked = &definition.resources.ulimits;
    let unasked = defaults
        .into_iter()
        .filter(|default| !asked.iter().any(|limit| limit.kind == default.kind));
    unasked
        .map(RlimitSpec::Default)
        .chain(asked.iter().copied().map(RlimitSpec::Exactly))
        .collect()
}

fn limits(definition: &Definition) -> Limits {
    let resources = &definition.resources;
    Limits {
        memory_bytes: resources.memory_bytes,
        cpu: resources.cpu,
        pids: resources.pids,
        ..Limits::default()
    }
}

fn devices(definition: &Definition) -> DeviceRules {
    if definition.privileged {
        DeviceRules::Unrestricted
    } else {
        DeviceRules::default()
    }
}

/// Which system calls the container's programs may make.
pub(crate) fn seccomp(definition: &Definition) -> SeccompPolicy {
    if definition.privileged {
        SeccompPolicy::Unconfined
    } else {
        SeccompPolicy::Default
    }
}

fn security(definition: &Definition) -> Result<SecuritySpec, EngineError> {
    if !definition.privileged {
        return Ok(SecuritySpec::confined(seccomp(definition)));
    }
    let devices =
        rocker_runtime::host_devices().map_err(EngineError::file("list the devices of", "/dev"))?;
    Ok(SecuritySpec::privileged(seccomp(definition), devices))
}

/// Ping without `CAP_NET_RAW` and low ports for everybody, inside the container's own network
/// namespace; with the host's these are the host's business.
fn sysctls(definition: &Definition) -> Vec<(String, String)> {
    match definition.network {
        NetworkMode::Host => Vec::new(),
        NetworkMode::Bridge | NetworkMode::None => vec![
            ("net.ipv4.ping_group_range".into(), "0 2147483647".into()),
            ("net.ipv4.ip_unprivileged_port_start".into(), "0".into()),
        ],
    }
}
