//! Mounts as the flags that ask for them.

use rocker_types::{Access, Propagation, TmpfsSpec, VolumeSpec};

/// What `-v` said beyond what it means by itself.
pub(super) fn options(spec: &VolumeSpec) -> Vec<&'static str> {
    let propagation = match spec.propagation {
        Propagation::Rprivate => None,
        Propagation::Private => Some("private"),
        Propagation::Slave => Some("slave"),
        Propagation::Rslave => Some("rslave"),
        Propagation::Shared => Some("shared"),
        Propagation::Rshared => Some("rshared"),
    };
    [
        (spec.access == Access::ReadOnly).then_some("ro"),
        spec.no_copy.then_some("nocopy"),
        (!spec.recursive).then_some("bind"),
        propagation,
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// What `--tmpfs` said beyond what it means by itself.
pub(super) fn tmpfs_options(spec: &TmpfsSpec) -> String {
    let flag = |set: bool, word: &str| set.then(|| word.to_owned());
    let words = [
        flag(spec.access == Access::ReadOnly, "ro"),
        flag(!spec.no_exec, "exec"),
        flag(!spec.no_suid, "suid"),
        flag(!spec.no_dev, "dev"),
        spec.size.map(|size| format!("size={}", size.bytes())),
        (spec.mode != 0o1777).then(|| format!("mode={:o}", spec.mode)),
        (spec.uid != 0).then(|| format!("uid={}", spec.uid)),
        (spec.gid != 0).then(|| format!("gid={}", spec.gid)),
    ];
    words.into_iter().flatten().collect::<Vec<_>>().join(",")
}
