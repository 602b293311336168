//! New file systems and clones of mounts, as detached mounts: descriptors that are put in their
//! place by [`attach`], never by path.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rocker_sys::mount::{MountAttributes, MountPropagation, Reach, set_attributes};
use rocker_types::Propagation;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
};

use crate::spec::MountFlags;

/// A parameter of a file system.
#[derive(Clone, Debug)]
pub(crate) enum Parameter<'a> {
    /// `key`
    Flag(&'static str),
    /// `key=value`
    Text(&'static str, &'a str),
}

/// A file system that could not be made, with the kernel's own words if it had some.
#[derive(Debug)]
pub(crate) struct FilesystemError {
    pub(crate) source: io::Error,
    /// Empty if the kernel said nothing.
    pub(crate) message: String,
}

impl From<FilesystemError> for io::Error {
    fn from(error: FilesystemError) -> Self {
        error.source
    }
}

/// Mounts a new file system; nobody sees it until it is attached.
pub(crate) fn new_filesystem(
    kind: &str,
    parameters: &[Parameter<'_>],
    attributes: MountAttrFlags,
) -> Result<OwnedFd, FilesystemError> {
    let silent = |source: rustix::io::Errno| FilesystemError {
        source: source.into(),
        message: String::new(),
    };
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC).map_err(silent)?;
    let configured = parameters
        .iter()
        .try_for_each(|parameter| match parameter {
            Parameter::Flag(key) => fsconfig_set_flag(&context, *key),
            Parameter::Text(key, value) => fsconfig_set_string(&context, *key, *value),
        })
        .and_then(|()| fsconfig_create(&context))
        .and_then(|()| fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes));
    configured.map_err(|source| FilesystemError {
        source: source.into(),
        message: kernel_message(context.as_fd()),
    })
}

/// What the kernel wrote about a failed context: lines like `e overlay: No changes allowed`.
fn kernel_message(context: BorrowedFd<'_>) -> String {
    let mut line = [0_u8; 512];
    let mut message = String::new();
    while let Ok(len @ 1..) = rustix::io::read(context, &mut line) {
        let text = String::from_utf8_lossy(&line[..len]);
        let text = text
            .trim()
            .trim_start_matches("e ")
            .trim_start_matches("w ");
        if !message.is_empty() {
            message.push_str("; ");
        }
        message.push_str(text);
    }
    message
}

/// Puts a detached mount on what `target` is open on.
pub(crate) fn attach(mount: BorrowedFd<'_>, target: BorrowedFd<'_>) -> io::Result<()> {
    let both_by_fd =
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(mount, "", target, "", both_by_fd).map_err(Into::into)
}

/// Clones what `fd` is open on as a mount of its own, with the mounts below it if `reach`
/// says so.
pub(crate) fn clone_of(fd: BorrowedFd<'_>, reach: Reach) -> io::Result<OwnedFd> {
    open_tree(fd, "", clone_flags(reach) | OpenTreeFlags::AT_EMPTY_PATH).map_err(Into::into)
}

/// As [`clone_of`], for a path of the host, whose links are followed.
pub(crate) fn clone_of_host_path(path: &std::path::Path, reach: Reach) -> io::Result<OwnedFd> {
    open_tree(rustix::fs::CWD, path, clone_flags(reach)).map_err(Into::into)
}

fn clone_flags(reach: Reach) -> OpenTreeFlags {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    match reach {
        Reach::Mount => flags,
        Reach::Tree => flags | OpenTreeFlags::AT_RECURSIVE,
    }
}

/// The attributes of flags that were asked for.
pub(crate) fn attributes_of(flags: MountFlags) -> MountAttributes {
    let mut attributes = MountAttributes::default();
    if flags.read_only {
        attributes = attributes.read_only();
    }
    if flags.no_suid {
        attributes = attributes.no_suid();
    }
    if flags.no_dev {
        attributes = attributes.no_dev();
    }
    if flags.no_exec {
        attributes = attributes.no_exec();
    }
    attributes
}

/// The same for a new mount.
pub(crate) fn attribute_flags_of(flags: MountFlags) -> MountAttrFlags {
    let table = [
        (flags.read_only, MountAttrFlags::MOUNT_ATTR_RDONLY),
        (flags.no_suid, MountAttrFlags::MOUNT_ATTR_NOSUID),
        (flags.no_dev, MountAttrFlags::MOUNT_ATTR_NODEV),
        (flags.no_exec, MountAttrFlags::MOUNT_ATTR_NOEXEC),
    ];
    let wanted = table.into_iter().filter(|(wanted, _)| *wanted);
    wanted.fold(MountAttrFlags::empty(), |all, (_, flag)| all | flag)
}

/// Sets a clone's propagation. A clone of a shared mount is born in the group of its source.
pub(crate) fn set_propagation(mount: BorrowedFd<'_>, propagation: Propagation) -> io::Result<()> {
    let (kind, reach) = match propagation {
        Propagation::Private => (MountPropagation::Private, Reach::Mount),
        Propagation::Rprivate => (MountPropagation::Private, Reach::Tree),
        Propagation::Slave => (MountPropagation::Slave, Reach::Mount),
        Propagation::Rslave => (MountPropagation::Slave, Reach::Tree),
        Propagation::Shared => (MountPropagation::Shared, Reach::Mount),
        Propagation::Rshared => (MountPropagation::Shared, Reach::Tree),
    };
    set_attributes(mount, MountAttributes::default().propagation(kind), reach)
}
