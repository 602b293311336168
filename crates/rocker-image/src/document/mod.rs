//! Image documents: index, manifest and config, read strictly.
//!
//! A document comes from a stranger. Nothing in here performs I/O, and nothing outside
//! reads such JSON by itself: bytes go in, typed values with bounds come out, and what
//! could mean two things to two programs (duplicate keys, `manifests` next to `layers`,
//! a media type that contradicts the one it was announced with) is an error.
//!
//! Sources: OCI image-spec v1.1 `image-index.md`, `manifest.md`, `config.md`,
//! `descriptor.md`; Docker `image/spec` manifest v2 schema 2.

mod config;
mod descriptor;
mod error;
mod hash;
mod index;
mod json;
mod limits;
mod manifest;
mod media_type;
#[cfg(test)]
mod tests;
mod words;

pub use config::{parse_bare_config, parse_config};
pub use descriptor::Descriptor;
pub use error::DocumentError;
pub use hash::{digest_of, verify};
pub(crate) use index::{ANNOTATION_NAME, ANNOTATION_REF, nearest};
pub use index::{Index, IndexEntry};
pub use limits::DocumentLimits;
pub use manifest::{Document, Manifest};
pub use media_type::Format;
pub use media_type::{Compression, DocumentKind};
pub(crate) use words::shorten;
