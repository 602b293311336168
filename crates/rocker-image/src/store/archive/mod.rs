//! A tar reader that is strict where readers disagree, and a writer that none misreads.
//!
//! Layers are read by docker, containerd and podman (Go's archive/tar), by GNU tar and by
//! us; an archive that means different things to them is an attack or a broken tool, so it
//! is refused. Understood are v7, ustar, pax, GNU long names, star's prefix and every sparse
//! format (old GNU, pax 0.0, 0.1 and 1.0). Nothing here touches the file system, and no
//! length from the archive is trusted with memory.
//!
//! Sources: POSIX.1-2017 `pax`, "Interchange Format"; the GNU tar manual, appendices
//! "Standard Format" and "Storing Sparse Files".

mod entry;
mod error;
mod extensions;
mod header;
mod kind;
mod number;
mod pax;
mod reader;
mod sparse;
mod writer;

pub(crate) use entry::{Entry, EntryKind, Mtime, Xattr};
pub use error::ArchiveError;
pub(crate) use reader::ArchiveReader;
pub(crate) use sparse::Extent;
pub(crate) use writer::ArchiveWriter;
