//! Layer bytes become directories.
//!
//! A layer arrives as a stream of compressed bytes and ends as `layers/<diff-id>/`, a
//! directory that overlayfs takes as a lowerdir. In between it is hashed, inflated, hashed
//! again, parsed and written below a private staging directory, all in one pass and in
//! bounded memory; only what matched both digests is renamed to its final name.
//!
//! ```text
//!   Store::stage ─▶ Staging ─ unpack_layer ─▶ StagedLayer ─ Store::commit ─▶ layers/<diff-id>/
//!                      │                          │                          layers/<diff-id>.json
//!                      │                          │                          layers/<diff-id>.recipe
//!                      │                          │                          layers/<diff-id>.unsynced
//!                      └── dropped, or its owner died: swept, but for what a later pull can use
//! ```
//!
//! Every byte of a layer is hostile. No path of an archive ever reaches the kernel as more
//! than one component: parents are directory descriptors that were opened one component at
//! a time without following links. Nothing here may execute, load or read through anything
//! that a layer contains.

mod archive;
mod attributes;
mod blob;
mod budget;
mod commit;
mod compression;
mod digest;
mod distrust;
mod error;
mod image_root;
mod inspect;
mod kernel;
mod limits;
mod merged;
mod pipeline;
mod recipe;
mod record;
mod remove;
mod room;
mod root;
mod settle;
mod source;
mod staged;
mod staging;
mod text;
mod trash;
mod unfinished;
mod unpack;
mod unpack_error;
mod unsynced;
mod usage;
mod verify;
mod view;
mod windows;
mod zstd_reader;

pub use crate::document::Compression;
pub use archive::ArchiveError;
pub(crate) use archive::{ArchiveReader, ArchiveWriter, Entry, EntryKind};
pub(crate) use blob::StagedBlobs;
pub use blob::is_content;
pub(crate) use budget::Budget;
pub use commit::{ChainLayer, CommittedLayer};
pub(crate) use compression::{Decoder, inflate_error, looks_like_tar, recognise};
pub use distrust::Replace;
pub use error::StoreError;
pub use image_root::root_layer;
pub use inspect::{Depth, LayerFault};
pub(crate) use kernel::{io_hint, io_kind};
pub use limits::{LimitExceeded, UnpackLimits};
pub(crate) use merged::open_directory;
pub(crate) use pipeline::unpack_archived;
pub use pipeline::{ExpectedLayer, import_layer, unpack_layer};
pub use recipe::TarError;
pub use root::Store;
pub use staged::StagedLayer;
pub use staging::Staging;
pub(crate) use text::printable;
pub use trash::Trash;
pub(crate) use unfinished::{Claim, PartialBlob, PullStaging, Trace, Wants};
pub use unfinished::{Leftovers, Swept, UnfinishedPull};
pub(crate) use unpack::{EntryPath, split};
pub use unpack_error::UnpackError;
pub use unsynced::Durability;
pub use usage::disk_usage;
pub(crate) use verify::verify_layer;
pub use view::{Change, ChangeKind, ContainerView, ExportError};
