//! Layers to look into: an overlay of them that cannot be written to, mounted where the caller
//! sees it and whoever shares his mount namespace.

use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rocker_sys::mount::{MountAttributes, Reach, set_attributes};
use rocker_types::{Diagnose, ErrorKind};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatxAttributes, StatxFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags};

use super::filesystem::{FilesystemError, attach, clone_of_host_path};
use super::overlay::{OverlayPlan, mount_overlay_on};

/// Layers cannot be mounted.
#[derive(Debug, thiserror::Error)]
#[error("cannot mount {layers} layers on {target:?}{}", words(message))]
pub struct MountLayersError {
    /// How many.
    pub layers: usize,
    /// Where.
    pub target: PathBuf,
    /// The kernel's own words, if it had some.
    pub message: String,
    source: io::Error,
}

fn words(message: &str) -> String {
    match message {
        "" => String::new(),
        message => format!(" (the kernel says: {message})"),
    }
}

impl Diagnose for MountLayersError {
    fn kind(&self) -> ErrorKind {
        match Errno::from_io_error(&self.source) {
            Some(Errno::PERM | Errno::ACCESS) => ErrorKind::Denied,
            Some(Errno::NODEV) => ErrorKind::Unsupported,
            _ => ErrorKind::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        let text = match Errno::from_io_error(&self.source)? {
            Errno::PERM | Errno::ACCESS => {
                "mounting wants CAP_SYS_ADMIN, which containers and sandboxes often lack"
            }
            Errno::NODEV => "load the overlay module (modprobe overlay)",
            Errno::INVAL => "is rocker's data directory itself on overlayfs? move it with --root",
            _ => return None,
        };
        Some(text.to_owned())
    }
}

/// Mounts layers, topmost first, on an empty directory: read only, without setuid programs and
/// device nodes. For a process with one thread, whose working directory moves meanwhile.
///
/// # Errors
///
/// [`MountLayersError`]; nothing is mounted then.
pub fn mount_layers(lowers: &[PathBuf], target: &Path) -> Result<(), MountLayersError> {
    let mounted = match lowers {
        [] => mount_nothing(target).map_err(|source| FilesystemError {
            source,
            message: String::new(),
        }),
        lowers => mount_overlay(lowers, target),
    };
    mounted.map_err(|FilesystemError { source, message }| MountLayersError {
        layers: lowers.len(),
        target: target.to_owned(),
        message,
        source,
    })
}

const FLAGS: MountFlags = MountFlags::RDONLY
    .union(MountFlags::NOSUID)
    .union(MountFlags::NODEV);

fn mount_overlay(lowers: &[PathBuf], target: &Path) -> Result<(), FilesystemError> {
    let mut lowers = lowers.to_vec();
    if lowers.len() == 1 {
        // an overlay that nobody writes to has two layers at least, and this directory is empty
        lowers.push(target.to_owned());
    }
    let plan = OverlayPlan {
        lowers,
        writable: None,
    };
    let silent = |source: Errno| FilesystemError {
        source: source.into(),
        message: String::new(),
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let here = rustix::fs::open(".", flags, Mode::empty()).map_err(silent)?;
    let mounted = mount_overlay_on(&plan, target, FLAGS);
    rustix::process::fchdir(&here).map_err(silent)?;
    mounted
}

/// An image without layers is an empty directory that stays empty.
fn mount_nothing(target: &Path) -> io::Result<()> {
    let clone = clone_of_host_path(target, Reach::Mount)?;
    let attributes = MountAttributes::default().read_only().no_suid().no_dev();
    set_attributes(clone.as_fd(), attributes, Reach::Mount)?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let place = rustix::fs::open(target, flags, Mode::empty())?;
    attach(clone.as_fd(), place.as_fd())
}

/// What becomes of a mount that somebody uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unmount {
    /// It stays, and `EBUSY` says so.
    UnlessUsed,
    /// Nobody finds it any more; who uses it keeps it.
    Always,
}

/// Takes the topmost mount on `target` away.
///
/// # Errors
///
/// `EINVAL` where nothing is mounted, `EBUSY`; see umount2(2).
pub fn unmount(target: &Path, how: Unmount) -> io::Result<()> {
    let flags = match how {
        Unmount::UnlessUsed => UnmountFlags::NOFOLLOW,
        Unmount::Always => UnmountFlags::NOFOLLOW | UnmountFlags::DETACH,
    };
    Ok(rustix::mount::unmount(target, flags)?)
}

/// Whether something is mounted on `path` in this process's mount namespace; nothing is on one
/// that does not exist.
///
/// # Errors
///
/// What statx(2) says.
pub fn is_mount_point(path: &Path) -> io::Result<bool> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    match rustix::fs::statx(CWD, path, flags, StatxFlags::empty()) {
        Ok(found) => Ok(found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_seen_together_and_cannot_be_written_to() {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).unwrap();
        let private = rustix::mount::MountPropagationFlags::PRIVATE
            | rustix::mount::MountPropagationFlags::REC;
        rustix::mount::mount_change("/", private).unwrap();
        let here = rustix::process::getcwd(Vec::new()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        for name in ["a", "b", "none", "one", "both"] {
            fs_err::create_dir(path(name)).unwrap();
        }
        fs_err::write(path("a/low"), "low").unwrap();
        fs_err::write(path("a/same"), "low").unwrap();
        fs_err::write(path("b/same"), "high").unwrap();

        mount_layers(&[], &path("none")).unwrap();
        mount_layers(&[path("a")], &path("one")).unwrap();
        mount_layers(&[path("b"), path("a")], &path("both")).unwrap();

        assert_eq!(fs_err::read_to_string(path("one/same")).unwrap(), "low");
        assert_eq!(fs_err::read_to_string(path("both/same")).unwrap(), "high");
        assert_eq!(fs_err::read_to_string(path("both/low")).unwrap(), "low");
        assert_eq!(fs_err::read_dir(path("none")).unwrap().count(), 0);
        assert_eq!(rustix::process::getcwd(Vec::new()).unwrap(), here);
        for name in ["none", "one", "both"] {
            let refused = fs_err::write(path(name).join("new"), "").unwrap_err();
            assert_eq!(
                refused.kind(),
                io::ErrorKind::ReadOnlyFilesystem,
                "{refused}"
            );
            assert!(is_mount_point(&path(name)).unwrap());
            let used = fs_err::File::open(path(name)).unwrap();
            let busy = unmount(&path(name), Unmount::UnlessUsed).unwrap_err();
            assert_eq!(busy.kind(), io::ErrorKind::ResourceBusy, "{busy}");
            drop(used);
            unmount(&path(name), Unmount::UnlessUsed).unwrap();
            assert!(!is_mount_point(&path(name)).unwrap());
        }
        assert!(!is_mount_point(&path("missing")).unwrap());
    }

    #[test]
    fn a_layer_that_is_not_there_is_named_with_the_place() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("missing");

        let error = mount_layers(&[missing], dir.path()).unwrap_err();

        assert!(
            error.to_string().contains("cannot mount 1 layers on"),
            "{error}"
        );
        assert!(!is_mount_point(dir.path()).unwrap());
    }
}
