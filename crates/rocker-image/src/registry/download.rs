//! A file from a web server, which need not be a registry.

use std::io::{self, Write};

use reqwest::header::LOCATION;
use reqwest::{Method, Request, Response, Url};
use rocker_types::{Diagnose, ErrorKind};

use super::error::RegistryError;
use super::http::HttpClient;
use super::origin::{InsecureHosts, Origin, shown};
use super::patience::Patience;
use super::redirect::Trail;
use super::{RegistryOptions, TlsPolicy, runtime};

/// Why a file did not come.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// The caller said so.
    #[error("the download of {url} was interrupted")]
    Interrupted {
        /// Without its query.
        url: String,
    },
    /// Not a URL of a web server.
    #[error("{url:?} is not an http or https URL")]
    Url {
        /// As it was given, shortened.
        url: String,
    },
    /// It says who we are, which everybody who reads the command line would know.
    #[error("{url} comes with a login, which is sent to nobody")]
    Login {
        /// Without login and query.
        url: String,
    },
    /// The server did not give it.
    #[error("cannot fetch {url}")]
    Server {
        /// Without its query.
        url: String,
        /// What happened.
        source: Box<RegistryError>,
    },
    /// Whoever was to take it did not.
    #[error("cannot pass on what comes from {url}")]
    Output {
        /// Without its query.
        url: String,
        /// What the receiver said.
        source: io::Error,
    },
    /// The kernel refused an epoll instance.
    #[error("cannot start the network client for {url}")]
    Start {
        /// Without its query.
        url: String,
        /// What happened.
        source: io::Error,
    },
}

impl Diagnose for DownloadError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Interrupted { .. } => ErrorKind::Interrupted,
            Self::Url { .. } | Self::Login { .. } => ErrorKind::Invalid,
            Self::Server { source, .. } => source.kind(),
            Self::Output { .. } | Self::Start { .. } => ErrorKind::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Server { source, .. } => source.hint(),
            Self::Login { .. } => {
                Some("fetch it with curl, and pipe it into rocker import -".into())
            }
            Self::Interrupted { .. }
            | Self::Url { .. }
            | Self::Output { .. }
            | Self::Start { .. } => None,
        }
    }
}

/// The server that a URL is about, as `HOST[:PORT]`.
///
/// # Errors
///
/// [`DownloadError::Url`].
pub fn server_of(url: &str) -> Result<String, DownloadError> {
    let (parsed, _) = parse(url)?;
    let host = parsed.host_str().unwrap_or_default();
    Ok(match parsed.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    })
}

fn parse(url: &str) -> Result<(Url, Origin), DownloadError> {
    let parsed = Url::parse(url).ok();
    let parsed = parsed.and_then(|url| Some((Origin::of(&url)?, url)));
    let (origin, parsed) = parsed.ok_or_else(|| DownloadError::Url {
        url: crate::document::shorten(url),
    })?;
    Ok((parsed, origin))
}

/// Fetches what is at `url` into `output`. Blocks; `cancelled` is asked about every 50 ms.
///
/// Who names an `http` URL wants plain HTTP with that host; redirects are followed by the rules
/// for registries. Of an insecure host any certificate will do. No credential is shown to anybody.
///
/// # Errors
///
/// [`DownloadError`]; `output` has a part of it then.
pub fn download(
    url: &str,
    options: &RegistryOptions,
    output: &mut dyn Write,
    cancelled: &dyn Fn() -> bool,
) -> Result<(), DownloadError> {
    let (parsed, origin) = parse(url)?;
    let url = shown(&parsed);
    if !parsed.username().is_empty() || parsed.password().is_some() {
        return Err(DownloadError::Login { url });
    }
    let fetch = async {
        tokio::select! {
            biased;
            () = runtime::cancelled(cancelled) => {
                Err(DownloadError::Interrupted { url: url.clone() })
            }
            outcome = fetch(parsed, &origin, options, output) => outcome,
        }
    };
    runtime::block_on(fetch).map_err(|source| DownloadError::Start {
        url: url.clone(),
        source,
    })?
}

async fn fetch(
    url: Url,
    origin: &Origin,
    options: &RegistryOptions,
    output: &mut dyn Write,
) -> Result<(), DownloadError> {
    let name = shown(&url);
    let failed = |source| DownloadError::Server {
        url: name.clone(),
        source: Box::new(source),
    };
    let mut options = options.clone();
    let insecure = InsecureHosts::new(&options.insecure_hosts);
    if options.tls == TlsPolicy::Usual && insecure.names(&origin.host, origin.port) {
        options.tls = TlsPolicy::Unverified;
    }
    let mut patience = Patience::new(options.timeouts);
    let http = HttpClient::new(options, origin);
    let mut response = open(&http, url, origin, &mut patience)
        .await
        .map_err(failed)?;
    let from = shown(response.url());
    let (announced, mut got) = (response.content_length(), 0);
    loop {
        let piece = patience.piece(&from, response.chunk()).await;
        let piece = piece.map_err(failed)?.map_err(|source| {
            failed(RegistryError::Transport {
                url: from.clone(),
                source: source.without_url(),
            })
        })?;
        let Some(piece) = piece else { break };
        patience.progress(piece.len() as u64);
        got += piece.len() as u64;
        let written = output.write_all(&piece);
        written.map_err(|source| DownloadError::Output {
            url: name.clone(),
            source,
        })?;
    }
    match announced.filter(|announced| *announced != got) {
        None => Ok(()),
        Some(expected) => Err(failed(RegistryError::Truncated {
            url: from,
            got,
            expected,
        })),
    }
}

/// The head of a good answer, wherever the way leads.
async fn open(
    http: &HttpClient,
    mut url: Url,
    origin: &Origin,
    patience: &mut Patience,
) -> Result<Response, RegistryError> {
    let mut hosts = http.options().insecure_hosts.clone();
    if !origin.secure {
        hosts.push(origin.host.clone());
    }
    let insecure = InsecureHosts::new(&hosts);
    let mut trail = Trail::new(origin, &insecure);
    loop {
        let request = Request::new(Method::GET, url.clone());
        let response = http.send(request, patience).await?;
        let location = response.headers().get(LOCATION);
        let location = location.and_then(|location| location.to_str().ok());
        match response.status().as_u16() {
            200 => return Ok(response),
            301 | 302 | 303 | 307 | 308 => url = trail.next(&url, location.unwrap_or_default())?,
            status => {
                return Err(RegistryError::Status {
                    url: shown(&url),
                    status,
                    message: None,
                });
            }
        }
    }
}
