//! Looking at what a registry has, without fetching any of it into the store.

use std::collections::BTreeSet;

use rocker_types::{Algorithm, Digest, ImageRef};
use serde::Deserialize;

use super::fetch::{Errand, Repository};
use super::{Endpoint, LookError, PullError, RegistryError, runtime};
use crate::document::{Document, DocumentError, DocumentLimits, digest_of, verify};

/// The most tags that are listed; a registry that has more is asked no further.
const TAGS_MAX: usize = 1_000_000;

/// An index or a manifest, byte for byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteDocument {
    /// Its digest, which fits the bytes.
    pub digest: Digest,
    /// What it says it is.
    pub media_type: String,
    /// Its JSON.
    pub bytes: Vec<u8>,
}

/// What `tags/list` answers.
#[derive(Debug, Deserialize)]
struct TagList {
    /// `null` for none.
    tags: Option<Vec<String>>,
}

/// Fetches the document that a reference means, of the first of `places` that has it. It is
/// read as strictly as for a pull, and given back as it came.
///
/// # Errors
///
/// [`LookError`].
pub fn fetch_document(
    reference: &ImageRef,
    places: &[Endpoint],
    limits: &DocumentLimits,
    cancelled: &dyn Fn() -> bool,
) -> Result<RemoteDocument, LookError> {
    let name = reference.familiar();
    let found = ask(&name, places, of_pull, cancelled, async |repository| {
        let wanted = match reference.digest() {
            Some(digest) => digest.to_string(),
            None => reference.tag().unwrap_or("latest").to_owned(),
        };
        let damaged = |source| PullError::Document {
            reference: name.clone(),
            source: Box::new(source),
        };
        let body = repository.manifest(&wanted, limits.manifest_bytes).await;
        let body = body.map_err(
            |error| match matches!(error, RegistryError::TooLong { .. }) {
                true => damaged(limits.manifest_too_long()),
                false => registry_error(&name, error),
            },
        )?;
        let promised = reference.digest().cloned().or(body.digest);
        let digest = promised.unwrap_or_else(|| digest_of(Algorithm::Sha256, &body.bytes));
        verify("manifest", &body.bytes, &digest, None).map_err(damaged)?;
        let document = Document::parse(
            body.bytes.clone(),
            body.content_type.as_deref(),
            digest.clone(),
            limits,
        );
        let document = document.map_err(damaged)?;
        Ok(RemoteDocument {
            digest,
            media_type: document.media_type().to_owned(),
            bytes: body.bytes,
        })
    });
    found.map_err(LookError::of(format!("read the manifest of {name}")))
}

/// The tags of a repository, in the registry's order, at most `limit` of them.
///
/// # Errors
///
/// [`LookError`].
pub fn list_tags(
    repository: &ImageRef,
    places: &[Endpoint],
    limit: usize,
    cancelled: &dyn Fn() -> bool,
) -> Result<Vec<String>, LookError> {
    let name = repository.familiar_repository();
    let limit = limit.min(TAGS_MAX);
    let tags = ask(&name, places, of_pull, cancelled, async |repository| {
        let mut tags: Vec<String> = Vec::new();
        let mut seen = BTreeSet::new();
        let mut next = Some(None);
        while let Some(page) = next.take().filter(|_| tags.len() < limit) {
            let page = repository.tags(page).await;
            let page = page.map_err(|source| registry_error(&name, source))?;
            let list: TagList = serde_json::from_slice(&page.bytes).map_err(|source| {
                let what = "list of tags";
                PullError::Document {
                    reference: name.clone(),
                    source: Box::new(DocumentError::Syntax {
                        what,
                        place: String::new(),
                        source,
                    }),
                }
            })?;
            let brought = list.tags.unwrap_or_default();
            let before = tags.len();
            // what is no tag cannot be pulled, and may be anything to a terminal
            tags.extend(
                brought
                    .into_iter()
                    .filter(|tag| ImageRef::is_tag(tag) && seen.insert(tag.clone())),
            );
            // a page that brings nothing new would be asked for for ever
            next = page.next.filter(|_| tags.len() > before).map(Some);
        }
        tags.truncate(limit);
        Ok(tags)
    });
    tags.map_err(LookError::of(format!("list the tags of {name}")))
}

pub(super) fn of_pull(place: &Endpoint) -> Errand<'_> {
    Errand::pull(&place.registry, &place.repository)
}

/// Asks one place after the other; what is wrong with the last is what is wrong.
pub(super) fn ask<T>(
    name: &str,
    places: &[Endpoint],
    errand: fn(&Endpoint) -> Errand<'_>,
    cancelled: &dyn Fn() -> bool,
    work: impl AsyncFn(&Repository<'_>) -> Result<T, PullError>,
) -> Result<T, PullError> {
    let interrupted = || PullError::Interrupted {
        reference: name.to_owned(),
    };
    let each = async {
        let mut outcome = Err(interrupted());
        for place in places {
            let errand = errand(place);
            let repository = Repository::connect(&errand, &place.options, &|_| {}).await;
            outcome = match repository {
                Ok(repository) => work(&repository).await,
                Err(source) => Err(registry_error(name, source)),
            };
            if outcome.is_ok() {
                break;
            }
        }
        outcome
    };
    let outcome = runtime::block_on(async {
        tokio::select! {
            biased;
            () = runtime::cancelled(cancelled) => Err(interrupted()),
            outcome = each => outcome,
        }
    });
    outcome.map_err(|source| PullError::Start {
        reference: name.to_owned(),
        what: "network client",
        source,
    })?
}

pub(super) fn registry_error(name: &str, source: RegistryError) -> PullError {
    PullError::Registry {
        reference: name.to_owned(),
        source: Box::new(source),
    }
}
