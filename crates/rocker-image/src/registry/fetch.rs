//! The client of one repository: where it is, who we are there, and its documents.

use std::cell::Cell;

use reqwest::header::{ACCEPT, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue, LINK};
use reqwest::{Method, Request, Url};
use rocker_types::Digest;

use super::auth::{Authenticator, Identity};
use super::cause::ConnectCause;
use super::exchange::MAX_ERROR_BYTES;
use super::http::{HttpClient, read_body};
use super::origin::{InsecureHosts, Origin, base_url, shown};
use super::patience::Patience;
use super::retry::{Attempts, Retry};
use super::words::shorten;
use super::{RegistryError, RegistryOptions, TlsPolicy};

/// The manifest types that we read, and no others: some registries convert to what is
/// accepted.
const ACCEPTED: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json";

/// The largest page of a list.
const PAGE_BYTES: u64 = 4 << 20;

/// One repository at one registry.
pub(super) struct Repository<'a> {
    pub(super) http: HttpClient,
    base: Url,
    pub(super) origin: Origin,
    pub(super) insecure: InsecureHosts,
    pub(super) auth: Authenticator,
    pub(super) registry: String,
    pub(super) name: String,
    pub(super) on_retry: &'a dyn Fn(Retry<'_>),
    /// How many blobs are being fetched.
    transfers: Cell<usize>,
}

/// One of the blobs that are being fetched.
pub(super) struct InFlight<'a>(&'a Cell<usize>);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.update(|transfers| transfers - 1);
    }
}

/// What is to be done where.
#[derive(Clone, Debug)]
pub(super) struct Errand<'a> {
    /// `HOST[:PORT]` as image references have it.
    pub(super) registry: &'a str,
    /// The repository; empty if it is about the registry itself.
    pub(super) repository: &'a str,
    /// What to ask a token service for.
    pub(super) scopes: Vec<String>,
}

impl<'a> Errand<'a> {
    /// Reading what is in a repository.
    pub(super) fn pull(registry: &'a str, repository: &'a str) -> Self {
        Self {
            registry,
            repository,
            scopes: vec![pull_scope(repository)],
        }
    }
}

/// The right to read a repository.
pub(super) fn pull_scope(repository: &str) -> String {
    format!("repository:{repository}:pull")
}

/// A document to fetch.
struct Wanted {
    url: Url,
    headers: HeaderMap,
    /// For "not found".
    what: String,
    /// The most bytes that it may have.
    limit: u64,
}

/// A body with what its head said about it.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) bytes: Vec<u8>,
    /// Content-Type without parameters, in lower case.
    pub(super) content_type: Option<String>,
    /// `Docker-Content-Digest`, when it is a digest.
    pub(super) digest: Option<Digest>,
    /// What stands behind the `?` of the page after this one.
    pub(super) next: Option<String>,
}

impl<'a> Repository<'a> {
    /// The repository that `errand` is about. Sends nothing, unless it has to be found out
    /// whether the registry speaks TLS.
    pub(super) async fn connect(
        errand: &Errand<'_>,
        options: &RegistryOptions,
        on_retry: &'a dyn Fn(Retry<'_>),
    ) -> Result<Self, RegistryError> {
        let repository = Self::at(errand, options, options.tls, on_retry)?;
        if options.tls != TlsPolicy::Unverified || repository.speaks_tls().await? {
            return Ok(repository);
        }
        let mut options = options.clone();
        options.insecure_hosts.push(errand.registry.to_owned());
        Self::at(errand, &options, TlsPolicy::Usual, on_retry)
    }

    fn at(
        errand: &Errand<'_>,
        options: &RegistryOptions,
        policy: TlsPolicy,
        on_retry: &'a dyn Fn(Retry<'_>),
    ) -> Result<Self, RegistryError> {
        let (registry, name) = (errand.registry, errand.repository);
        let insecure = InsecureHosts::new(&options.insecure_hosts);
        let base = base_url(registry, &insecure, policy)?;
        let origin = Origin::of(&base).ok_or_else(|| RegistryError::BadHost {
            registry: registry.to_owned(),
        })?;
        let identity = Identity {
            registry: registry.to_owned(),
            repository: name.to_owned(),
            scopes: errand.scopes.clone(),
            credential: options.credentials.find(registry, name).cloned(),
        };
        let auth = Authenticator::new(origin.clone(), identity, insecure.clone());
        Ok(Self {
            http: HttpClient::new(options.clone(), &origin),
            base,
            origin,
            insecure,
            auth,
            registry: registry.to_owned(),
            name: name.to_owned(),
            on_retry,
            transfers: Cell::new(0),
        })
    }

    /// Says that a blob is being fetched, as long as what comes back is there.
    pub(super) fn count_transfer(&self) -> InFlight<'_> {
        self.transfers.update(|transfers| transfers + 1);
        InFlight(&self.transfers)
    }

    /// How many blobs are being fetched.
    pub(super) fn transfers(&self) -> usize {
        self.transfers.get()
    }

    /// Whether the registry's end of a connection speaks TLS, with whatever certificate.
    async fn speaks_tls(&self) -> Result<bool, RegistryError> {
        let mut patience = Patience::new(self.options().timeouts);
        let request = Request::new(Method::HEAD, self.front_url()?);
        match self.http.send(request, &mut patience).await {
            Ok(_) => Ok(true),
            Err(RegistryError::Connect { source, .. })
                if matches!(
                    ConnectCause::of(&source),
                    ConnectCause::NotTls | ConnectCause::Refused
                ) =>
            {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    fn front_url(&self) -> Result<Url, RegistryError> {
        self.base.join("v2/").map_err(|_| RegistryError::BadHost {
            registry: self.registry.clone(),
        })
    }

    /// Asks for the registry's front page, which whoever may log in may see.
    pub(super) async fn front_page(&self) -> Result<(), RegistryError> {
        let wanted = Wanted {
            url: self.front_url()?,
            headers: HeaderMap::new(),
            what: "the registry's API (/v2/)".to_owned(),
            limit: MAX_ERROR_BYTES,
        };
        self.document(&wanted).await.map(drop)
    }

    pub(super) const fn options(&self) -> &RegistryOptions {
        self.http.options()
    }

    /// Fetches an index or a manifest of at most `limit` bytes by tag or digest.
    pub(super) async fn manifest(
        &self,
        reference: &str,
        limit: u64,
    ) -> Result<Body, RegistryError> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static(ACCEPTED));
        let what = match reference.parse::<Digest>() {
            Ok(digest) => format!("manifest {digest} of {}", self.name),
            Err(_) => format!("tag {reference} of {}", self.name),
        };
        let url = self.url("manifests", reference)?;
        self.document(&Wanted {
            url,
            headers,
            what,
            limit,
        })
        .await
    }

    /// Fetches a page of the list of tags: the first, or the one with this query.
    pub(super) async fn tags(&self, page: Option<String>) -> Result<Body, RegistryError> {
        let mut url = self.url("tags", "list")?;
        url.set_query(Some(page.as_deref().unwrap_or("n=100")));
        self.page(url, format!("repository {}", self.name)).await
    }

    async fn page(&self, url: Url, what: String) -> Result<Body, RegistryError> {
        let (headers, limit) = (HeaderMap::new(), PAGE_BYTES);
        self.document(&Wanted {
            url,
            headers,
            what,
            limit,
        })
        .await
    }

    /// Fetches a page of a list of the registry's own: the first, or the one with the query `next`.
    pub(super) async fn listing(
        &self,
        path: &str,
        query: &[(&str, &str)],
        next: Option<&str>,
    ) -> Result<Body, RegistryError> {
        let mut url = self.base.join(path).map_err(|_| RegistryError::BadHost {
            registry: self.registry.clone(),
        })?;
        match next {
            Some(next) => url.set_query(Some(next)),
            None => drop(url.query_pairs_mut().extend_pairs(query)),
        }
        self.page(url, format!("/{path}")).await
    }

    /// Fetches a small blob of at most `limit` bytes into memory.
    pub(super) async fn small_blob(
        &self,
        digest: &Digest,
        limit: u64,
    ) -> Result<Body, RegistryError> {
        let url = self.blob_url(digest)?;
        let (headers, what) = (HeaderMap::new(), format!("blob {digest}"));
        self.document(&Wanted {
            url,
            headers,
            what,
            limit,
        })
        .await
    }

    /// Where a blob is.
    pub(super) fn blob_url(&self, digest: &Digest) -> Result<Url, RegistryError> {
        self.url("blobs", &digest.to_string())
    }

    /// Where a manifest is.
    pub(super) fn manifest_url(&self, tag: &str) -> Result<Url, RegistryError> {
        self.url("manifests", tag)
    }

    /// Where uploads begin.
    pub(super) fn uploads_url(&self) -> Result<Url, RegistryError> {
        self.url("blobs", "uploads/")
    }

    fn url(&self, kind: &str, last: &str) -> Result<Url, RegistryError> {
        let path = format!("v2/{}/{kind}/{last}", self.name);
        self.base.join(&path).map_err(|_| RegistryError::BadHost {
            registry: self.registry.clone(),
        })
    }

    async fn document(&self, wanted: &Wanted) -> Result<Body, RegistryError> {
        let mut attempts = Attempts::new(self.options().retry);
        let mut patience = Patience::new(self.options().timeouts);
        loop {
            let error = match self.try_document(wanted, &mut patience).await {
                Ok(body) => return Ok(body),
                Err(error) if patience.is_exhausted() => return Err(error),
                Err(error) => error,
            };
            let Some(delay) = attempts.delay(&error) else {
                return Err(error);
            };
            self.announce_retry(&wanted.url, &error, delay);
            tokio::time::sleep(delay).await;
        }
    }

    async fn try_document(
        &self,
        wanted: &Wanted,
        patience: &mut Patience,
    ) -> Result<Body, RegistryError> {
        let Wanted {
            url,
            headers,
            what,
            limit,
        } = wanted;
        let response = self.get(url, headers, what, patience).await?;
        let head = response.headers().clone();
        let url = shown(response.url());
        let senseless = |header, value: &HeaderValue| RegistryError::Header {
            url: url.clone(),
            header,
            value: shorten(&String::from_utf8_lossy(value.as_bytes())),
        };
        if let Some(encoding) = head
            .get(CONTENT_ENCODING)
            .filter(|encoding| *encoding != "identity")
        {
            return Err(senseless("Content-Encoding", encoding));
        }
        let bytes = read_body(response, *limit, patience).await?;
        let text = |name| {
            head.get(name)
                .and_then(|value: &HeaderValue| value.to_str().ok())
        };
        Ok(Body {
            bytes,
            content_type: text(CONTENT_TYPE.as_str()).map(media_type),
            digest: text("docker-content-digest").and_then(|digest| digest.parse().ok()),
            next: text(LINK.as_str()).and_then(next_page),
        })
    }
}

impl std::fmt::Debug for Repository<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Repository")
            .field("base", &self.base.as_str())
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// The query of `<…?query>; rel="next"`. Its path is not heeded: the next page is of the same
/// list.
fn next_page(link: &str) -> Option<String> {
    let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
    let is_next = parameters.replace(['"', ' '], "").contains("rel=next");
    let query = target.split_once('?')?.1;
    (is_next && !query.is_empty()).then(|| query.to_owned())
}

/// A Content-Type without its parameters.
fn media_type(text: &str) -> String {
    text.split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_what_a_link_says_it_is() {
        let cases = [
            (
                r#"</v2/a/tags/list?last=x&n=3>; rel="next""#,
                Some("last=x&n=3"),
            ),
            ("<https://elsewhere/any?n=1>;rel=next", Some("n=1")),
            (r#"</v2/a/tags/list?last=x>; rel="prev""#, None),
            ("</v2/a/tags/list>; rel=next", None),
            ("/v2/a?x", None),
            ("", None),
        ];
        for (link, next) in cases {
            assert_eq!(next_page(link).as_deref(), next, "{link}");
        }
    }
}
