//! Descriptors: how one document points at other bytes.

use rocker_types::Digest;
use serde::Deserialize;

use super::json::Scalar;
use super::media_type::{self, LayerType};
use super::words::shorten;
use super::{Compression, DocumentError};

/// A promise about bytes: their type, digest and exact length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// What the bytes are.
    pub media_type: String,
    /// The digest of the bytes as they travel (compressed, for most layers).
    pub digest: Digest,
    /// Exact length in bytes, at most `i64::MAX`.
    pub size: u64,
}

impl Descriptor {
    /// How the layer that this descriptor names is compressed; `None` when the media type
    /// is not a layer's.
    #[must_use]
    pub fn compression(&self) -> Option<Compression> {
        match media_type::layer_type(&self.media_type)? {
            LayerType::Distributable(compression) => Some(compression),
            LayerType::Foreign => None,
        }
    }
}

/// A descriptor as it stands in a document. `urls` and `data` are not read on purpose:
/// bytes come from the registry that was asked, or not at all.
#[derive(Debug, Deserialize)]
pub(super) struct RawDescriptor {
    #[serde(default, rename = "mediaType")]
    pub(super) media_type: Scalar,
    #[serde(default)]
    pub(super) digest: Scalar,
    #[serde(default)]
    pub(super) size: Scalar,
}

impl RawDescriptor {
    /// Turns the three fields into a descriptor. `what` is the document and `path` the
    /// descriptor's place in it, for the error.
    pub(super) fn check(self, what: &'static str, path: &str) -> Result<Descriptor, DocumentError> {
        let fail = |name: &str, problem: String| DocumentError::Field {
            what,
            field: format!("{path}.{name}"),
            problem,
        };
        let text = |name: &str, value: Scalar| match value {
            Scalar::Text(text) => Ok(text),
            Scalar::Missing => Err(fail(name, "is missing".to_owned())),
            other @ (Scalar::Unsigned(_) | Scalar::Other(_)) => Err(fail(
                name,
                format!("must be a string, it is {}", other.describe()),
            )),
        };
        let media_type = text("mediaType", self.media_type)?;
        let digest = text("digest", self.digest)?;
        let digest = digest.parse().map_err(|_| {
            fail(
                "digest",
                format!("{:?} is not a sha256 or sha512 digest", shorten(&digest)),
            )
        })?;
        let size = match self.size {
            Scalar::Unsigned(size) if i64::try_from(size).is_ok() => size,
            Scalar::Unsigned(_) => return Err(fail("size", "is larger than 2^63 - 1".to_owned())),
            Scalar::Missing => return Err(fail("size", "is missing".to_owned())),
            other @ (Scalar::Text(_) | Scalar::Other(_)) => {
                return Err(fail(
                    "size",
                    format!("must be a whole number, it is {}", other.describe()),
                ));
            }
        };
        Ok(Descriptor {
            media_type,
            digest,
            size,
        })
    }
}
