//! The client of one repository: redirects, authorisation and retries around plain
//! exchanges.

use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION};
use reqwest::header::{AUTHORIZATION, CONTENT_ENCODING};
use reqwest::{Method, Request, Response, StatusCode, Url};
use rocker_types::{Digest, ImageRef};

use super::auth::Authenticator;
use super::http::{HttpClient, read_body};
use super::origin::{InsecureHosts, Origin, base_url, shown};
use super::patience::Patience;
use super::redirect::Trail;
use super::retry::{Attempts, is_rate_limit, retry_after};
use super::words::{parse_envelope, shorten};
use super::{PullEvent, PullProgress, RegistryError, RegistryOptions};
use crate::document::MAX_MANIFEST_BYTES;

/// How often one request may be told that its token is no good.
const MAX_CHALLENGES: u32 = 2;

/// How much of an error's body is read for the registry's own words.
const MAX_ERROR_BYTES: u64 = 64 << 10;

/// The manifest types that we read, and no others: some registries convert to what is
/// accepted.
const ACCEPTED: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json";

/// One repository at one registry.
pub(super) struct Repository<'a> {
    http: HttpClient,
    base: Url,
    origin: Origin,
    insecure: InsecureHosts,
    auth: Authenticator,
    registry: String,
    name: String,
    progress: &'a dyn PullProgress,
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
}

impl<'a> Repository<'a> {
    /// The repository that `reference` names. Sends nothing.
    pub(super) fn new(
        reference: &ImageRef,
        options: &RegistryOptions,
        progress: &'a dyn PullProgress,
    ) -> Result<Self, RegistryError> {
        let (registry, name) = (reference.registry(), reference.repository());
        let insecure = InsecureHosts::new(&options.insecure_hosts);
        let base = base_url(registry, &insecure)?;
        let origin = Origin::of(&base).ok_or_else(|| RegistryError::BadHost {
            registry: registry.to_owned(),
        })?;
        let credential = options.credentials.find(registry, name);
        let auth = Authenticator::new(origin.clone(), registry, name, credential, insecure.clone());
        let http = HttpClient::new(options.clone());
        let (registry, name) = (registry.to_owned(), name.to_owned());
        Ok(Self {
            http,
            base,
            origin,
            insecure,
            auth,
            registry,
            name,
            progress,
        })
    }

    pub(super) const fn options(&self) -> &RegistryOptions {
        self.http.options()
    }

    /// Fetches an index or a manifest by tag or digest.
    pub(super) async fn manifest(&self, reference: &str) -> Result<Body, RegistryError> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static(ACCEPTED));
        let what = match reference.parse::<Digest>() {
            Ok(digest) => format!("manifest {digest} of {}", self.name),
            Err(_) => format!("tag {reference} of {}", self.name),
        };
        let url = self.url("manifests", reference)?;
        let limit = MAX_MANIFEST_BYTES;
        self.document(&Wanted {
            url,
            headers,
            what,
            limit,
        })
        .await
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
        })
    }

    /// Tells the listener that something will be tried again.
    pub(super) fn announce_retry(
        &self,
        url: &Url,
        error: &RegistryError,
        delay: std::time::Duration,
    ) {
        let (what, cause) = (shown(url), error.to_string());
        tracing::debug!(what, cause, ?delay, "retrying");
        self.progress.event(PullEvent::Retrying {
            what: &what,
            cause: &cause,
            delay,
        });
    }

    /// One successful answer (200 or 206) to a GET, with redirects followed and a challenge
    /// answered. `what` names the thing for "not found".
    pub(super) async fn get(
        &self,
        url: &Url,
        headers: &HeaderMap,
        what: &str,
        patience: &mut Patience,
    ) -> Result<Response, RegistryError> {
        let mut challenges = 0;
        loop {
            let authorization = self.auth.current();
            let response = self
                .follow(url, headers, authorization.header.as_ref(), patience)
                .await?;
            let challenged =
                response.status() == StatusCode::UNAUTHORIZED && self.is_ours(response.url());
            if !challenged || challenges == MAX_CHALLENGES {
                return self.check_status(response, what, patience).await;
            }
            challenges += 1;
            // the body, if any, stays unread: the connection is not worth waiting for
            let head = response.headers().clone();
            drop(response);
            self.auth
                .answer(&self.http, &head, &authorization, patience)
                .await?;
        }
    }

    /// Follows redirects. The authorisation goes to the registry's own origin and to no
    /// other, wherever the way leads.
    async fn follow(
        &self,
        url: &Url,
        headers: &HeaderMap,
        authorization: Option<&HeaderValue>,
        patience: &mut Patience,
    ) -> Result<Response, RegistryError> {
        let mut trail = Trail::new(&self.origin, &self.insecure);
        let mut url = url.clone();
        loop {
            let mut request = Request::new(Method::GET, url.clone());
            *request.headers_mut() = headers.clone();
            if let Some(authorization) = authorization.filter(|_| self.is_ours(&url)) {
                let headers = request.headers_mut();
                headers.insert(AUTHORIZATION, authorization.clone());
            }
            let response = self.http.send(request, patience).await?;
            if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
                return Ok(response);
            }
            url = trail.next(&url, location(&response)?)?;
        }
    }

    fn is_ours(&self, url: &Url) -> bool {
        Origin::of(url).as_ref() == Some(&self.origin)
    }

    async fn check_status(
        &self,
        response: Response,
        what: &str,
        patience: &mut Patience,
    ) -> Result<Response, RegistryError> {
        let status = response.status();
        if matches!(status, StatusCode::OK | StatusCode::PARTIAL_CONTENT) {
            return Ok(response);
        }
        let retry_after = retry_after(&response);
        let ours = self.is_ours(response.url());
        let url = shown(response.url());
        // an error's text is a nicety: what goes wrong while it is read is no new error
        let body = read_body(response, MAX_ERROR_BYTES, patience)
            .await
            .unwrap_or_default();
        let message = parse_envelope(&body);
        let registry = self.registry.clone();
        let authenticated = self.auth.has_credential();
        let code = status.as_u16();
        Err(match code {
            // what another host thinks of us says nothing about our credentials
            401 | 403 if ours => {
                let repository = self.name.clone();
                RegistryError::Denied {
                    registry,
                    repository,
                    status: code,
                    authenticated,
                    message,
                }
            }
            404 => RegistryError::NotFound {
                what: what.to_owned(),
                registry,
                message,
            },
            _ if is_rate_limit(code, retry_after) => RegistryError::RateLimited {
                registry,
                status: code,
                retry_after,
                authenticated,
                message,
            },
            _ => RegistryError::Status {
                url,
                status: code,
                message,
            },
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

/// A Content-Type without its parameters.
fn media_type(text: &str) -> String {
    text.split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase()
}

/// Where an answer redirects to.
fn location(response: &Response) -> Result<&str, RegistryError> {
    let value = response.headers().get(LOCATION);
    let text = value.and_then(|value| value.to_str().ok());
    text.ok_or_else(|| {
        let bytes = value.map(HeaderValue::as_bytes).unwrap_or_default();
        RegistryError::Header {
            url: shown(response.url()),
            header: "Location",
            value: shorten(&String::from_utf8_lossy(bytes)),
        }
    })
}
