//! Deleted files: OCI's `.wh.` names in archives, overlayfs' marks on disk.
//!
//! Sources: OCI image-spec `layer.md`, "Whiteouts"; Linux `Documentation/filesystems/
//! overlayfs.rst`, "whiteouts and opaque directories".

use std::os::fd::BorrowedFd;

use rustix::fs::{FileType, Mode, OFlags, Stat, XattrFlags, fgetxattr, fsetxattr, mknodat, openat};
use rustix::io::Errno;

/// What a name in an archive says about layers below.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum WhiteoutName<'a> {
    /// Nothing: an ordinary name.
    Ordinary,
    /// This name does not exist any more.
    Deleted(&'a [u8]),
    /// Nothing of the directory's former content exists any more.
    Opaque,
    /// It begins like a whiteout and is none.
    Malformed,
}

const PREFIX: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
pub(crate) const OPAQUE_XATTR: &str = "trusted.overlay.opaque";

/// Reads the last component of a name.
pub(super) fn parse_leaf(leaf: &[u8]) -> WhiteoutName<'_> {
    if leaf == OPAQUE {
        return WhiteoutName::Opaque;
    }
    match leaf.strip_prefix(PREFIX) {
        None => WhiteoutName::Ordinary,
        // Names that begin with the prefix twice are aufs' own affairs.
        Some(b"" | b"." | b"..") => WhiteoutName::Malformed,
        Some(name) if name.starts_with(PREFIX) => WhiteoutName::Malformed,
        Some(name) => WhiteoutName::Deleted(name),
    }
}

/// Whether a component could be mistaken for a whiteout, which no directory may.
pub(super) fn looks_like_whiteout(component: &[u8]) -> bool {
    component.starts_with(PREFIX)
}

/// Makes overlayfs hide `leaf` of the layers below.
pub(super) fn make_whiteout(directory: BorrowedFd<'_>, leaf: &[u8]) -> Result<(), Errno> {
    mknodat(directory, leaf, FileType::CharacterDevice, Mode::empty(), 0)
}

/// Makes overlayfs hide everything below `directory` of the layers below.
pub(super) fn make_opaque(directory: BorrowedFd<'_>) -> Result<(), Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = openat(directory, ".", flags, Mode::empty())?;
    fsetxattr(directory, OPAQUE_XATTR, b"y", XattrFlags::empty())
}

/// Whether a directory hides everything below it of the layers below.
pub(crate) fn is_opaque(directory: BorrowedFd<'_>) -> bool {
    let mut value = [0u8; 2];
    fgetxattr(directory, OPAQUE_XATTR, value.as_mut_slice()) == Ok(1) && value[0] == b'y'
}

/// Whether a file is overlayfs' whiteout.
pub(crate) fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_component_after_the_prefix_is_deleted() {
        use WhiteoutName::{Deleted, Malformed, Opaque, Ordinary};
        let cases: [(&[u8], WhiteoutName<'_>); 11] = [
            (b"wh.x", Ordinary),
            (b".wh", Ordinary),
            (b".whx", Ordinary),
            (b".wh.x", Deleted(b"x")),
            (b".wh....", Deleted(b"...")),
            (b".wh.", Malformed),
            (b".wh..", Malformed),
            (b".wh...", Malformed),
            (b".wh..wh..opq", Opaque),
            (b".wh..wh.plnk", Malformed),
            (b".wh..wh.", Malformed),
        ];
        for (leaf, want) in cases {
            assert_eq!(parse_leaf(leaf), want, "{}", leaf.escape_ascii());
        }
    }
}
