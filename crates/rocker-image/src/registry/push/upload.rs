//! What a push says to a repository: what is there already, where uploads go, and what a tag
//! is to mean.
//!
//! ```text
//!   HEAD  blobs/DIGEST            there already?
//!   POST  blobs/uploads/          where to              (?mount=…&from=…: or there at once)
//!   PATCH <where>                 bytes, as they come
//!   GET   <where>                 after a failure: how many arrived?
//!   PATCH <where>                 the rest, in pieces with a Content-Range
//!   PUT   <where>?digest=DIGEST   that is all of it
//! ```
//!
//! Source: OCI distribution-spec v1.1, "Pushing blobs"; distribution `docs/spec/api.md`.

use std::cell::RefCell;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, Response, Url};
use rocker_types::Digest;

use super::manifest::Composed;
use crate::registry::RegistryError;
use crate::registry::exchange::Exchange;
use crate::registry::fetch::Repository;
use crate::registry::patience::Patience;
use crate::registry::retry::Attempts;

/// How long a registry may think about a blob that it has all bytes of. Those that keep blobs
/// at an object store copy them there.
pub(super) const ANSWER: Duration = Duration::from_secs(300);

/// How long the uploads of a push that failed may take to be cancelled.
const CANCEL: Duration = Duration::from_millis(1500);

/// What became of the wish to have a blob mounted.
#[derive(Debug)]
pub(super) enum Mount {
    /// The repository has it.
    Mounted,
    /// It is to be uploaded, to this place.
    Begun(Url),
}

/// Brings blobs to one repository.
#[derive(Debug)]
pub(super) struct Uploader<'a> {
    pub(super) repository: &'a Repository<'a>,
    /// Uploads that were begun and neither finished nor cancelled.
    open: RefCell<Vec<Url>>,
}

impl<'a> Uploader<'a> {
    pub(super) const fn new(repository: &'a Repository<'a>) -> Self {
        Self {
            repository,
            open: RefCell::new(Vec::new()),
        }
    }

    /// Whether the repository has a blob.
    pub(super) async fn has(&self, digest: &Digest) -> Result<bool, RegistryError> {
        let url = self.repository.blob_url(digest)?;
        let exchange = Exchange {
            method: Method::HEAD,
            url: &url,
            headers: &HeaderMap::new(),
            body: None,
            what: "blob",
            good: &[200, 404],
        };
        let response = self.repository.insist(&exchange).await?;
        Ok(response.status() == 200)
    }

    /// Asks the registry to take a blob from another of its repositories.
    pub(super) async fn mount(&self, digest: &Digest, from: &str) -> Result<Mount, RegistryError> {
        let mut url = self.repository.uploads_url()?;
        url.query_pairs_mut()
            .append_pair("mount", &digest.to_string())
            .append_pair("from", from);
        let response = self.post(&url).await?;
        if response.status() == 201 {
            return Ok(Mount::Mounted);
        }
        self.opened(&response).map(Mount::Begun)
    }

    pub(super) async fn begin(&self) -> Result<Url, RegistryError> {
        let response = self.post(&self.repository.uploads_url()?).await?;
        self.opened(&response)
    }

    async fn post(&self, url: &Url) -> Result<Response, RegistryError> {
        let exchange = Exchange {
            method: Method::POST,
            url,
            headers: &HeaderMap::new(),
            body: Some(Bytes::new()),
            what: "the repository",
            good: &[201, 202],
        };
        self.repository.insist(&exchange).await
    }

    pub(super) fn opened(&self, response: &Response) -> Result<Url, RegistryError> {
        let place = self.repository.place(response)?;
        self.open.borrow_mut().push(place.clone());
        Ok(place)
    }

    /// Notes that an upload has moved, or is over.
    pub(super) fn moved(&self, from: &Url, to: Option<&Url>) {
        let mut open = self.open.borrow_mut();
        open.retain(|place| place != from);
        open.extend(to.cloned());
    }

    /// Uploads a few bytes, as often as it takes.
    pub(super) async fn put_small(
        &self,
        bytes: Bytes,
        digest: &Digest,
    ) -> Result<(), RegistryError> {
        let mut attempts = Attempts::new(self.repository.options().retry);
        loop {
            let place = self.begin().await?;
            let Err(error) = self.put(&place, bytes.clone(), digest).await else {
                return Ok(());
            };
            let Some(delay) = attempts.delay(&error) else {
                return Err(error);
            };
            self.repository.announce_retry(&place, &error, delay);
            tokio::time::sleep(delay).await;
            // the answer may be all that got lost
            if self.has(digest).await? {
                self.moved(&place, None);
                return Ok(());
            }
            self.cancel(&place).await;
        }
    }

    /// Finishes an upload with its last bytes.
    pub(super) async fn put(
        &self,
        place: &Url,
        bytes: Bytes,
        digest: &Digest,
    ) -> Result<(), RegistryError> {
        let mut url = place.clone();
        url.query_pairs_mut()
            .append_pair("digest", &digest.to_string());
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, octets());
        let exchange = Exchange {
            method: Method::PUT,
            url: &url,
            headers: &headers,
            body: Some(bytes),
            what: "the upload",
            good: &[201],
        };
        let mut patience = Patience::new(crate::registry::Timeouts {
            no_progress: ANSWER,
            ..self.repository.options().timeouts
        });
        self.repository.exchange(&exchange, &mut patience).await?;
        self.moved(place, None);
        Ok(())
    }

    /// Gives the repository's tag its new meaning.
    pub(super) async fn put_manifest(
        &self,
        tag: &str,
        manifest: &Composed,
    ) -> Result<(), RegistryError> {
        let url = self.repository.manifest_url(tag)?;
        let mut headers = HeaderMap::new();
        if let Ok(media_type) = HeaderValue::from_str(&manifest.media_type) {
            headers.insert(CONTENT_TYPE, media_type);
        }
        let exchange = Exchange {
            method: Method::PUT,
            url: &url,
            headers: &headers,
            body: Some(manifest.bytes.clone()),
            what: "the repository",
            good: &[200, 201, 202],
        };
        self.repository.insist(&exchange).await.map(drop)
    }

    /// Tells the registry that an upload will not be finished.
    pub(super) async fn cancel(&self, place: &Url) {
        let exchange = Exchange {
            method: Method::DELETE,
            url: place,
            headers: &HeaderMap::new(),
            body: None,
            what: "the upload",
            good: &[202, 204, 404],
        };
        let mut patience = Patience::new(self.repository.options().timeouts);
        // registries forget what nobody finishes; this only makes it sooner
        let _ = self.repository.exchange(&exchange, &mut patience).await;
        self.moved(place, None);
    }

    /// The same for all uploads that are open.
    pub(super) async fn cancel_all(&self) {
        let cancel = async {
            loop {
                let Some(place) = self.open.borrow().last().cloned() else {
                    return;
                };
                self.cancel(&place).await;
            }
        };
        // whoever pressed Ctrl-C does not wait for a network
        let _ = tokio::time::timeout(CANCEL, cancel).await;
    }
}

pub(super) fn octets() -> HeaderValue {
    HeaderValue::from_static("application/octet-stream")
}
