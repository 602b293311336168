//! Which tags a repository has.

use std::collections::BTreeSet;

use reqwest::Url;
use serde::Deserialize;

use super::fetch::{Errand, Repository};
use super::origin::{Origin, shown};
use super::words::shorten;
use super::{Endpoint, PullError, RegistryError, runtime};

/// No repository that anybody wants as a whole has more.
const MOST_TAGS: usize = 100_000;

/// What a page of the list is.
#[derive(Deserialize)]
struct Page {
    /// Some registries say `null` where there is none.
    tags: Option<Vec<String>>,
}

/// Every tag of the repository at `place`, in order. `name` is what errors call it; `cancelled` is
/// asked about every 20 ms.
///
/// # Errors
///
/// [`PullError`]: a list of more than 100,000 tags, or one that does not end, is refused.
pub fn tags(
    place: &Endpoint,
    name: &str,
    cancelled: &dyn Fn() -> bool,
) -> Result<Vec<String>, PullError> {
    let reference = || name.to_owned();
    let outcome = runtime::block_on(async {
        tokio::select! {
            biased;
            () = runtime::cancelled(cancelled) => {
                Err(PullError::Interrupted { reference: reference() })
            }
            outcome = all_tags(place) => outcome.map_err(|error| PullError::Registry {
                reference: reference(),
                source: Box::new(error),
            }),
        }
    });
    outcome.map_err(|source| PullError::Start {
        reference: reference(),
        what: "network client",
        source,
    })?
}

async fn all_tags(place: &Endpoint) -> Result<Vec<String>, RegistryError> {
    let errand = Errand::pull(&place.registry, &place.repository);
    let repository = Repository::connect(&errand, &place.options, &|_| {}).await?;
    let mut tags = BTreeSet::new();
    let mut next = None;
    loop {
        let (url, body) = repository.tags_page(next.as_ref()).await?;
        let page: Page =
            serde_json::from_slice(&body.bytes).map_err(|source| RegistryError::TagList {
                url: shown(&url),
                source,
            })?;
        let before = tags.len();
        tags.extend(page.tags.unwrap_or_default());
        if tags.len() > MOST_TAGS {
            let limit = MOST_TAGS as u64;
            let url = shown(&url);
            return Err(RegistryError::TooLong { url, limit });
        }
        next = match body.link.as_deref().and_then(next_page) {
            // a page without anything new would lead round in circles
            Some(link) if tags.len() > before => Some(follow(&url, link)?),
            _ => return Ok(tags.into_iter().collect()),
        };
    }
}

/// The address in `<…>; rel="next"`. Source: RFC 8288.
fn next_page(link: &str) -> Option<&str> {
    let (address, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
    let mut parameters = parameters.split(';').map(str::trim);
    parameters
        .any(|parameter| matches!(parameter, "rel=\"next\"" | "rel=next"))
        .then_some(address)
}

/// Another page of the same registry: our token is for nobody else.
fn follow(url: &Url, link: &str) -> Result<Url, RegistryError> {
    let refused = |problem| RegistryError::Redirect {
        url: shown(url),
        target: shorten(link),
        problem,
    };
    let next = url.join(link).map_err(|_| refused("that is no address"))?;
    if Origin::of(&next) != Origin::of(url) {
        return Err(refused("the next page of a list is on the same registry"));
    }
    Ok(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_where_the_link_says() {
        for (link, expected) in [
            (
                "</v2/a/tags/list?last=b&n=2>; rel=\"next\"",
                Some("/v2/a/tags/list?last=b&n=2"),
            ),
            ("<x>;rel=next", Some("x")),
            ("<x>; rel=\"prev\"", None),
            ("x; rel=\"next\"", None),
            ("", None),
        ] {
            assert_eq!(next_page(link), expected, "{link}");
        }
    }

    #[test]
    fn pages_of_other_hosts_are_not_asked_for() {
        let url: Url = "https://registry.test/v2/a/tags/list".parse().unwrap();
        assert!(follow(&url, "/v2/a/tags/list?last=b").is_ok());
        for link in [
            "https://other.test/x",
            "http://registry.test/x",
            "//other.test/",
            "file:///x",
        ] {
            assert!(follow(&url, link).is_err(), "{link}");
        }
    }
}
