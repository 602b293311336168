//! The container's /dev: always a tmpfs of our own, filled through its descriptor.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{FileType, Gid, Mode, OFlags, Uid};
use rustix::mount::MountAttrFlags;
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;

use rocker_sys::mount::Reach;

use super::apply::{bare, real_directory_of_image};
use super::filesystem::{Parameter, attach, clone_of, new_filesystem};
use super::root::{Root, new_directory, real_directory};
use crate::cgroup::DeviceKind;
use crate::plan::components;
use crate::process::{At, InitFailure, InitStep};
use crate::spec::{DeviceNode, WindowSize};

/// Links of /dev and what they point at.
const LINKS: [(&str, &str); 6] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
    ("core", "/proc/kcore"),
];

/// Numbers of /dev/null.
const NULL: (u32, u32) = (1, 3);

/// The tmpfs on /dev.
#[derive(Debug)]
pub(super) struct Dev {
    mount: OwnedFd,
    pts: Option<OwnedFd>,
}

/// Both sides of a terminal from the container's own devpts.
#[derive(Debug)]
pub(crate) struct Terminal {
    /// For the host.
    pub(crate) master: OwnedFd,
    /// For the program.
    pub(crate) slave: OwnedFd,
}

impl Dev {
    /// Mounts the tmpfs and makes nodes and links in it. The umask is 0 by now.
    pub(super) fn mount(root: &Root, nodes: &[DeviceNode]) -> Result<Self, InitFailure> {
        let target = real_directory_of_image(root, "dev")?;
        let parameters = [
            Parameter::Text("mode", "755"),
            Parameter::Text("size", "65536k"),
        ];
        let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID;
        let mount = new_filesystem("tmpfs", &parameters, attributes).at(InitStep::Mount, "/dev")?;
        attach(mount.as_fd(), target.as_fd()).at(InitStep::Mount, "/dev")?;
        let dev = Self { mount, pts: None };
        nodes.iter().try_for_each(|node| dev.make_node(node))?;
        for (name, target) in LINKS {
            rustix::fs::symlinkat(target, &dev.mount, name).at(InitStep::CreateDevice, name)?;
        }
        Ok(dev)
    }

    fn make_node(&self, node: &DeviceNode) -> Result<(), InitFailure> {
        let parts = components(&node.path);
        let Some((name, directories)) = parts.get(1..).and_then(<[_]>::split_last) else {
            return Err(InitFailure::refusal(InitStep::CreateDevice, &node.path));
        };
        let mut parent = None::<OwnedFd>;
        for directory in directories {
            let here = parent.as_ref().map_or(self.mount.as_fd(), AsFd::as_fd);
            let next = real_directory(here, directory).at(InitStep::CreateDevice, &node.path)?;
            parent = Some(next);
        }
        let here = parent.as_ref().map_or(self.mount.as_fd(), AsFd::as_fd);
        let kind = match node.kind {
            DeviceKind::Char => FileType::CharacterDevice,
            DeviceKind::Block => FileType::BlockDevice,
        };
        let (mode, device) = (
            Mode::from_raw_mode(node.mode),
            rustix::fs::makedev(node.major, node.minor),
        );
        rustix::fs::mknodat(here, *name, kind, mode, device)
            .at(InitStep::CreateDevice, &node.path)?;
        if node.owner == (0, 0) {
            return Ok(());
        }
        let owner = (Uid::from_raw(node.owner.0), Gid::from_raw(node.owner.1));
        let no_follow = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::chownat(here, *name, Some(owner.0), Some(owner.1), no_follow)
            .at(InitStep::CreateDevice, &node.path)
    }

    /// Our own null node, looked at and not trusted by name (CVE-2025-31133).
    pub(super) fn verified_null(&self) -> Result<OwnedFd, InitFailure> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let null = rustix::fs::openat(&self.mount, "null", flags, Mode::empty())
            .at(InitStep::CreateDevice, "/dev/null")?;
        let stat = rustix::fs::fstat(&null).at(InitStep::CreateDevice, "/dev/null")?;
        let numbers = (
            rustix::fs::major(stat.st_rdev),
            rustix::fs::minor(stat.st_rdev),
        );
        let is_device = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice;
        if is_device && numbers == NULL {
            return Ok(null);
        }
        Err(InitFailure::refusal(
            InitStep::CreateDevice,
            "/dev/null is another device",
        ))
    }

    fn place(&self, name: &str, path: &str) -> Result<OwnedFd, InitFailure> {
        new_directory(self.mount.as_fd(), name).at(InitStep::Mount, path)
    }

    /// A devpts of the container's own: its terminals are not the host's.
    pub(super) fn mount_pts(&mut self) -> Result<(), InitFailure> {
        let parameters = [
            Parameter::Flag("newinstance"),
            Parameter::Text("ptmxmode", "0666"),
            Parameter::Text("mode", "0620"),
            Parameter::Text("gid", "5"),
        ];
        let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        let path = "/dev/pts";
        let mount = new_filesystem("devpts", &parameters, attributes).at(InitStep::Mount, path)?;
        attach(mount.as_fd(), self.place("pts", path)?.as_fd()).at(InitStep::Mount, path)?;
        self.pts = Some(mount);
        Ok(())
    }

    pub(super) fn mount_shm(&mut self, size_bytes: u64) -> Result<(), InitFailure> {
        let size = size_bytes.to_string();
        let parameters = [
            Parameter::Text("mode", "1777"),
            Parameter::Text("size", &size),
        ];
        let path = "/dev/shm";
        let mount = new_filesystem("tmpfs", &parameters, bare()).at(InitStep::Mount, path)?;
        attach(mount.as_fd(), self.place("shm", path)?.as_fd()).at(InitStep::Mount, path)
    }

    pub(super) fn mount_mqueue(&mut self) -> Result<(), InitFailure> {
        let path = "/dev/mqueue";
        let mount = new_filesystem("mqueue", &[], bare()).at(InitStep::Mount, path)?;
        attach(mount.as_fd(), self.place("mqueue", path)?.as_fd()).at(InitStep::Mount, path)
    }

    /// Opens a terminal and puts it on /dev/console. Both sides come from the devpts that was
    /// just mounted, by descriptor: no name in the image is asked (CVE-2025-52565).
    pub(super) fn open_terminal(&mut self, size: WindowSize) -> Result<Terminal, InitFailure> {
        let pts = self
            .pts
            .as_ref()
            .ok_or_else(|| InitFailure::refusal(InitStep::Terminal, "no /dev/pts"))?;
        let terminal = Terminal::open(pts.as_fd(), size)?;
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(0o600);
        let place = rustix::fs::openat(&self.mount, "console", flags, mode)
            .at(InitStep::Terminal, "/dev/console")?;
        let mount = clone_of(terminal.slave.as_fd(), Reach::Mount)
            .at(InitStep::Terminal, "/dev/console")?;
        attach(mount.as_fd(), place.as_fd()).at(InitStep::Terminal, "/dev/console")?;
        Ok(terminal)
    }
}

impl Terminal {
    /// A new pair from the devpts that `pts` is the root of.
    pub(crate) fn open(
        pts: std::os::fd::BorrowedFd<'_>,
        size: WindowSize,
    ) -> Result<Self, InitFailure> {
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let master =
            rustix::fs::openat(pts, "ptmx", flags, Mode::empty()).at(InitStep::Terminal, "ptmx")?;
        rustix::pty::unlockpt(&master).at(InitStep::Terminal, "unlocking")?;
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let slave = rustix::pty::ioctl_tiocgptpeer(&master, flags)
            .at(InitStep::Terminal, "opening the other side")?;
        let size = Winsize {
            ws_row: size.rows,
            ws_col: size.columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        rustix::termios::tcsetwinsize(&master, size).at(InitStep::Terminal, "window size")?;
        Ok(Self { master, slave })
    }
}
