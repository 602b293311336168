//! Manifests, and the first look at a document that may be one.

use rocker_types::Digest;
use serde::Deserialize;

use super::descriptor::RawDescriptor;
use super::index::{Index, RawEntry};
use super::json::{Object, Scalar, TopLevelKeys, read};
use super::media_type::{self, LayerType};
use super::words::shorten;
use super::{Descriptor, DocumentError, DocumentKind, DocumentLimits};

/// An image for one platform: its config and its layers, base first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// OCI or Docker schema 2.
    pub media_type: String,
    /// The image config. Its digest is the image's ID.
    pub config: Descriptor,
    /// The layers, base first. Every one has a [`Descriptor::compression`].
    pub layers: Vec<Descriptor>,
    /// The bytes that `digest` is of.
    pub raw: Vec<u8>,
    /// The digest of `raw`.
    pub digest: Digest,
}

/// What a registry's manifest endpoint can answer with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Document {
    /// Several images, one per platform.
    Index(Index),
    /// One image.
    Manifest(Manifest),
}

/// The keys that decide what a document is; see [`TopLevelKeys::case_variant_of`].
const KNOWN_KEYS: [&str; 6] = [
    "schemaVersion",
    "mediaType",
    "manifests",
    "config",
    "layers",
    "fsLayers",
];

#[derive(Deserialize)]
struct RawDocument {
    #[serde(default, rename = "schemaVersion")]
    schema_version: Scalar,
    #[serde(default, rename = "mediaType")]
    media_type: Scalar,
    manifests: Option<Vec<Object<RawEntry>>>,
    config: Option<Object<RawDescriptor>>,
    layers: Option<Vec<Object<RawDescriptor>>>,
}

impl Document {
    /// Reads an index or a manifest.
    ///
    /// `announced` is the media type of whoever pointed here: the parent's descriptor or
    /// the Content-Type header, without parameters. Types that say nothing
    /// (`application/json`, …) are as good as `None`. `digest` is the digest of `raw`,
    /// which the caller has checked against what was asked for.
    ///
    /// # Errors
    ///
    /// Every variant of [`DocumentError`] but those about configs and platforms.
    pub fn parse(
        raw: Vec<u8>,
        announced: Option<&str>,
        digest: Digest,
        limits: &DocumentLimits,
    ) -> Result<Self, DocumentError> {
        const WHAT: &str = "manifest";
        limits.check_manifest(raw.len() as u64)?;
        let announced = announced.filter(|announced| !says_nothing(announced));
        if announced.is_some_and(media_type::is_schema1) {
            return Err(DocumentError::Schema1);
        }
        if let Some(announced) = announced.filter(|a| DocumentKind::from_media_type(a).is_none()) {
            return Err(DocumentError::UnknownMediaType {
                media_type: shorten(announced),
            });
        }
        let keys = TopLevelKeys::of(WHAT, &raw, limits)?;
        let document: RawDocument = read(WHAT, &raw)?;
        document.check_version(&keys)?;
        let (kind, media_type) = document.kind(&keys, announced)?;
        match kind {
            DocumentKind::Index => Index::from_raw(
                document.manifests.unwrap_or_default(),
                media_type,
                raw,
                digest,
                limits,
            )
            .map(Self::Index),
            DocumentKind::Manifest => document
                .into_manifest(media_type, raw, digest, limits)
                .map(Self::Manifest),
        }
    }
}

impl Document {
    /// The media type of the document, whichever it is.
    #[must_use]
    pub fn media_type(&self) -> &str {
        match self {
            Self::Index(index) => &index.media_type,
            Self::Manifest(manifest) => &manifest.media_type,
        }
    }
}

impl RawDocument {
    fn check_version(&self, keys: &TopLevelKeys) -> Result<(), DocumentError> {
        if self.schema_version == Scalar::Unsigned(1) || keys.has("fsLayers") {
            return Err(DocumentError::Schema1);
        }
        if self.schema_version != Scalar::Unsigned(2) {
            let problem = format!("must be 2, it is {}", self.schema_version.describe());
            return Err(field("schemaVersion", problem));
        }
        keys.case_variant_of(&KNOWN_KEYS).map_or(Ok(()), |key| {
            Err(DocumentError::CaseVariant {
                what: "manifest",
                key: shorten(key),
            })
        })
    }

    /// Decides what the document is from its fields, and insists that every name it goes
    /// by agrees.
    fn kind(
        &self,
        keys: &TopLevelKeys,
        announced: Option<&str>,
    ) -> Result<(DocumentKind, String), DocumentError> {
        let kind = match (
            keys.has("manifests"),
            keys.has("layers"),
            keys.has("config"),
        ) {
            (true, true, _) => return Err(DocumentError::Ambiguous { other: "layers" }),
            (true, _, true) => return Err(DocumentError::Ambiguous { other: "config" }),
            (true, false, false) => DocumentKind::Index,
            (false, true, true) => DocumentKind::Manifest,
            (false, false, _) => return Err(field("layers", "is missing".to_owned())),
            (false, true, false) => return Err(field("config", "is missing".to_owned())),
        };
        let own = match &self.media_type {
            Scalar::Missing => None,
            Scalar::Text(text) => Some(text.as_str()),
            other @ (Scalar::Unsigned(_) | Scalar::Other(_)) => {
                return Err(field(
                    "mediaType",
                    format!("must be a string, it is {}", other.describe()),
                ));
            }
        };
        if let (Some(own), Some(announced)) = (own, announced)
            && own != announced
        {
            return Err(DocumentError::Contradiction {
                announced: announced.to_owned(),
                found: shorten(own),
            });
        }
        let Some(name) = own.or(announced) else {
            return Ok((kind, default_media_type(kind).to_owned()));
        };
        match DocumentKind::from_media_type(name) {
            None if media_type::is_schema1(name) => Err(DocumentError::Schema1),
            None => Err(DocumentError::UnknownMediaType {
                media_type: shorten(name),
            }),
            Some(named) if named != kind => Err(DocumentError::Contradiction {
                announced: name.to_owned(),
                found: format!("an {} by its fields", kind.name())
                    .replace("an manifest", "a manifest"),
            }),
            Some(_) => Ok((kind, name.to_owned())),
        }
    }

    fn into_manifest(
        self,
        media_type: String,
        raw: Vec<u8>,
        digest: Digest,
        limits: &DocumentLimits,
    ) -> Result<Manifest, DocumentError> {
        let config = self
            .config
            .ok_or_else(|| field("config", "is null".to_owned()))?;
        let config = config.0.check("manifest", "config")?;
        if !media_type::is_config(&config.media_type) {
            return Err(DocumentError::NotAnImage {
                media_type: shorten(&config.media_type),
            });
        }
        let layers = self
            .layers
            .ok_or_else(|| field("layers", "is null".to_owned()))?;
        if layers.is_empty() {
            return Err(field("layers", "is empty".to_owned()));
        }
        limits.check_layers(layers.len())?;
        let layers = layers
            .into_iter()
            .enumerate()
            .map(check_layer)
            .collect::<Result<_, _>>()?;
        Ok(Manifest {
            media_type,
            config,
            layers,
            raw,
            digest,
        })
    }
}

fn check_layer(
    (index, Object(layer)): (usize, Object<RawDescriptor>),
) -> Result<Descriptor, DocumentError> {
    let layer = layer.check("manifest", &format!("layers[{index}]"))?;
    match media_type::layer_type(&layer.media_type) {
        Some(LayerType::Distributable(_)) => Ok(layer),
        Some(LayerType::Foreign) => Err(DocumentError::ForeignLayer {
            index,
            media_type: layer.media_type,
        }),
        None => {
            let problem = format!(
                "{:?} is not a layer type that rocker knows",
                shorten(&layer.media_type)
            );
            Err(field(&format!("layers[{index}].mediaType"), problem))
        }
    }
}

/// Content types of file servers that know nothing of images.
fn says_nothing(media_type: &str) -> bool {
    matches!(
        media_type,
        "" | "application/json" | "text/plain" | "application/octet-stream" | "binary/octet-stream"
    )
}

/// OCI documents may leave their media type out, Docker's may not.
const fn default_media_type(kind: DocumentKind) -> &'static str {
    match kind {
        DocumentKind::Index => oci_client::manifest::OCI_IMAGE_INDEX_MEDIA_TYPE,
        DocumentKind::Manifest => oci_client::manifest::OCI_IMAGE_MEDIA_TYPE,
    }
}

fn field(name: &str, problem: String) -> DocumentError {
    DocumentError::Field {
        what: "manifest",
        field: name.to_owned(),
        problem,
    }
}
