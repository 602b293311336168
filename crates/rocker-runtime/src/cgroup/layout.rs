//! Which cgroup hierarchies this host has, and which controller lives in which.

use std::path::{Path, PathBuf};

use super::control;
use super::error::LayoutError;

/// A resource controller that rocker uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Controller {
    /// Shares and bandwidth of CPU time.
    Cpu,
    /// CPU time used (v1 only; v2 counts it everywhere).
    Cpuacct,
    /// Which CPUs and memory nodes.
    Cpuset,
    /// Memory and swap.
    Memory,
    /// Which device nodes may be opened (v1; v2 uses a BPF program and no controller).
    Devices,
    /// Stopping all processes at once (v1; every v2 cgroup can do it).
    Freezer,
    /// Block devices; called `io` by v2.
    Blkio,
    /// Number of processes and threads.
    Pids,
}

impl Controller {
    const ALL: [Self; 8] = [
        Self::Cpu,
        Self::Cpuacct,
        Self::Cpuset,
        Self::Memory,
        Self::Devices,
        Self::Freezer,
        Self::Blkio,
        Self::Pids,
    ];

    /// The name in v1 mount options.
    #[must_use]
    pub const fn v1_name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cpuacct => "cpuacct",
            Self::Cpuset => "cpuset",
            Self::Memory => "memory",
            Self::Devices => "devices",
            Self::Freezer => "freezer",
            Self::Blkio => "blkio",
            Self::Pids => "pids",
        }
    }

    /// The name in v2's `cgroup.controllers`.
    #[must_use]
    pub const fn v2_name(self) -> &'static str {
        match self {
            Self::Blkio => "io",
            Self::Cpu
            | Self::Cpuacct
            | Self::Cpuset
            | Self::Memory
            | Self::Devices
            | Self::Freezer
            | Self::Pids => self.v1_name(),
        }
    }
}

/// Which generation of cgroups a host offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayoutKind {
    /// Version 1 hierarchies only.
    V1,
    /// One version 2 tree.
    V2,
    /// Version 1 hierarchies with controllers, and a version 2 tree beside them.
    Hybrid,
}

/// One v1 hierarchy with controllers. Named ones without (`name=systemd`) are not listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct V1Hierarchy {
    pub(super) mount: PathBuf,
    pub(super) controllers: Vec<Controller>,
}

/// The v2 tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unified {
    pub(super) mount: PathBuf,
    /// Whether this process is a member of the cgroup that is mounted there, and not of one
    /// below: so it is inside most containers, where the mount is the root of the container's
    /// cgroup namespace.
    pub(super) holds_caller: bool,
}

/// Where a controller lives.
#[derive(Clone, Copy, Debug)]
pub(super) enum Home<'a> {
    V1(&'a V1Hierarchy),
    V2(&'a Unified),
}

impl Home<'_> {
    pub(super) fn mount(&self) -> &Path {
        match self {
            Self::V1(v1) => &v1.mount,
            Self::V2(unified) => &unified.mount,
        }
    }
}

/// The cgroup hierarchies of a host, as this process sees them mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgroupLayout {
    pub(super) unified: Option<Unified>,
    pub(super) v1: Vec<V1Hierarchy>,
}

impl CgroupLayout {
    /// Reads the layout of this host, as the calling process sees it.
    ///
    /// # Errors
    ///
    /// [`LayoutError`] when /proc cannot be read or no usable hierarchy is mounted.
    pub fn detect() -> Result<Self, LayoutError> {
        let read = |path: &str| {
            control::read(Path::new(path)).map_err(|source| LayoutError::Read {
                path: PathBuf::from(path),
                source: source.into(),
            })
        };
        Self::parse(&read("/proc/self/mountinfo")?, &read("/proc/self/cgroup")?)
    }

    /// Reads a layout from the texts of `/proc/self/mountinfo` and `/proc/self/cgroup`.
    ///
    /// A hierarchy that is mounted several times counts once, where it is below
    /// `/sys/fs/cgroup`, else where it comes first. A tree that is mounted read-only is
    /// listed: that it cannot be used is an error of use, with a path.
    ///
    /// # Errors
    ///
    /// [`LayoutError::None`] when no hierarchy is mounted that could find a container's
    /// processes.
    pub fn parse(mountinfo: &str, self_cgroup: &str) -> Result<Self, LayoutError> {
        let mut mounts: Vec<Mount> = Vec::new();
        for mount in mountinfo.lines().filter_map(Mount::parse) {
            // A later mount on the same directory hides the earlier one.
            mounts.retain(|hidden| hidden.point != mount.point);
            mounts.push(mount);
        }
        // Stable: among equals the first one stays first.
        mounts.sort_by_key(|mount| !mount.point.starts_with("/sys/fs/cgroup"));

        let unified = mounts.iter().find(|m| m.is_v2).map(|m| Unified {
            mount: m.point.clone(),
            holds_caller: v2_path(self_cgroup) == Some(m.root.as_str()),
        });
        let mut v1: Vec<V1Hierarchy> = Vec::new();
        for mount in mounts.iter().filter(|m| !m.is_v2) {
            let known = |c: &Controller| v1.iter().any(|h| h.controllers.contains(c));
            let controllers = mount.controllers();
            if !controllers.is_empty() && !controllers.iter().any(known) {
                v1.push(V1Hierarchy {
                    mount: mount.point.clone(),
                    controllers,
                });
            }
        }
        if unified.is_none() && v1.is_empty() {
            return Err(LayoutError::None);
        }
        Ok(Self { unified, v1 })
    }

    /// Which generation of cgroups this is.
    #[must_use]
    pub const fn kind(&self) -> LayoutKind {
        match (self.unified.is_some(), self.v1.is_empty()) {
            (false, _) => LayoutKind::V1,
            (true, true) => LayoutKind::V2,
            (true, false) => LayoutKind::Hybrid,
        }
    }

    /// The controllers that v1 hierarchies hold. What the v2 tree offers stands in its
    /// `cgroup.controllers`, see [`Self::unified_mount`].
    pub fn v1_controllers(&self) -> impl Iterator<Item = Controller> {
        self.v1.iter().flat_map(|h| h.controllers.iter().copied())
    }

    /// The names of all controllers that can be used: those of v1 in its spelling, and what the
    /// v2 tree offers at its root, which may include some that rocker has no use for.
    ///
    /// # Errors
    ///
    /// [`LayoutError::Read`] when the v2 tree does not tell.
    pub fn available_controllers(&self) -> Result<Vec<String>, LayoutError> {
        let mut names: Vec<String> = self
            .v1_controllers()
            .map(|controller| controller.v1_name().to_owned())
            .collect();
        if let Some(mount) = self.unified_mount() {
            let path = mount.join("cgroup.controllers");
            let text = control::read(&path).map_err(|source| LayoutError::Read {
                path,
                source: source.into(),
            })?;
            names.extend(text.split_whitespace().map(str::to_owned));
        }
        Ok(names)
    }

    /// Where the v2 tree is mounted, if it is.
    #[must_use]
    pub fn unified_mount(&self) -> Option<&Path> {
        self.unified.as_ref().map(|u| u.mount.as_path())
    }

    /// Where `controller` lives. A controller is in one hierarchy only, and v1 mounts say
    /// which they hold; the rest may be in the v2 tree.
    pub(super) fn home(&self, controller: Controller) -> Option<Home<'_>> {
        let in_v1 = self.v1.iter().find(|h| h.controllers.contains(&controller));
        in_v1
            .map(Home::V1)
            .or_else(|| self.unified.as_ref().map(Home::V2))
    }

    /// The hierarchy that finds all processes of a container.
    pub(super) fn tracking(&self) -> Option<Home<'_>> {
        let v1 = |controller| self.v1.iter().find(|h| h.controllers.contains(&controller));
        let unified = self.unified.as_ref().map(Home::V2);
        unified
            .or_else(|| v1(Controller::Freezer).map(Home::V1))
            .or_else(|| v1(Controller::Pids).map(Home::V1))
            .or_else(|| self.v1.first().map(Home::V1))
    }
}

/// One cgroup line of mountinfo.
struct Mount {
    root: String,
    point: PathBuf,
    is_v2: bool,
    super_options: String,
}

impl Mount {
    /// Source: proc(5), `/proc/pid/mountinfo`: the fields before ` - ` are id, parent, device,
    /// root, mount point and options, the ones behind it type, source and super options.
    fn parse(line: &str) -> Option<Self> {
        let (place, file_system) = line.split_once(" - ")?;
        let mut place = place.split(' ').skip(3);
        let (root, point) = (place.next()?, place.next()?);
        let mut file_system = file_system.split(' ');
        let kind = file_system.next()?;
        if kind != "cgroup" && kind != "cgroup2" {
            return None;
        }
        Some(Self {
            root: unescape(root),
            point: PathBuf::from(unescape(point)),
            is_v2: kind == "cgroup2",
            super_options: file_system.nth(1)?.to_owned(),
        })
    }

    fn controllers(&self) -> Vec<Controller> {
        let named = |name: &str| Controller::ALL.into_iter().find(|c| c.v1_name() == name);
        self.super_options.split(',').filter_map(named).collect()
    }
}

/// The v2 line of `/proc/self/cgroup` is `0::PATH`.
fn v2_path(self_cgroup: &str) -> Option<&str> {
    self_cgroup
        .lines()
        .find_map(|line| line.strip_prefix("0::"))
}

/// Blank, tab, newline and backslash are written as three octal digits in mountinfo.
fn unescape(text: &str) -> String {
    ["\\040", "\\011", "\\012", "\\134"]
        .into_iter()
        .zip([" ", "\t", "\n", "\\"])
        .fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
33 31 0:30 / /sys/fs/cgroup/cpuacct rw,relatime - cgroup cgroup rw,cpuacct
34 31 0:31 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
36 31 0:33 / /sys/fs/cgroup/devices rw,relatime - cgroup cgroup rw,devices
37 31 0:34 / /sys/fs/cgroup/freezer rw,relatime - cgroup cgroup rw,freezer
38 31 0:35 / /sys/fs/cgroup/blkio rw,relatime - cgroup cgroup rw,blkio
39 31 0:36 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";
    const HYBRID_SELF: &str = "\
9:name=systemd:/
8:pids:/
4:memory:/process_api/7f82c9a63c1f9352055d7d4ac6d860df
1:cpu:/
0::/
";
    const V2_SYSTEMD: &str = "\
24 61 0:22 / /sys rw,nosuid,nodev,noexec,relatime shared:2 - sysfs sysfs rw
30 24 0:26 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot
61 1 259:2 / / rw,relatime shared:1 - ext4 /dev/nvme0n1p2 rw
";
    const V2_SYSTEMD_SELF: &str = "0::/user.slice/user-1000.slice/session-3.scope\n";
    const V1_SYSTEMD: &str = "\
25 17 0:22 / /sys/fs/cgroup ro,nosuid,nodev,noexec shared:8 - tmpfs tmpfs ro,mode=755
26 25 0:23 / /sys/fs/cgroup/systemd rw,nosuid,nodev,noexec,relatime shared:9 - cgroup cgroup rw,xattr,name=systemd
29 25 0:26 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid,nodev,noexec,relatime shared:11 - cgroup cgroup rw,cpu,cpuacct
30 25 0:27 / /sys/fs/cgroup/net_cls,net_prio rw,nosuid,nodev,noexec,relatime shared:12 - cgroup cgroup rw,net_cls,net_prio
31 25 0:28 / /sys/fs/cgroup/memory rw,nosuid,nodev,noexec,relatime shared:13 - cgroup cgroup rw,memory
32 25 0:29 / /sys/fs/cgroup/freezer rw,nosuid,nodev,noexec,relatime shared:14 - cgroup cgroup rw,freezer
33 25 0:30 / /sys/fs/cgroup/pids rw,nosuid,nodev,noexec,relatime shared:15 - cgroup cgroup rw,pids
34 25 0:31 / /sys/fs/cgroup/devices rw,nosuid,nodev,noexec,relatime shared:16 - cgroup cgroup rw,devices
";
    const V1_SYSTEMD_SELF: &str =
        "4:memory:/user.slice\n1:name=systemd:/user.slice/session-1.scope\n";
    /// docker on a v2 host: the mount's root is the root of the private cgroup namespace.
    const V2_CONTAINER: &str = "\
1208 1207 0:103 / /sys rw,nosuid,nodev,noexec,relatime - sysfs sysfs rw
1209 1208 0:26 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime - cgroup2 cgroup rw,nsdelegate
";

    fn parse(mountinfo: &str, own: &str) -> CgroupLayout {
        CgroupLayout::parse(mountinfo, own).unwrap()
    }

    fn home_mount(layout: &CgroupLayout, controller: Controller) -> &Path {
        match layout.home(controller).unwrap() {
            Home::V1(hierarchy) => &hierarchy.mount,
            Home::V2(unified) => &unified.mount,
        }
    }

    #[test]
    fn hybrid_finds_each_controller_in_its_v1_mount_and_tracks_on_v2() {
        let layout = parse(HYBRID, HYBRID_SELF);

        assert_eq!(layout.kind(), LayoutKind::Hybrid);
        assert_eq!(layout.v1.len(), 8, "name=systemd holds no controller");
        for (controller, mount) in [
            (Controller::Memory, "/sys/fs/cgroup/memory"),
            (Controller::Blkio, "/sys/fs/cgroup/blkio"),
            (Controller::Pids, "/sys/fs/cgroup/pids"),
        ] {
            assert_eq!(home_mount(&layout, controller), Path::new(mount));
        }
        let Some(Home::V2(unified)) = layout.tracking() else {
            panic!("{layout:?}")
        };
        assert_eq!(unified.mount, Path::new("/sys/fs/cgroup/unified"));
    }

    #[test]
    fn pure_v2_has_one_home_for_everything() {
        let layout = parse(V2_SYSTEMD, V2_SYSTEMD_SELF);

        assert_eq!(layout.kind(), LayoutKind::V2);
        for controller in Controller::ALL {
            assert_eq!(home_mount(&layout, controller), Path::new("/sys/fs/cgroup"));
        }
        assert!(!layout.unified.unwrap().holds_caller);
    }

    #[test]
    fn pure_v1_tracks_in_the_freezer_and_shares_cpu_with_cpuacct() {
        let layout = parse(V1_SYSTEMD, V1_SYSTEMD_SELF);

        assert_eq!(layout.kind(), LayoutKind::V1);
        let cpu = Path::new("/sys/fs/cgroup/cpu,cpuacct");
        assert_eq!(home_mount(&layout, Controller::Cpu), cpu);
        assert_eq!(home_mount(&layout, Controller::Cpuacct), cpu);
        let Some(Home::V1(tracking)) = layout.tracking() else {
            panic!("{layout:?}")
        };
        assert_eq!(tracking.mount, Path::new("/sys/fs/cgroup/freezer"));
        assert!(layout.home(Controller::Cpuset).is_none());
    }

    #[test]
    fn in_a_container_the_caller_sits_in_the_mounted_cgroup_itself() {
        assert!(parse(V2_CONTAINER, "0::/\n").unified.unwrap().holds_caller);
        assert!(
            !parse(V2_CONTAINER, "0::/init\n")
                .unified
                .unwrap()
                .holds_caller
        );
    }

    #[test]
    fn of_several_mounts_the_one_below_sys_fs_cgroup_counts() {
        let bind = "90 1 0:26 / /srv/chroot/sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        let layout = parse(&format!("{bind}{V2_SYSTEMD}"), V2_SYSTEMD_SELF);
        assert_eq!(layout.unified_mount(), Some(Path::new("/sys/fs/cgroup")));

        let layout = parse(bind, V2_SYSTEMD_SELF);
        let elsewhere = Path::new("/srv/chroot/sys/fs/cgroup");
        assert_eq!(layout.unified_mount(), Some(elsewhere));
    }

    #[test]
    fn a_mount_on_top_of_another_hides_it() {
        let below = "50 1 0:26 /../.. /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        let layout = parse(&format!("{below}{V2_CONTAINER}"), "0::/\n");
        assert!(layout.unified.unwrap().holds_caller);
    }

    #[test]
    fn escapes_are_undone_and_noise_is_skipped() {
        let text = "garbage\n1 2 3\n5 1 0:9 / /odd\\040place rw - cgroup2 none rw\n";
        let layout = parse(text, "");
        assert_eq!(layout.unified_mount(), Some(Path::new("/odd place")));
        assert!(matches!(
            CgroupLayout::parse("5 1 0:9 / / rw - ext4 none rw\n", ""),
            Err(LayoutError::None)
        ));
    }
}
