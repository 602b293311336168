//! One layer on its way to a registry.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use reqwest::Url;
use rocker_types::DiffId;

use super::source::{Source, SourceError, Tar};
use super::stream::UploadError;
use super::upload::Mount;
use super::{KnownBlob, Push, PushError, PushEvent, PushState, Site};
use crate::document::{Descriptor, Format};
use crate::registry::RegistryError;

/// How many blobs that a layer is known as are asked for.
const MOST_BLOBS: usize = 4;

/// A layer that the repository has now.
#[derive(Clone)]
pub(super) struct Brought {
    pub(super) blob: Descriptor,
    /// Nobody knew this blob before.
    pub(super) is_new: bool,
}

impl Brought {
    fn as_known(known: &KnownBlob) -> Self {
        Self {
            blob: known.blob.clone(),
            is_new: false,
        }
    }
}

impl Push<'_> {
    /// Sees that a layer is there, and says as which blob.
    pub(super) async fn layer(
        &self,
        site: &Site<'_, '_, '_>,
        id: &DiffId,
        blobs: &[KnownBlob],
    ) -> Result<Brought, PushError> {
        self.state(id, PushState::Waiting);
        let _permit = site.permits.acquire().await;
        let blobs = blobs.get(..MOST_BLOBS).unwrap_or(blobs);
        for known in blobs {
            let there = site.uploader.has(&known.blob.digest).await;
            if there.map_err(|error| self.registry_error(error))? {
                self.state(id, PushState::AlreadyExists);
                return Ok(Brought::as_known(known));
            }
        }
        let mut begun = None;
        for known in blobs {
            match self.mount(site, known, &mut begun).await? {
                Some(from) => {
                    self.state(id, PushState::Mounted { from });
                    return Ok(Brought::as_known(known));
                }
                None => continue,
            }
        }
        for known in blobs {
            if self.pass_through(site, id, known, &mut begun).await? {
                self.state(id, PushState::Pushed);
                return Ok(Brought::as_known(known));
            }
        }
        let blob = self.compress(site, id, begun).await?;
        self.state(id, PushState::Pushed);
        let is_new = true;
        Ok(Brought { blob, is_new })
    }

    /// Asks for a mount from each repository that had the blob; gives back which it was. An
    /// upload that a registry began instead is left in `begun`.
    async fn mount<'s>(
        &self,
        site: &Site<'s, '_, '_>,
        known: &KnownBlob,
        begun: &mut Option<Url>,
    ) -> Result<Option<&'s str>, PushError> {
        let target = &self.request.reference;
        for from in &site.mounts {
            let had_it = known
                .seen_in
                .iter()
                .any(|seen| seen.registry() == target.registry() && seen.repository() == *from);
            if !had_it {
                continue;
            }
            let mounted = site.uploader.mount(&known.blob.digest, from).await;
            match mounted {
                Ok(Mount::Mounted) => {
                    if let Some(place) = begun.take() {
                        site.uploader.cancel(&place).await;
                    }
                    return Ok(Some(from));
                }
                // it is not there any more: no more is asked about this blob, and one upload is
                // enough for the layer
                Ok(Mount::Begun(place)) => {
                    match begun {
                        Some(_) => site.uploader.cancel(&place).await,
                        none => *none = Some(place),
                    }
                    return Ok(None);
                }
                // who may not read there can still upload
                Err(
                    error @ (RegistryError::Denied { .. }
                    | RegistryError::NotFound { .. }
                    | RegistryError::Status {
                        status: 400..=499, ..
                    }),
                ) => {
                    tracing::debug!(%error, from, "the registry does not mount it");
                }
                Err(error) => return Err(self.registry_error(error)),
            }
        }
        Ok(None)
    }

    /// Lets the blob's bytes pass through from a registry that has them; `false` if none does.
    async fn pass_through(
        &self,
        site: &Site<'_, '_, '_>,
        id: &DiffId,
        known: &KnownBlob,
        begun: &mut Option<Url>,
    ) -> Result<bool, PushError> {
        for origin in &known.seen_in {
            if origin.is_same_repository(&self.request.reference) {
                continue;
            }
            let found = site.provenance.find(origin).await;
            let Some(Some(repository)) = found.get() else {
                continue;
            };
            let source = Source::Elsewhere {
                repository,
                blob: &known.blob,
            };
            let total = known.blob.size;
            let tell = |done: u64| {
                let done = done.min(total);
                self.state(id, PushState::Pushing { done, total });
            };
            match site.uploader.stream(&source, begun.take(), &tell).await {
                Ok(_) => return Ok(true),
                Err(UploadError::Source(error)) => {
                    tracing::debug!(%origin, ?error, "the layer's registry does not serve it");
                }
                Err(UploadError::Registry(error)) => return Err(self.registry_error(error)),
            }
        }
        Ok(false)
    }

    /// Makes the layer a tar again, compresses it and uploads what comes out.
    async fn compress(
        &self,
        site: &Site<'_, '_, '_>,
        id: &DiffId,
        begun: Option<Url>,
    ) -> Result<Descriptor, PushError> {
        let compression = self.request.compression;
        let done = Arc::new(AtomicU64::new(0));
        let total = self
            .store
            .tar_bytes(id)
            .map_err(|source| PushError::Layer {
                reference: self.reference(),
                layer: id.clone(),
                source: Box::new(source),
            })?;
        let source = Source::Tar(Tar {
            threads: site.threads,
            store: site.store,
            layer: id.clone(),
            compression,
            level: self.request.level,
            done: Arc::clone(&done),
        });
        let tell = |_| {
            let done = done.load(Ordering::Relaxed).min(total);
            self.state(id, PushState::Pushing { done, total });
        };
        let (digest, size) = match site.uploader.stream(&source, begun, &tell).await {
            Ok(blob) => blob,
            Err(UploadError::Registry(error)) => return Err(self.registry_error(error)),
            Err(UploadError::Source(error)) => return Err(self.source_error(id, error)),
        };
        Ok(Descriptor {
            media_type: Format::Oci.layer(compression.of_layer()).to_owned(),
            digest,
            size,
        })
    }

    fn source_error(&self, id: &DiffId, error: SourceError) -> PushError {
        let (reference, layer) = (self.reference(), id.clone());
        match error {
            SourceError::Registry(source) => self.registry_error(source),
            SourceError::OtherBlob { actual } => PushError::Compress {
                reference,
                layer,
                source: std::io::Error::other(format!("it became {actual}")),
            },
            SourceError::Tar(source) => PushError::Layer {
                reference,
                layer,
                source: Box::new(source),
            },
            SourceError::Compress(source) => PushError::Compress {
                reference,
                layer,
                source,
            },
            SourceError::Start(source) => PushError::Start {
                reference,
                what: "compressing thread",
                source,
            },
        }
    }

    fn state(&self, layer: &DiffId, state: PushState<'_>) {
        self.progress.event(PushEvent::Layer { layer, state });
    }
}
