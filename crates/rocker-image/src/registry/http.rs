//! One HTTP exchange at a time: no redirects, no retries, no credentials of its own.

use std::cell::OnceCell;

use reqwest::header::{ACCEPT_ENCODING, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, Request, Response, Url};
use rustls::ClientConfig;

use super::origin::{Origin, shown};
use super::patience::Patience;
use super::{RegistryError, RegistryOptions, tls};

/// The connections of one pull.
///
/// Plain HTTP and https have a client each, both made when first used: for a registry on
/// loopback no certificate is ever read. Both speak HTTP/1.1 only, where each layer has a
/// connection of its own, so that one layer's back-pressure never holds another one up.
#[derive(Debug)]
pub(super) struct HttpClient {
    options: RegistryOptions,
    plain: OnceCell<Client>,
    secure: OnceCell<Client>,
}

impl HttpClient {
    pub(super) const fn new(options: RegistryOptions) -> Self {
        Self {
            options,
            plain: OnceCell::new(),
            secure: OnceCell::new(),
        }
    }

    pub(super) const fn options(&self) -> &RegistryOptions {
        &self.options
    }

    /// Sends one request and waits for the head of the answer, whatever its status.
    pub(super) async fn send(
        &self,
        mut request: Request,
        patience: &mut Patience,
    ) -> Result<Response, RegistryError> {
        let url = request.url().clone();
        // digests are of the bytes as stored; nobody may pack them for the journey
        let identity = HeaderValue::from_static("identity");
        request.headers_mut().insert(ACCEPT_ENCODING, identity);
        let answer = self.client(&url)?.execute(request);
        let answer = patience.head(&shown(&url), answer).await?;
        answer.map_err(|source| failure(&url, source))
    }

    fn client(&self, url: &Url) -> Result<&Client, RegistryError> {
        let (cell, secure) = match url.scheme() {
            "https" => (&self.secure, true),
            _ => (&self.plain, false),
        };
        if let Some(client) = cell.get() {
            return Ok(client);
        }
        let tls = if secure {
            tls::trust_system(&self.options.extra_roots)?
        } else {
            tls::trust_nobody()?
        };
        let client = self.build(tls)?;
        Ok(cell.get_or_init(|| client))
    }

    fn build(&self, tls: ClientConfig) -> Result<Client, RegistryError> {
        let builder = Client::builder()
            .tls_backend_preconfigured(tls)
            .http1_only()
            .redirect(Policy::none())
            .referer(false)
            .retry(reqwest::retry::never())
            .user_agent(concat!("rocker/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(self.options.timeouts.connect)
            .tcp_nodelay(true);
        builder.build().map_err(|source| RegistryError::TlsSetup {
            source: Box::new(source),
        })
    }
}

/// Sorts a failure of reqwest; its own texts have URLs with queries, ours have not.
fn failure(url: &Url, source: reqwest::Error) -> RegistryError {
    let is_connect = source.is_connect();
    let source = source.without_url();
    match Origin::of(url) {
        Some(origin) if is_connect => RegistryError::Connect {
            origin: origin.to_string(),
            source,
        },
        _ => RegistryError::Transport {
            url: shown(url),
            source,
        },
    }
}

/// Reads a body of at most `limit` bytes.
pub(super) async fn read_body(
    mut response: Response,
    limit: u64,
    patience: &mut Patience,
) -> Result<Vec<u8>, RegistryError> {
    let url = shown(response.url());
    let announced = response.content_length();
    if announced.is_some_and(|length| length > limit) {
        return Err(RegistryError::TooLong { url, limit });
    }
    let mut body = Vec::new();
    loop {
        let piece = patience.piece(&url, response.chunk()).await?;
        let piece = piece.map_err(|source| RegistryError::Transport {
            url: url.clone(),
            source: source.without_url(),
        })?;
        let Some(piece) = piece else { return Ok(body) };
        patience.progress(piece.len() as u64);
        if body.len() as u64 + piece.len() as u64 > limit {
            return Err(RegistryError::TooLong { url, limit });
        }
        body.extend_from_slice(&piece);
    }
}
