//! From a reference to a manifest and a config, all verified.

use rocker_types::{Algorithm, Digest, ImageConfig, ImageRef, Platform};

use super::fetch::{Body, Repository};
use super::{PullError, RegistryError};
use crate::document::{
    Descriptor, Document, DocumentError, DocumentKind, DocumentLimits, Index, Manifest, digest_of,
    parse_config, verify,
};
use crate::store::Store;

/// What a reference means for one platform.
#[derive(Debug)]
pub(super) struct Resolved {
    /// The outermost index, if there was one.
    pub(super) index: Option<Index>,
    pub(super) manifest: Manifest,
    pub(super) config: ImageConfig,
    pub(super) config_bytes: Vec<u8>,
}

/// Which manifest a reference means for one platform.
#[derive(Debug)]
pub(super) struct Chosen {
    /// The outermost index, if there was one.
    pub(super) index: Option<Index>,
    pub(super) manifest: Manifest,
    /// What the config must be for.
    promised: Option<Platform>,
}

/// Resolves one reference.
#[derive(Debug)]
pub(super) struct Resolver<'a> {
    pub(super) repository: &'a Repository<'a>,
    pub(super) store: &'a Store,
    pub(super) reference: &'a ImageRef,
    /// As the user named it.
    pub(super) platform: Option<&'a Platform>,
    pub(super) limits: &'a DocumentLimits,
}

impl Resolver<'_> {
    /// Follows indexes down to the manifest for the platform, and reads its config.
    /// Documents that the store has are not fetched again, except what a tag means.
    pub(super) async fn resolve(&self) -> Result<Resolved, PullError> {
        let chosen = self.choose().await?;
        self.finish(chosen).await
    }

    /// The same without the config, which is a blob already.
    pub(super) async fn choose(&self) -> Result<Chosen, PullError> {
        let host = Platform::host();
        let mut document = match self.reference.digest() {
            Some(digest) => self.by_digest(digest, None).await?,
            None => {
                self.by_tag(self.reference.tag().unwrap_or("latest"))
                    .await?
            }
        };
        let mut outermost = None;
        let mut promised = self.platform.cloned();
        for _ in 0..self.limits.index_depth {
            let index = match document {
                Document::Manifest(manifest) => {
                    return Ok(Chosen {
                        index: outermost,
                        manifest,
                        promised,
                    });
                }
                Document::Index(index) => index,
            };
            let wanted = self.platform.unwrap_or(&host);
            let entry = index
                .choose(wanted)
                .map_err(|error| self.document_error(error))?;
            promised = Some(entry.platform.clone().unwrap_or_else(|| wanted.clone()));
            document = self
                .by_digest(&entry.descriptor.digest, Some(&entry.descriptor))
                .await?;
            outermost = outermost.or(Some(index));
        }
        // a chain of the most that there may be ends here with its manifest
        match document {
            Document::Manifest(manifest) => Ok(Chosen {
                index: outermost,
                manifest,
                promised,
            }),
            Document::Index(_) => Err(self.document_error(self.limits.too_many_indexes())),
        }
    }

    async fn finish(&self, chosen: Chosen) -> Result<Resolved, PullError> {
        let Chosen {
            index,
            manifest,
            promised,
        } = chosen;
        let config_bytes = self.config_bytes(&manifest.config).await?;
        let config = parse_config(&config_bytes, &manifest, promised.as_ref(), self.limits)
            .map_err(|error| self.document_error(error))?;
        Ok(Resolved {
            index,
            manifest,
            config,
            config_bytes,
        })
    }

    /// Gets a document by its digest, from the store or the registry; `parent` is the
    /// descriptor that named it, if one did.
    async fn by_digest(
        &self,
        digest: &Digest,
        parent: Option<&Descriptor>,
    ) -> Result<Document, PullError> {
        let kind = parent.and_then(|parent| DocumentKind::from_media_type(&parent.media_type));
        let what = kind.map_or("manifest", DocumentKind::name);
        let fail = |error| self.document_error(error);
        let (bytes, announced) = match self.stored(digest) {
            Some(bytes) => (bytes, None),
            None => {
                let body = self.manifest(&digest.to_string()).await?;
                (body.bytes, body.content_type)
            }
        };
        verify(what, &bytes, digest, parent.map(|parent| parent.size)).map_err(fail)?;
        // the registry says what it is and so does the parent, and both must be right
        let document = Document::parse(bytes, announced.as_deref(), digest.clone(), self.limits)
            .map_err(fail)?;
        match parent {
            Some(parent) if parent.media_type != document.media_type() => {
                Err(fail(DocumentError::Contradiction {
                    announced: parent.media_type.clone(),
                    found: document.media_type().to_owned(),
                }))
            }
            _ => Ok(document),
        }
    }

    async fn by_tag(&self, tag: &str) -> Result<Document, PullError> {
        let body = self.manifest(tag).await?;
        let fail = |error| self.document_error(error);
        let Body {
            bytes,
            content_type,
            digest,
            ..
        } = body;
        // what the registry says about the digest is not needed, but must not be wrong
        if let Some(digest) = digest {
            verify("manifest", &bytes, &digest, None).map_err(fail)?;
        }
        let digest = digest_of(Algorithm::Sha256, &bytes);
        Document::parse(bytes, content_type.as_deref(), digest, self.limits).map_err(fail)
    }

    async fn manifest(&self, reference: &str) -> Result<Body, PullError> {
        let limit = self.limits.manifest_bytes;
        let body = self.repository.manifest(reference, limit).await;
        body.map_err(
            |error| match matches!(error, RegistryError::TooLong { .. }) {
                true => self.document_error(self.limits.manifest_too_long()),
                false => self.registry_error(error),
            },
        )
    }

    async fn config_bytes(&self, config: &Descriptor) -> Result<Vec<u8>, PullError> {
        let fail = |error| self.document_error(error);
        self.limits.check_config(config.size).map_err(fail)?;
        let bytes = match self.stored(&config.digest) {
            Some(bytes) => bytes,
            None => {
                let limit = self.limits.config_bytes;
                let body = self.repository.small_blob(&config.digest, limit).await;
                body.map_err(|error| self.registry_error(error))?.bytes
            }
        };
        verify("config", &bytes, &config.digest, Some(config.size)).map_err(fail)?;
        Ok(bytes)
    }

    /// A blob of the store, verified. One that is damaged counts as absent: it will be fetched
    /// and written again, which is what repairs it.
    fn stored(&self, digest: &Digest) -> Option<Vec<u8>> {
        self.store.read_blob(digest).ok()
    }

    fn document_error(&self, source: DocumentError) -> PullError {
        PullError::Document {
            reference: self.reference.familiar(),
            source: Box::new(source),
        }
    }

    fn registry_error(&self, source: RegistryError) -> PullError {
        PullError::Registry {
            reference: self.reference.familiar(),
            source: Box::new(source),
        }
    }
}
