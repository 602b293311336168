use std::io;
use std::path::Path;
use std::process::Command;

use nix::sched::{CloneFlags, unshare};
use rustix::fs::CWD;
use rustix::mount::{
    MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount,
    mount_change, move_mount, open_tree, unmount,
};

use super::Host;

/// Moves this thread into a network namespace with only loopback and one address of its own,
/// and into a mount namespace from which nothing propagates.
pub(super) fn enter() -> io::Result<()> {
    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS)?;
    mount_change(
        "/",
        MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
    )?;
    show_own_network_in_sysfs()?;
    // A bridge without ports: every kernel that runs containers has bridges, not every one has
    // dummy links.
    let address = format!("{}/24", Host::ADDRESS);
    for words in [
        &["link", "set", "lo", "up"][..],
        &["link", "add", "uplink0", "type", "bridge"],
        &["address", "add", &address, "dev", "uplink0"],
        // An IPv6 address of its own would come some seconds later, in the middle of a test.
        &["link", "set", "uplink0", "addrgenmode", "none"],
        &["link", "set", "uplink0", "up"],
    ] {
        let output = Command::new("ip").args(words).output()?;
        if !output.status.success() {
            return Err(io::Error::other(format!(
                "ip {words:?}: {}",
                String::from_utf8_lossy(&output.stderr)
            )));
        }
    }
    Ok(())
}

/// `/sys/class/net` shows the namespace of who mounted sysfs: mount it anew, and put the cgroup
/// trees back on top.
fn show_own_network_in_sysfs() -> io::Result<()> {
    let cgroups = open_tree(
        CWD,
        "/sys/fs/cgroup",
        OpenTreeFlags::OPEN_TREE_CLONE
            | OpenTreeFlags::OPEN_TREE_CLOEXEC
            | OpenTreeFlags::AT_RECURSIVE,
    )?;
    mount(
        "sysfs",
        "/sys",
        "sysfs",
        MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC,
        None,
    )?;
    move_mount(
        cgroups,
        "",
        CWD,
        "/sys/fs/cgroup",
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH,
    )?;
    Ok(())
}

/// Makes `directory` with a small tmpfs on it.
pub(super) fn mount_tmpfs(directory: &Path) -> io::Result<()> {
    fs_err::create_dir(directory)?;
    mount(
        "tmpfs",
        directory,
        "tmpfs",
        MountFlags::NOSUID | MountFlags::NODEV,
        Some(c"mode=0755,size=64m"),
    )?;
    Ok(())
}

/// Takes the tmpfs away; what may still hold it ends with this namespace.
pub(super) fn unmount_tmpfs(directory: &Path) {
    // Nothing can be done about a failure while a test ends, and the namespace goes anyway.
    let _ = unmount(directory, UnmountFlags::DETACH);
}
