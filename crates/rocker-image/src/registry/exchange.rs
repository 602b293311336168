//! Exchanges with one registry: redirects, authorisation and retries around plain requests.

use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, HeaderMap, HeaderValue, LOCATION};
use reqwest::{Body, Method, Request, Response, StatusCode, Url};

use super::RegistryError;
use super::fetch::Repository;
use super::http::read_body;
use super::origin::{Origin, shown};
use super::patience::Patience;
use super::rate::allowance;
use super::redirect::{Trail, permitted};
use super::retry::{Attempts, Retry, is_rate_limit, retry_after};
use super::words::{parse_envelope, shorten};

/// How often one request may be told that its token is no good.
const MAX_CHALLENGES: u32 = 2;

/// How much of an error's body is read for the registry's own words.
pub(super) const MAX_ERROR_BYTES: u64 = 64 << 10;

/// What came of a body that can be sent only once.
pub(super) enum Sent {
    /// The registry has taken it.
    Taken(Response),
    /// It is to go there instead, all of it.
    LeadsTo(Url),
}

/// One request, to be sent as often as it takes.
pub(super) struct Exchange<'a> {
    pub(super) method: Method,
    pub(super) url: &'a Url,
    pub(super) headers: &'a HeaderMap,
    pub(super) body: Option<Bytes>,
    /// For "not found".
    pub(super) what: &'a str,
    /// The statuses that are no failure.
    pub(super) good: &'a [u16],
}

impl Repository<'_> {
    /// One successful answer (200 or 206) to a GET, with redirects followed and a challenge
    /// answered. `what` names the thing for "not found".
    pub(super) async fn get(
        &self,
        url: &Url,
        headers: &HeaderMap,
        what: &str,
        patience: &mut Patience,
    ) -> Result<Response, RegistryError> {
        let exchange = Exchange {
            method: Method::GET,
            url,
            headers,
            body: None,
            what,
            good: &[200, 206],
        };
        self.exchange(&exchange, patience).await
    }

    /// One answer with a good status, with redirects followed and a challenge answered.
    pub(super) async fn exchange(
        &self,
        exchange: &Exchange<'_>,
        patience: &mut Patience,
    ) -> Result<Response, RegistryError> {
        let mut challenges = 0;
        loop {
            let authorization = self.auth.current();
            let response = self
                .follow(exchange, authorization.header.as_ref(), patience)
                .await?;
            let challenged =
                response.status() == StatusCode::UNAUTHORIZED && self.is_ours(response.url());
            if !challenged || challenges == MAX_CHALLENGES {
                return self
                    .check_status(response, exchange.good, exchange.what, patience)
                    .await;
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

    /// Follows redirects; of a request with a body only those that leave it what it is. The
    /// authorisation goes to the registry's own origin and to no other, wherever the way leads.
    async fn follow(
        &self,
        exchange: &Exchange<'_>,
        authorization: Option<&HeaderValue>,
        patience: &mut Patience,
    ) -> Result<Response, RegistryError> {
        let mut trail = Trail::new(&self.origin, &self.insecure);
        let mut url = exchange.url.clone();
        loop {
            let mut request = Request::new(exchange.method.clone(), url.clone());
            *request.headers_mut() = exchange.headers.clone();
            if exchange.body.as_ref().is_some_and(Bytes::is_empty) {
                // some registries answer 411 to a request that does not say it has no body
                let headers = request.headers_mut();
                headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
            }
            *request.body_mut() = exchange.body.clone().map(Into::into);
            self.introduce(&mut request, authorization);
            let response = self.http.send(request, patience).await?;
            let leads_on = match exchange.body {
                None => matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308),
                Some(_) => keeps_its_body(&response),
            };
            if !leads_on {
                return Ok(response);
            }
            url = trail.next(&url, location(&response)?)?;
        }
    }

    /// Says who we are, and what else the user wants to be said, to the registry alone.
    fn introduce(&self, request: &mut Request, authorization: Option<&HeaderValue>) {
        if !self.is_ours(request.url()) {
            return;
        }
        let headers = request.headers_mut();
        self.options().headers.add_to(headers);
        if let Some(authorization) = authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
    }

    fn is_ours(&self, url: &Url) -> bool {
        Origin::of(url).as_ref() == Some(&self.origin)
    }

    async fn check_status(
        &self,
        response: Response,
        good: &[u16],
        what: &str,
        patience: &mut Patience,
    ) -> Result<Response, RegistryError> {
        let status = response.status();
        if good.contains(&status.as_u16()) {
            return Ok(response);
        }
        let retry_after = retry_after(&response);
        let allowance = allowance(response.headers());
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
                message: [message, allowance].into_iter().flatten().reduce(joined),
            },
            _ => RegistryError::Status {
                url,
                status: code,
                message,
            },
        })
    }

    /// The same, as often as it takes.
    pub(super) async fn insist(&self, exchange: &Exchange<'_>) -> Result<Response, RegistryError> {
        let mut attempts = Attempts::new(self.options().retry);
        let mut patience = Patience::new(self.options().timeouts);
        loop {
            let error = match self.exchange(exchange, &mut patience).await {
                Ok(response) => return Ok(response),
                Err(error) if patience.is_exhausted() => return Err(error),
                Err(error) => error,
            };
            let Some(delay) = attempts.delay(&error) else {
                return Err(error);
            };
            self.announce_retry(exchange.url, &error, delay);
            tokio::time::sleep(delay).await;
        }
    }

    /// Sends a body that can be sent only once. A challenge is answered, for the next attempt,
    /// and is a failure that may pass.
    pub(super) async fn send_stream(
        &self,
        (method, url): (&Method, &Url),
        headers: HeaderMap,
        body: Body,
        patience: &mut Patience,
    ) -> Result<Sent, RegistryError> {
        let authorization = self.auth.current();
        let mut request = Request::new(method.clone(), url.clone());
        *request.headers_mut() = headers;
        *request.body_mut() = Some(body);
        self.introduce(&mut request, authorization.header.as_ref());
        let response = self.http.send(request, patience).await?;
        if response.status() == StatusCode::UNAUTHORIZED && self.is_ours(response.url()) {
            let url = shown(response.url());
            let head = response.headers().clone();
            drop(response);
            self.auth
                .answer(&self.http, &head, &authorization, patience)
                .await?;
            return Err(RegistryError::Reauthorised { url });
        }
        if keeps_its_body(&response) {
            return self.place(&response).map(Sent::LeadsTo);
        }
        self.check_status(response, &[202], "the upload", patience)
            .await
            .map(Sent::Taken)
    }

    /// Where an answer says that an upload goes on.
    pub(super) fn place(&self, response: &Response) -> Result<Url, RegistryError> {
        let location = location(response)?;
        permitted(&self.origin, &self.insecure, response.url(), location)
    }

    /// Tells the listener that something will be tried again.
    pub(super) fn announce_retry(&self, url: &Url, error: &RegistryError, delay: Duration) {
        let (what, cause) = (shown(url), error.to_string());
        tracing::debug!(what, cause, ?delay, "retrying");
        (self.on_retry)(Retry {
            what: &what,
            cause: &cause,
            delay,
        });
    }
}

/// Whether a request is to be made elsewhere with the method and the body that it has.
///
/// Source: RFC 9110, 15.4.8 and 15.4.9.
fn keeps_its_body(response: &Response) -> bool {
    matches!(response.status().as_u16(), 307 | 308)
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

fn joined(first: String, second: String) -> String {
    format!("{first}; {second}")
}
