//! What takes rights away, after everything else is mounted.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rocker_sys::mount::{MountAttributes, Reach, set_attributes};
use rustix::fs::FileType;
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use super::apply::bare;
use super::filesystem::{attach, clone_of, new_filesystem};
use super::root::Root;
use crate::process::{At, InitFailure, InitStep};

/// Stands for the number in a masked path: every CPU's directory.
const EACH: &str = "cpu*";

/// What masks are made of.
#[derive(Debug, Default)]
pub(super) struct Masks {
    /// The verified null node that hides files.
    pub(super) null: Option<OwnedFd>,
    /// The first mount of the empty, read-only tmpfs that hides directories.
    empty: Option<OwnedFd>,
}

/// What `path` names, `None` if this kernel has no such thing.
fn find(root: &Root, path: &str, step: InitStep) -> Result<Option<OwnedFd>, InitFailure> {
    let absent = [Errno::NOENT, Errno::NOTDIR].map(|errno| Some(errno.raw_os_error()));
    match root.resolve_without_links(path) {
        Err(error) if absent.contains(&error.raw_os_error()) => Ok(None),
        result => result.map(Some).at(step, path),
    }
}

/// Mounts what lies at `target` over itself, read-only, with everything below it.
pub(super) fn make_read_only(root: &Root, target: &str) -> Result<(), InitFailure> {
    let Some(place) = find(root, target, InitStep::ProtectPath)? else {
        return Ok(());
    };
    protect(&place).at(InitStep::ProtectPath, target)
}

fn protect(place: &OwnedFd) -> io::Result<()> {
    let clone = clone_of(place.as_fd(), Reach::Tree)?;
    let attributes = MountAttributes::default().read_only();
    set_attributes(clone.as_fd(), attributes, Reach::Tree)?;
    attach(clone.as_fd(), place.as_fd())
}

impl Masks {
    /// Hides `target`, or each directory that it stands for.
    pub(super) fn mask(&mut self, root: &Root, target: &str) -> Result<(), InitFailure> {
        if !target.contains(EACH) {
            return self.mask_one(root, target).map(drop);
        }
        for cpu in 0_u32.. {
            let path = target.replacen(EACH, &format!("cpu{cpu}"), 1);
            if !self.mask_one(root, &path)? {
                break;
            }
        }
        Ok(())
    }

    /// Whether there was anything to hide.
    fn mask_one(&mut self, root: &Root, target: &str) -> Result<bool, InitFailure> {
        let Some(place) = find(root, target, InitStep::MaskPath)? else {
            return Ok(false);
        };
        self.cover(&place).at(InitStep::MaskPath, target)?;
        Ok(true)
    }

    fn cover(&mut self, place: &OwnedFd) -> io::Result<()> {
        let mode = rustix::fs::fstat(place)?.st_mode;
        if FileType::from_raw_mode(mode) != FileType::Directory {
            let null = self.null.as_ref().ok_or(Errno::NODEV)?;
            return attach(clone_of(null.as_fd(), Reach::Mount)?.as_fd(), place.as_fd());
        }
        if let Some(empty) = &self.empty {
            return attach(
                clone_of(empty.as_fd(), Reach::Mount)?.as_fd(),
                place.as_fd(),
            );
        }
        let attributes = bare() | MountAttrFlags::MOUNT_ATTR_RDONLY;
        let empty = new_filesystem("tmpfs", &[], attributes)?;
        attach(empty.as_fd(), place.as_fd())?;
        self.empty = Some(empty);
        Ok(())
    }
}
