//! What a container sees of cgroups: its own, whatever the host's layout is.
//!
//! These are clones of the host's mounts at the container's own directories, not new cgroup
//! mounts: a new one takes the kernel's global cgroup lock and can wait for cgroups that are
//! just being removed.

use std::os::fd::{AsFd, OwnedFd};

use rocker_sys::mount::{MountAttributes, MountPropagation, Reach, set_attributes};

use super::apply::bare;
use super::filesystem::{attach, clone_of_host_path, new_filesystem};
use super::root::{Root, new_directory};
use crate::plan::CgroupMount;
use crate::process::{At, InitFailure, InitStep};

const TARGET: &str = "/sys/fs/cgroup";

/// Mounts the container's cgroups on /sys/fs/cgroup.
pub(super) fn mount(
    root: &Root,
    mounts: &[CgroupMount],
    read_only: bool,
) -> Result<(), InitFailure> {
    if mounts.is_empty() {
        return Ok(());
    }
    let place = root
        .resolve_without_links(TARGET)
        .at(InitStep::Mount, TARGET)?;
    if let [CgroupMount { name: None, .. }] = mounts {
        let mount = open(&mounts[0], read_only)?;
        return attach(mount.as_fd(), place.as_fd()).at(InitStep::Mount, TARGET);
    }
    let table = new_filesystem("tmpfs", &[], bare()).at(InitStep::Mount, TARGET)?;
    attach(table.as_fd(), place.as_fd()).at(InitStep::Mount, TARGET)?;
    for hierarchy in mounts {
        let Some(name) = &hierarchy.name else {
            continue;
        };
        let mount = open(hierarchy, read_only)?;
        let place = new_directory(table.as_fd(), name).at(InitStep::Mount, TARGET)?;
        attach(mount.as_fd(), place.as_fd()).at(InitStep::Mount, TARGET)?;
    }
    let read_only = MountAttributes::default().read_only();
    set_attributes(table.as_fd(), read_only, Reach::Mount).at(InitStep::Mount, TARGET)
}

fn open(mount: &CgroupMount, read_only: bool) -> Result<OwnedFd, InitFailure> {
    let name = mount.directory.to_string_lossy();
    let clone =
        clone_of_host_path(&mount.directory, Reach::Mount).at(InitStep::OpenSource, &name)?;
    let mut attributes = MountAttributes::default()
        .no_suid()
        .no_dev()
        .no_exec()
        .propagation(MountPropagation::Private);
    if read_only {
        attributes = attributes.read_only();
    }
    set_attributes(clone.as_fd(), attributes, Reach::Mount).at(InitStep::OpenSource, &name)?;
    Ok(clone)
}
