//! Searching a registry: by the search of version 1 of the API, which Docker Hub kept, or else
//! through the catalogue of version 2.

use rocker_types::{Diagnose, ErrorKind, is_plain};
use serde::Deserialize;

use super::fetch::{Body, Errand, Repository};
use super::look::{ask, registry_error};
use super::{Endpoint, PullError, RegistryError};
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

/// Why a registry could not be searched.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// It did not give what was asked for.
    #[error("cannot search {registry}")]
    Registry {
        /// Which one.
        registry: String,
        /// What happened.
        source: Box<RegistryError>,
    },

    /// It gave something else.
    #[error("cannot search {registry}")]
    Answer {
        /// Which one.
        registry: String,
        /// What is wrong with it.
        source: Box<DocumentError>,
    },

    /// The caller said so.
    #[error("the search was interrupted")]
    Interrupted,

    /// The kernel refused a thread or an epoll instance.
    #[error("cannot start the network client")]
    Start {
        /// What happened.
        source: std::io::Error,
    },
}

impl SearchError {
    fn of(place: &Endpoint, error: PullError) -> Self {
        let registry = place.registry.clone();
        match error {
            PullError::Registry { source, .. } => Self::Registry { registry, source },
            PullError::Document { source, .. } => Self::Answer { registry, source },
            PullError::Start { source, .. } => Self::Start { source },
            // no layers are asked for
            PullError::Interrupted { .. }
            | PullError::Layer { .. }
            | PullError::LayerSize { .. }
            | PullError::Store { .. } => Self::Interrupted,
        }
    }
}

impl Diagnose for SearchError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Registry { source, .. } => source.kind(),
            Self::Answer { source, .. } => source.kind(),
            Self::Interrupted => ErrorKind::Interrupted,
            Self::Start { .. } => ErrorKind::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Registry { source, .. } => source.hint(),
            Self::Answer { source, .. } => source.hint(),
            Self::Interrupted | Self::Start { .. } => None,
        }
    }
}

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
/// [`SearchError`].
pub fn search(
    place: &Endpoint,
    term: &str,
    limit: usize,
    cancelled: &dyn Fn() -> bool,
) -> Result<Vec<SearchResult>, SearchError> {
    let name = place.registry.as_str();
    let places = std::slice::from_ref(place);
    let found = ask(
        name,
        places,
        errand,
        cancelled,
        async |repository| match by_search(repository, name, term, limit).await {
            Err(PullError::Registry { source, .. })
                if hub(place).is_none() && has_no_search(&source) =>
            {
                by_catalog(repository, name, term, limit).await
            }
            found => found,
        },
    );
    found.map_err(|error| SearchError::of(place, error))
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

/// Whether the registry answered, and not as one that can search.
fn has_no_search(error: &RegistryError) -> bool {
    matches!(
        error,
        RegistryError::NotFound { .. }
            | RegistryError::Denied { .. }
            | RegistryError::Status { .. }
    )
}

async fn by_search(
    repository: &Repository<'_>,
    name: &str,
    term: &str,
    limit: usize,
) -> Result<Vec<SearchResult>, PullError> {
    let mut results: Vec<SearchResult> = Vec::new();
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
        let found = found.results.unwrap_or_default();
        let before = results.len();
        for repository in found.into_iter().filter_map(FoundRepository::check) {
            // some give every page the same answer
            if !results.iter().any(|known| known.name == repository.name) {
                results.push(repository);
            }
        }
        if results.len() == before {
            break;
        }
    }
    results.truncate(limit);
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
        results.extend(
            found
                .filter(|name| name.contains(term) && is_name(name))
                .map(|name| SearchResult {
                    name,
                    description: String::new(),
                    stars: 0,
                    official: false,
                }),
        );
        // a page that is followed by itself would be asked for for ever
        if results.len() >= limit || body.next.is_none() || body.next == next {
            break;
        }
        next = body.next;
    }
    results.truncate(limit);
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
