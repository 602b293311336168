//! What the fuzzers call: one function for each reader of bytes that strangers wrote.
//!
//! A function takes any bytes and panics when rocker breaks a promise: it panics itself, writes
//! outside of the store, keeps something of what it refused, or understands an archive in
//! another way than its peers. The same functions run over the committed corpus as ordinary
//! tests of rocker-image; see `fuzz/README.md`.

mod documents;
mod entries;
mod ground;
mod layers;
mod load;
mod packing;
mod tape;
mod words;

pub use documents::{config, document};
pub use entries::entries;
pub use layers::{layer, pax};
pub use load::{archive, archive_index};
pub use packing::compression;
#[cfg(fuzzing)]
pub use words::challenge;
pub use words::reference;
