//! How to write a layer's tar again, byte for byte, from the unpacked directory.
//!
//! A layer's digest is that of its tar stream, but what is kept is a directory, and no two
//! writers make the same tar of one directory. So whoever unpacks writes a recipe beside the
//! layer: every byte of the stream that is not content of a file as it is, and for content
//! where it lies. `save` and `push` give the very bytes back that once came.
//!
//! ```text
//!   layers/<diff-id>/          the directory
//!   layers/<diff-id>.recipe    this file
//!   layers/<diff-id>.attic/    content that the stream has and the directory has not any
//!                              more, because a later entry took its place; seldom there
//! ```
//!
//! A recipe is a header and two zstd frames:
//!
//! ```text
//!   header   magic[8]  version u32  stream length u64  length of the first frame u64
//!   steps    LITERAL length bytes… | FILE length path… | RUN offset length | END
//!   moves    (files, length path…)…
//! ```
//!
//! Fixed numbers are little-endian, the others LEB128. A run is a part of the last named
//! file. A move says that of the first `files` files named by the steps, those at `path` or
//! below it lie in the attic, under the move's own number; the first that fits counts.

mod attic;
mod error;
mod number;
mod read;
mod replay;
mod skeleton;
mod write;

pub(super) use attic::Attic;
pub use error::TarError;
pub(super) use skeleton::Skeleton;
pub(super) use write::RecipeWriter;

use rocker_types::DiffId;

const MAGIC: [u8; 8] = *b"rk-recip";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 28;

const END: u8 = 0;
const LITERAL: u8 = 1;
const FILE: u8 = 2;
const RUN: u8 = 3;

/// How the name of a layer's recipe ends.
pub(super) const RECIPE: &str = ".recipe";

/// How the name of a layer's attic ends.
pub(super) const ATTIC: &str = ".attic";

/// The name of a layer's recipe in `layers/`.
pub(super) fn recipe_name(layer: &DiffId) -> String {
    format!("{}{RECIPE}", layer.hex())
}

/// The name of a layer's attic in `layers/`.
pub(super) fn attic_name(layer: &DiffId) -> String {
    format!("{}{ATTIC}", layer.hex())
}

/// Content that is not where the steps say.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Move {
    /// How many files had been named when it was moved.
    files: u64,
    /// What was moved, with everything below it.
    path: Vec<u8>,
}
