//! Leaving the caller's cgroup.

use std::path::Path;

use super::CgroupLayout;

/// Where systemd keeps track of services and sessions on hosts with version 1.
const SYSTEMD_V1: &str = "/sys/fs/cgroup/systemd";

/// Moves this process to the root of the trees by which a service manager finds and kills what
/// a session or service left behind: the unified one, and systemd's own on version 1.
///
/// A container's monitor does this, or the end of the ssh session or of the CI job that
/// started a container would be the container's end. Limits of version 1 hierarchies stay.
/// Where it cannot be done (in a container without its own cgroup tree) the process stays.
pub fn leave_callers_cgroup(layout: &CgroupLayout) {
    let Ok(own) = fs_err::read_to_string("/proc/self/cgroup") else {
        return;
    };
    for line in own.lines().filter_map(Membership::parse) {
        let mount = match line.controllers {
            "" => layout.unified_mount(),
            "name=systemd" => Some(Path::new(SYSTEMD_V1)),
            _ => None,
        };
        if let Some(mount) = mount.filter(|_| line.path != "/") {
            let moved = fs_err::write(mount.join("cgroup.procs"), "0");
            tracing::debug!(?moved, cgroup = line.path, "left the caller's cgroup");
        }
    }
}

/// A line of `/proc/PID/cgroup`: `ID:CONTROLLERS:PATH`.
#[derive(Debug, PartialEq, Eq)]
struct Membership<'a> {
    controllers: &'a str,
    path: &'a str,
}

impl<'a> Membership<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        Some(Self { controllers, path })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memberships_are_read_as_the_kernel_writes_them() {
        let parse = |line| Membership::parse(line).map(|m| (m.controllers, m.path));
        assert_eq!(parse("0::/user.slice/a:b"), Some(("", "/user.slice/a:b")));
        assert_eq!(parse("9:name=systemd:/"), Some(("name=systemd", "/")));
        assert_eq!(parse("1:cpu,cpuacct:/x"), Some(("cpu,cpuacct", "/x")));
        assert_eq!(parse("nonsense"), None);
    }
}
