//! Images in files: what `save` writes and `load` reads.
//!
//! Two layouts exist. Docker's has `manifest.json`, which names a config and the layers of
//! each image; the OCI image layout has `index.json`, whose manifests name blobs by their
//! digests. Both are kept in a tar, or the latter in a directory. What is written here is
//! both at once, as docker writes it since version 25: one set of blobs, and both lists.
//!
//! Sources: moby `image/spec/spec.md` (the "combined" format of `docker save`); OCI
//! image-spec v1.1 `image-layout.md`, `annotations.md`.

mod append;
mod directory;
mod files;
mod images;
mod input;
mod layout;
mod load;
mod load_error;
mod output;
mod peel;
mod plan;
mod save;

pub use append::{NotALayout, append_layout, check_layout};
pub use directory::NewDirectory;
pub use load::{Archive, LoadRequest, LoadSource, LoadedImage, LoadedLayer, load};
pub use load_error::LoadError;
pub use peel::Peeled;
pub use save::{ArchiveFormat, OnLayer, SaveError, SavedImage, SavedName, save, save_directory};

/// Where the OCI layout lists its images.
const INDEX: &str = "index.json";
/// What tells that a directory is an OCI layout.
const OCI_LAYOUT: &str = "oci-layout";
/// Where docker lists its images.
const MANIFEST: &str = "manifest.json";
/// Where docker listed its names before version 1.10.
const REPOSITORIES: &str = "repositories";
