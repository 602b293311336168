//! Images made in memory, byte for byte the same on every run.
//!
//! [`Layer`] is a list of tar entries, hostile ones included (`..`, absolute names, device
//! nodes, links anywhere): names are written raw, nothing is cleaned. [`ImageBuilder`] puts
//! layers and a config together into an [`Image`] of OCI or docker-schema-2 documents, which
//! [`crate::registry::Registry`] serves and [`Image::write_oci_layout`] stores for other tools.
//!
//! ```
//! use rocker_testkit::image::{Compression, ImageBuilder, Layer};
//!
//! let image = ImageBuilder::new()
//!     .layer(Layer::new().dir("etc", 0o755).file("etc/motd", "hello\n").compression(Compression::Zstd))
//!     .cmd(["/bin/sh"])
//!     .env("LANG", "C")
//!     .build();
//! assert_eq!(image.layers.len(), 1);
//! ```

pub mod bomb;
mod builder;
mod layer;

pub use builder::{Format, Image, ImageBuilder};
pub use layer::{BuiltLayer, Compression, Entry, EntryKind, Layer};

use hyper::body::Bytes;
use sha2::{Digest as _, Sha256};

/// A piece of content with its digest, as a registry keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    /// The media type that a descriptor of this blob carries.
    pub media_type: String,
    /// `sha256:<hex>` of `bytes`.
    pub digest: String,
    /// The content itself.
    pub bytes: Bytes,
}

impl Blob {
    /// Wraps `bytes` and computes their digest.
    pub fn new(media_type: &str, bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self {
            media_type: media_type.to_owned(),
            digest: sha256(&bytes),
            bytes,
        }
    }

    /// The descriptor that points at this blob: media type, digest and size.
    pub fn descriptor(&self) -> serde_json::Value {
        serde_json::json!({ "mediaType": self.media_type, "digest": self.digest, "size": self.bytes.len() })
    }
}

/// `sha256:<hex>` of `bytes`.
pub fn sha256(bytes: &[u8]) -> String {
    use std::fmt::Write as _;

    let mut text = String::from("sha256:");
    for byte in Sha256::digest(bytes) {
        write!(text, "{byte:02x}").expect("writing to a string");
    }
    text
}
