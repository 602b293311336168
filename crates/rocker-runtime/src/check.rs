//! Whether this host can run containers: `rocker system check`.

use std::io;

use rocker_types::CapabilitySet;
use rustix::mount::{FsOpenFlags, fsconfig_set_string, fsopen};

use crate::cgroup::{CgroupLayout, LayoutKind};
use crate::kernel;

/// How a probe ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeStatus {
    /// Works.
    Ok,
    /// Works with a restriction.
    Warn,
    /// Containers will not run.
    Fail,
}

/// One line of `rocker system check`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeLine {
    /// What was probed.
    pub what: &'static str,
    /// How it ended.
    pub status: ProbeStatus,
    /// What was found.
    pub detail: String,
    /// What to do about it, unless all is well.
    pub cure: Option<String>,
}

impl ProbeLine {
    fn ok(what: &'static str, detail: impl Into<String>) -> Self {
        Self {
            what,
            status: ProbeStatus::Ok,
            detail: detail.into(),
            cure: None,
        }
    }

    fn warn(what: &'static str, detail: impl Into<String>, cure: &str) -> Self {
        Self {
            status: ProbeStatus::Warn,
            cure: Some(cure.to_owned()),
            ..Self::ok(what, detail)
        }
    }

    fn fail(what: &'static str, detail: impl Into<String>, cure: &str) -> Self {
        Self {
            status: ProbeStatus::Fail,
            ..Self::warn(what, detail, cure)
        }
    }
}

/// Probes kernel, capabilities, namespaces, cgroups, overlay, seccomp and more. Touches
/// nothing that outlives the call.
#[must_use]
pub fn probe() -> Vec<ProbeLine> {
    let mut lines = vec![kernel_version(), capabilities()];
    lines.extend(namespaces());
    lines.extend([cgroups(), overlay(), seccomp(), keyrings(), binary()]);
    lines
}

/// mount_setattr(2), without which nothing can be made read-only with what lies below it.
const OLDEST_KERNEL: (u32, u32) = (5, 12);

fn kernel_version() -> ProbeLine {
    let release = rustix::system::uname()
        .release()
        .to_string_lossy()
        .into_owned();
    let text = format!("Linux {release}");
    match kernel::parse_release(&release) {
        Some(version) if version >= OLDEST_KERNEL => ProbeLine::ok("kernel", text),
        Some(_) => ProbeLine::fail("kernel", text, "rocker needs Linux 5.12 or newer"),
        None => ProbeLine::warn("kernel", text, "the version is not understood"),
    }
}

/// What a container's start needs of its caller.
const NEEDED: &[&str] = &[
    "SYS_ADMIN",
    "NET_ADMIN",
    "SETUID",
    "SETGID",
    "SETPCAP",
    "MKNOD",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "SYS_CHROOT",
    "KILL",
];

fn capabilities() -> ProbeLine {
    let held = match rustix::thread::capabilities(None) {
        Ok(sets) => CapabilitySet::from_bits(sets.effective.bits()),
        Err(errno) => {
            return ProbeLine::fail(
                "capabilities",
                io::Error::from(errno).to_string(),
                "run as root",
            );
        }
    };
    let missing: Vec<&str> = NEEDED
        .iter()
        .copied()
        .filter(|name| !held.has(name))
        .collect();
    if !missing.is_empty() {
        let text = format!("missing: {}", missing.join(" "));
        return ProbeLine::fail("capabilities", text, "run as root");
    }
    if held.has("SYS_RESOURCE") {
        return ProbeLine::ok("capabilities", "all that is needed");
    }
    ProbeLine::warn(
        "capabilities",
        "without SYS_RESOURCE hard limits cannot be raised",
        "limits above the inherited ones need a host that grants SYS_RESOURCE",
    )
}

/// Kinds of namespaces and the kernel that brought them.
const NAMESPACES: [(&str, &str); 6] = [
    ("cgroup", "4.6, CONFIG_CGROUPS"),
    ("ipc", "2.6.19, CONFIG_IPC_NS"),
    ("mnt", "2.4.19"),
    ("net", "2.6.29, CONFIG_NET_NS"),
    ("pid", "2.6.24, CONFIG_PID_NS"),
    ("uts", "2.6.19, CONFIG_UTS_NS"),
];

fn namespaces() -> Option<ProbeLine> {
    let present = |name: &str| rustix::fs::readlink(format!("/proc/self/ns/{name}"), Vec::new());
    let missing: Vec<String> = NAMESPACES
        .iter()
        .filter(|(name, _)| present(name).is_err())
        .map(|(name, since)| format!("{name} (since {since})"))
        .collect();
    if missing.is_empty() {
        let names = NAMESPACES.map(|(name, _)| name).join(" ");
        return Some(ProbeLine::ok("namespaces", names));
    }
    let text = format!("missing: {}", missing.join(", "));
    Some(ProbeLine::fail(
        "namespaces",
        text,
        "use a kernel built with these namespaces",
    ))
}

fn cgroups() -> ProbeLine {
    match CgroupLayout::detect() {
        Ok(layout) => {
            let kind = match layout.kind() {
                LayoutKind::V1 => "version 1",
                LayoutKind::V2 => "version 2",
                LayoutKind::Hybrid => "versions 1 and 2 (hybrid)",
            };
            let v1: Vec<&str> = layout.v1_controllers().map(|c| c.v1_name()).collect();
            let detail = if v1.is_empty() {
                kind.to_owned()
            } else {
                format!("{kind}; version 1: {}", v1.join(" "))
            };
            ProbeLine::ok("cgroups", detail)
        }
        Err(error) => ProbeLine::fail(
            "cgroups",
            error.to_string(),
            "mount cgroup2 on /sys/fs/cgroup",
        ),
    }
}

/// Opens a context and tries one parameter on it; nothing is mounted.
fn overlay() -> ProbeLine {
    let context = match fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC) {
        Ok(context) => context,
        Err(errno) => {
            let text = io::Error::from(errno).to_string();
            return ProbeLine::fail(
                "overlay",
                text,
                "load the overlay module (modprobe overlay)",
            );
        }
    };
    if fsconfig_set_string(&context, "lowerdir+", "/").is_ok() {
        return ProbeLine::ok("overlay", "up to 500 layers");
    }
    ProbeLine::warn(
        "overlay",
        "layers are named in one page of options: about 500 by descriptor",
        "Linux 6.7 or newer has no such limit",
    )
}

fn seccomp() -> ProbeLine {
    let path = "/proc/sys/kernel/seccomp/actions_avail";
    match fs_err::read_to_string(path) {
        Ok(actions) if actions.contains("errno") => ProbeLine::ok("seccomp", actions.trim()),
        Ok(_) | Err(_) => ProbeLine::fail(
            "seccomp",
            "filters are not available",
            "use a kernel with CONFIG_SECCOMP_FILTER, or --security-opt seccomp=unconfined",
        ),
    }
}

fn keyrings() -> ProbeLine {
    if std::path::Path::new("/proc/keys").exists() {
        return ProbeLine::ok("keyrings", "a session keyring per container");
    }
    ProbeLine::ok("keyrings", "not in this kernel; nothing to separate")
}

fn binary() -> ProbeLine {
    match crate::executable::protected() {
        Ok(_) => ProbeLine::ok("own binary", "can be protected from containers"),
        Err(error) => ProbeLine::fail(
            "own binary",
            error.to_string(),
            "install rocker on a local file system",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_probe_that_does_not_pass_says_what_to_do() {
        for line in probe() {
            assert_eq!(
                line.cure.is_none(),
                line.status == ProbeStatus::Ok,
                "{line:?}"
            );
            assert!(!line.detail.is_empty(), "{line:?}");
        }
    }
}
