//! Searching a registry: by the search of version 1 of the API, which Docker Hub kept, or else
//! through the catalogue of version 2.

use std::collections::HashSet;

use rocker_types::is_plain;
use serde::Deserialize;

use super::fetch::{Body, Errand, Repository};
use super::look::{ask, registry_error};
use super::{Endpoint, LookError, PullError, RegistryError};
use crate::document::DocumentError;

/// Who answers searches for `docker.io`.
const HUB_SEARCH: &str = "index.docker.io";

/// The most results of one page, Docker Hub's.
const PAGE: usize = 100;

/// The most pages that are asked for; a registry that has more is asked no further.
const PAGES_MAX: usize = 1000;

/// The longest name, and the longest description that is kept.
const NAME_CHARS: usize = 300;
const DESCRIPTION_CHARS: usize = 2000;

/// One repository that a search has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchResult {
    /// As the registry calls it: safe to print, without the registry.
    pub name: String,
    /// One line, safe to print; empty if there is none.
    pub description: String,
    /// How many users like it.
    pub stars: u64,
    /// Whether Docker answers for it.
    pub official: bool,
}

/// What version 1 answers.
#[derive(Debug, Deserialize)]
struct Found {
    #[serde(default)]
    results: Option<Vec<FoundRepository>>,
}

#[derive(Debug, Deserialize)]
struct FoundRepository {
    name: String,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    star_count: i64,
    #[serde(default)]
    is_official: bool,
}

/// What version 2 answers.
#[derive(Debug, Deserialize)]
struct Catalog {
    #[serde(default)]
    repositories: Option<Vec<String>>,
}

/// Repositories whose name or description has `term` in it, as the registry at `place` sees it, at
/// most `limit` of them. A registry without a search is asked for all names that it has.
///
/// # Errors
///
/// [`LookError`].
pub fn search(
    place: &Endpoint,
    term: &str,
    limit: usize,
    cancelled: &dyn Fn() -> bool,
) -> Result<Vec<SearchResult>, LookError> {
    let name = place.registry.as_str();
    let places = std::slice::from_ref(place);
    let found = ask(
        name,
        places,
        errand,
        cancelled,
        async |repository| match by_search(repository, name, term, limit).await {
            Err(error) if hub(place).is_none() && has_no_search(&error) => {
                by_catalog(repository, name, term, limit).await
            }
            found => found,
        },
    );
    found.map_err(LookError::of(format!("search {name}")))
}

/// Who answers searches, if that is not the registry itself.
fn hub(place: &Endpoint) -> Option<&'static str> {
    (place.registry == "docker.io").then_some(HUB_SEARCH)
}

fn errand(place: &Endpoint) -> Errand<'_> {
    Errand {
        registry: hub(place).unwrap_or(&place.registry),
        repository: "",
        scopes: vec!["registry:catalog:*".to_owned()],
    }
}

/// Whether the registry answered, and not as one that can search: many show the page of their web
/// interface for whatever they do not know.
fn has_no_search(error: &PullError) -> bool {
    match error {
        PullError::Registry { source, .. } => matches!(
            **source,
            RegistryError::NotFound { .. }
                | RegistryError::Denied { .. }
                | RegistryError::Status { .. }
        ),
        PullError::Document { .. } => true,
        PullError::Interrupted { .. }
        | PullError::Layer { .. }
        | PullError::LayerSize { .. }
        | PullError::Store { .. }
        | PullError::Start { .. } => false,
    }
}

async fn by_search(
    repository: &Repository<'_>,
    name: &str,
    term: &str,
    limit: usize,
) -> Result<Vec<SearchResult>, PullError> {
    let mut results: Vec<SearchResult> = Vec::new();
    let mut seen = HashSet::new();
    let size = limit.min(PAGE);
    for page in 1..=PAGES_MAX {
        if results.len() >= limit {
            break;
        }
        let (size, page) = (size.to_string(), page.to_string());
        let query = [("q", term), ("n", &size), ("page", &page)];
        let body = repository.listing("v1/search", &query, None).await;
        let body = body.map_err(|source| registry_error(name, source))?;
        let found: Found = read(name, "search result", &body)?;
        let found = found.results.unwrap_or_default().into_iter();
        let before = results.len();
        // some give every page the same answer
        let new = found
            .filter_map(FoundRepository::check)
            .filter(|found| seen.insert(found.name.clone()));
        results.extend(new.take(limit - before));
        if results.len() == before {
            break;
        }
    }
    Ok(results)
}

async fn by_catalog(
    repository: &Repository<'_>,
    name: &str,
    term: &str,
    limit: usize,
) -> Result<Vec<SearchResult>, PullError> {
    let mut results: Vec<SearchResult> = Vec::new();
    let mut next: Option<String> = None;
    for _ in 0..PAGES_MAX {
        let size = PAGE.to_string();
        let body = repository
            .listing("v2/_catalog", &[("n", &size)], next.as_deref())
            .await;
        let body = body.map_err(|source| registry_error(name, source))?;
        let catalog: Catalog = read(name, "catalogue", &body)?;
        let found = catalog.repositories.unwrap_or_default().into_iter();
        let found = found
            .filter(|name| name.contains(term) && is_name(name))
            .map(|name| SearchResult {
                name,
                description: String::new(),
                stars: 0,
                official: false,
            });
        results.extend(found.take(limit - results.len()));
        // a page that is followed by itself would be asked for for ever
        if results.len() >= limit || body.next.is_none() || body.next == next {
            break;
        }
        next = body.next;
    }
    Ok(results)
}

fn read<'a, T: Deserialize<'a>>(
    name: &str,
    what: &'static str,
    body: &'a Body,
) -> Result<T, PullError> {
    serde_json::from_slice(&body.bytes).map_err(|source| PullError::Document {
        reference: name.to_owned(),
        source: Box::new(DocumentError::Syntax {
            what,
            place: String::new(),
            source,
        }),
    })
}

impl FoundRepository {
    /// What a terminal may be given of it.
    fn check(self) -> Option<SearchResult> {
        if !is_name(&self.name) {
            return None;
        }
        let description = self.description.unwrap_or_default();
        let words = description.split(|c: char| c.is_whitespace() || !is_plain(c));
        let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
        Some(SearchResult {
            name: self.name,
            description: words.join(" ").chars().take(DESCRIPTION_CHARS).collect(),
            stars: u64::try_from(self.star_count).unwrap_or(0),
            official: self.is_official,
        })
    }
}

/// What is no name cannot be pulled, and may be anything to a terminal.
fn is_name(text: &str) -> bool {
    let is_part =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'/' | b':');
    !text.is_empty() && text.len() <= NAME_CHARS && text.bytes().all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_found_is_one_line_and_nothing_for_a_terminal_to_obey() {
        let checked = |name: &str, description: &str| {
            let found = FoundRepository {
                name: name.to_owned(),
                description: Some(description.to_owned()),
                star_count: -1,
                is_official: true,
            };
            found.check()
        };
        let fine = checked("team/app", " a\n\tb \u{1b}[31mc\u{9b}d\u{202e}e\u{200b} ").unwrap();
        assert_eq!(fine.description, "a b [31mc d e");
        assert_eq!(fine.stars, 0);
        let long = checked("a", &"x".repeat(10_000)).unwrap();
        assert_eq!(long.description.len(), DESCRIPTION_CHARS);
        for bad in ["", "a b", "\u{1b}[2J", "ä", &"x".repeat(301)] {
            assert_eq!(checked(bad, ""), None, "{bad:?}");
        }
    }
}
