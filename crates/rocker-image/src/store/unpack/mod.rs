//! Entries become files below one directory, and nowhere else.
//!
//! The directory is private to us while this runs, so the only adversary is the archive.
//! Every system call gets a directory descriptor and one plain component, and follows no
//! link in its last component; what it made is changed through its own descriptor. A link
//! in the middle of a name is resolved by hand, inside the layer's root, as a chroot would.

mod content;
mod directories;
mod directory;
mod disk_use;
mod hard_link;
mod name;
mod opaque;
mod place;
mod replace;
mod unpacker;
mod whiteout;
mod xattr;

pub(crate) use hard_link::PendingLink;
pub(crate) use name::{EntryPath, join, split};
pub(crate) use place::Place;
pub(crate) use unpacker::{Unpacked, Unpacker};
pub(crate) use whiteout::{OPAQUE_XATTR, is_opaque, is_whiteout};
pub(crate) use xattr::is_kept as is_kept_xattr;
