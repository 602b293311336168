//! One HTTP exchange at a time: no redirects, no retries, no credentials of its own.

use std::cell::OnceCell;

use reqwest::header::{ACCEPT_ENCODING, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, Request, Response, Url};

use super::origin::{Origin, Reach, shown};
use super::patience::Patience;
use super::{Certificates, RegistryError, RegistryOptions, TlsPolicy, proxy, tls};

/// The connections of one pull.
///
/// There are clients of several kinds, each made when it is first used: for a registry on
/// loopback no certificate is ever read, and no proxy is ever asked. All speak HTTP/1.1
/// only, where each layer has a connection of its own, so that one layer's back-pressure
/// never holds another one up.
#[derive(Debug)]
pub(super) struct HttpClient {
    options: RegistryOptions,
    /// The registry's host: what the options say about certificates is about it alone.
    home: String,
    clients: [OnceCell<Client>; 8],
}

/// What sets one client apart from another.
#[derive(Clone, Copy, Debug)]
struct ClientKind {
    secure: bool,
    loopback: bool,
    home: bool,
}

impl ClientKind {
    fn of(url: &Url, home: &str) -> Self {
        let origin = Origin::of(url);
        let host = origin.as_ref().map(|origin| origin.host.as_str());
        Self {
            loopback: host.is_some_and(|host| Reach::of(host) == Reach::Loopback),
            home: host == Some(home),
            secure: origin.is_some_and(|origin| origin.secure),
        }
    }

    fn index(self) -> usize {
        usize::from(self.secure) * 4 + usize::from(self.loopback) * 2 + usize::from(self.home)
    }
}

impl HttpClient {
    /// Clients for what starts at `registry`.
    pub(super) fn new(options: RegistryOptions, registry: &Origin) -> Self {
        Self {
            options,
            home: registry.host.clone(),
            clients: [const { OnceCell::new() }; 8],
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
        let kind = ClientKind::of(url, &self.home);
        let cell = &self.clients[kind.index()];
        if let Some(client) = cell.get() {
            return Ok(client);
        }
        let client = self.build(kind)?;
        Ok(cell.get_or_init(|| client))
    }

    fn build(&self, kind: ClientKind) -> Result<Client, RegistryError> {
        let RegistryOptions {
            extra_roots,
            certificates,
            tls,
            ..
        } = &self.options;
        let tls = match kind {
            ClientKind { secure: false, .. } => tls::trust_nobody()?,
            ClientKind { home: false, .. } => {
                tls::trust_system(extra_roots, &Certificates::default())?
            }
            ClientKind { .. } if *tls == TlsPolicy::Unverified => tls::trust_anybody(certificates)?,
            ClientKind { .. } => tls::trust_system(extra_roots, certificates)?,
        };
        let mut builder = Client::builder()
            .tls_backend_preconfigured(tls)
            .http1_only()
            .redirect(Policy::none())
            .referer(false)
            .retry(reqwest::retry::never())
            .user_agent(concat!("rocker/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(self.options.timeouts.connect)
            .tcp_nodelay(true);
        if kind.loopback || proxy::is_unwanted() {
            // HTTP_PROXY is about other machines
            builder = builder.no_proxy();
        } else {
            proxy::check_environment()?;
        }
        let client = builder.build();
        client.map_err(|source| RegistryError::TlsSetup {
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
