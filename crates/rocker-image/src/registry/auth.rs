//! Answering a registry's `401`.
//!
//! A registry says what it wants in `WWW-Authenticate`: the credentials themselves (Basic),
//! or a token from a service that it names (Bearer). Nothing is sent before it was asked
//! for. One token serves all requests of a pull; when it expires, the first request that
//! is told so gets a new one and the others wait for it.
//!
//! Source: distribution `docs/spec/auth/token.md`, `docs/spec/auth/oauth.md`; RFC 9110, 11.

use std::cell::{Cell, RefCell};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use reqwest::{Method, Request, Response, StatusCode, Url};
use serde::Deserialize;

use super::challenge::{Challenge, choose_challenge};
use super::http::{HttpClient, read_body};
use super::origin::{InsecureHosts, Origin, shown};
use super::patience::Patience;
use super::redirect::forbidden_reach;
use super::retry::{is_rate_limit, retry_after};
use super::words::shorten;
use super::{Credential, RegistryError};

/// The largest answer of a token service, in bytes. Real ones are a few KiB.
const MAX_TOKEN_BYTES: u64 = 1 << 20;

/// Who we are at one registry, and what we want there.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    pub(super) registry: String,
    pub(super) repository: String,
    /// What to ask a token service for, whatever a challenge says. The first is what cannot be
    /// done without.
    pub(super) scopes: Vec<String>,
    pub(super) credential: Option<Credential>,
}

/// Proves who we are, in the way that the registry wants it.
#[derive(Debug)]
pub(super) struct Authenticator {
    origin: Origin,
    identity: Identity,
    insecure: InsecureHosts,
    current: RefCell<Authorization>,
    /// A token service refused all scopes for the sake of one that we can do without.
    is_strict: Cell<bool>,
    /// Held while a token is fetched, so that requests that run side by side fetch one.
    refreshing: tokio::sync::Mutex<()>,
}

/// The header that requests carry, and how many there were before it.
#[derive(Clone, Debug, Default)]
pub(super) struct Authorization {
    pub(super) header: Option<HeaderValue>,
    generation: u32,
}

impl Authenticator {
    pub(super) fn new(origin: Origin, identity: Identity, insecure: InsecureHosts) -> Self {
        let header = match &identity.credential {
            Some(Credential::Bearer(token)) => secret(format!("Bearer {token}")),
            Some(Credential::Basic { .. } | Credential::Identity(_)) | None => None,
        };
        Self {
            origin,
            identity,
            insecure,
            current: RefCell::new(Authorization {
                header,
                generation: 0,
            }),
            is_strict: Cell::new(false),
            refreshing: tokio::sync::Mutex::default(),
        }
    }

    /// What to send to the registry now.
    pub(super) fn current(&self) -> Authorization {
        self.current.borrow().clone()
    }

    /// Whether we have something to show.
    pub(super) const fn has_credential(&self) -> bool {
        self.identity.credential.is_some()
    }

    /// Answers the challenge in `headers`, which a request got that carried `used`.
    /// Afterwards [`current`](Self::current) is worth another try.
    ///
    /// # Errors
    ///
    /// There is no answer, or the registry has refused this one already.
    pub(super) async fn answer(
        &self,
        http: &HttpClient,
        headers: &HeaderMap,
        used: &Authorization,
        patience: &mut Patience,
    ) -> Result<(), RegistryError> {
        let _one_at_a_time = self.refreshing.lock().await;
        if self.current.borrow().generation != used.generation {
            return Ok(());
        }
        let header = match self.challenge(headers)? {
            Challenge::Basic => self.basic(used)?,
            Challenge::Bearer { realm, service } => {
                self.token(http, &realm, service.as_deref(), patience)
                    .await?
            }
        };
        let mut current = self.current.borrow_mut();
        current.header = Some(header);
        current.generation += 1;
        Ok(())
    }

    fn challenge(&self, headers: &HeaderMap) -> Result<Challenge, RegistryError> {
        let values = || {
            headers
                .get_all(WWW_AUTHENTICATE)
                .iter()
                .filter_map(|value| value.to_str().ok())
        };
        choose_challenge(values()).ok_or_else(|| RegistryError::Challenge {
            registry: self.identity.registry.clone(),
            challenge: shorten(&values().collect::<Vec<_>>().join(", ")),
        })
    }

    fn basic(&self, used: &Authorization) -> Result<HeaderValue, RegistryError> {
        match &self.identity.credential {
            Some(Credential::Basic { username, password }) if used.header.is_none() => {
                basic_header(username, password).ok_or_else(|| self.denied(None))
            }
            // none to show, or these were refused already
            Some(_) | None => Err(self.denied(None)),
        }
    }

    async fn token(
        &self,
        http: &HttpClient,
        realm: &str,
        service: Option<&str>,
        patience: &mut Patience,
    ) -> Result<HeaderValue, RegistryError> {
        let url = self.realm_url(realm)?;
        let shown_realm = shown(&url);
        let wrap = |source| RegistryError::Token {
            realm: shown_realm.clone(),
            source: Box::new(source),
        };
        let ask = async |patience: &mut Patience| {
            let answer = self.ask_for_token(http, url.clone(), service, patience);
            answer.await.map_err(wrap)
        };
        let mut response = ask(patience).await?;
        let is_refusal = response.status().is_client_error()
            && response.status() != StatusCode::TOO_MANY_REQUESTS;
        if is_refusal && self.scopes().len() > 1 {
            self.is_strict.set(true);
            response = ask(patience).await?;
        }
        if matches!(
            response.status(),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN
        ) {
            return Err(self.denied(Some(response.status())));
        }
        if !response.status().is_success() {
            return Err(wrap(self.token_failure(&response, shown_realm.clone())));
        }
        let body = read_body(response, MAX_TOKEN_BYTES, patience)
            .await
            .map_err(wrap)?;
        let token = parse_token(&body).map_err(|source| RegistryError::TokenSyntax {
            realm: shown_realm.clone(),
            source,
        })?;
        secret(format!("Bearer {token}")).ok_or(RegistryError::TokenSyntax {
            realm: shown_realm,
            source: None,
        })
    }

    /// Asks for the rights that the errand needs, whatever the challenge's `scope` says: a
    /// registry has no business in making us ask for more.
    async fn ask_for_token(
        &self,
        http: &HttpClient,
        mut url: Url,
        service: Option<&str>,
        patience: &mut Patience,
    ) -> Result<Response, RegistryError> {
        let scopes = self.scopes();
        let mut parameters: Vec<_> = scopes.iter().map(|s| ("scope", s.as_str())).collect();
        let together = scopes.join(" ");
        parameters.extend(service.map(|service| ("service", service)));
        if let Some(Credential::Identity(refresh)) = &self.identity.credential {
            // the one form takes them all in one
            parameters.retain(|(name, _)| *name != "scope");
            if !together.is_empty() {
                parameters.insert(0, ("scope", &together));
            }
            parameters.extend([
                ("grant_type", "refresh_token"),
                ("client_id", "rocker"),
                ("refresh_token", refresh),
            ]);
            let mut request = Request::new(Method::POST, url);
            let form = HeaderValue::from_static("application/x-www-form-urlencoded");
            request.headers_mut().insert(CONTENT_TYPE, form);
            *request.body_mut() = Some(form_body(&parameters).into());
            return http.send(request, patience).await;
        }
        let basic = match &self.identity.credential {
            Some(Credential::Basic { username, password }) => {
                parameters.push(("account", username));
                basic_header(username, password)
            }
            Some(Credential::Identity(_) | Credential::Bearer(_)) | None => None,
        };
        url.query_pairs_mut().extend_pairs(&parameters);
        let mut request = Request::new(Method::GET, url);
        if let Some(basic) = basic {
            request.headers_mut().insert(AUTHORIZATION, basic);
        }
        http.send(request, patience).await
    }

    fn scopes(&self) -> &[String] {
        let all = self.identity.scopes.as_slice();
        match self.is_strict.get() {
            true => all.get(..1).unwrap_or(all),
            false => all,
        }
    }

    /// The token service must be on https, or on the very host of a registry that may be
    /// spoken to in plain HTTP: credentials go there.
    fn realm_url(&self, realm: &str) -> Result<Url, RegistryError> {
        let refuse = |problem| RegistryError::Realm {
            registry: self.identity.registry.clone(),
            realm: Url::parse(realm).map_or_else(|_| shorten(realm), |url| shown(&url)),
            problem,
        };
        let url = Url::parse(realm).map_err(|_| refuse("that is not a URL"))?;
        let Some(target) = Origin::of(&url) else {
            return Err(refuse("only http and https are spoken"));
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(refuse("it must not bring credentials along"));
        }
        if !target.secure && (self.origin.secure || target.host != self.origin.host) {
            return Err(refuse("credentials go over https only"));
        }
        forbidden_reach(&self.origin, &target, &self.insecure)
            .map_or(Ok(url), |problem| Err(refuse(problem)))
    }

    fn token_failure(&self, response: &Response, url: String) -> RegistryError {
        let (status, retry_after) = (response.status().as_u16(), retry_after(response));
        let message = None;
        if is_rate_limit(status, retry_after) {
            return RegistryError::RateLimited {
                registry: self.identity.registry.clone(),
                status,
                retry_after,
                authenticated: self.has_credential(),
                message,
            };
        }
        RegistryError::Status {
            url,
            status,
            message,
        }
    }

    fn denied(&self, status: Option<StatusCode>) -> RegistryError {
        RegistryError::Denied {
            registry: self.identity.registry.clone(),
            repository: self.identity.repository.clone(),
            status: status.unwrap_or(StatusCode::UNAUTHORIZED).as_u16(),
            authenticated: self.has_credential(),
            message: None,
        }
    }
}

/// What the fuzz target `challenge` reads; see [`super::token_service`].
#[cfg(any(test, fuzzing))]
pub(super) fn token_service(header: &str) -> Option<String> {
    let origin = Origin::of(&Url::parse("https://registry.example/").ok()?)?;
    let identity = Identity {
        registry: "registry.example".to_owned(),
        repository: "app".to_owned(),
        scopes: Vec::new(),
        credential: None,
    };
    match choose_challenge(std::iter::once(header))? {
        Challenge::Basic => None,
        Challenge::Bearer { realm, .. } => {
            let asked = Authenticator::new(origin, identity, InsecureHosts::default());
            asked.realm_url(&realm).ok().map(Into::into)
        }
    }
}

/// Takes the token out of a token service's answer.
fn parse_token(body: &[u8]) -> Result<String, Option<serde_json::Error>> {
    #[derive(Deserialize)]
    struct Answer {
        token: Option<String>,
        access_token: Option<String>,
    }
    let answer: Answer = serde_json::from_slice(body).map_err(Some)?;
    let token = answer
        .token
        .filter(|token| !token.is_empty())
        .or(answer.access_token);
    token.filter(|token| !token.is_empty()).ok_or(None)
}

fn basic_header(username: &str, password: &str) -> Option<HeaderValue> {
    secret(format!(
        "Basic {}",
        STANDARD.encode(format!("{username}:{password}"))
    ))
}

/// A header value that no debug output shows; `None` for bytes that no header may have.
fn secret(value: String) -> Option<HeaderValue> {
    let mut value = HeaderValue::try_from(value).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn form_body(parameters: &[(&str, &str)]) -> String {
    // only the URL type offers this encoding without another dependency
    let mut url = Url::parse("http://form/").ok();
    if let Some(url) = &mut url {
        url.query_pairs_mut().extend_pairs(parameters);
    }
    url.as_ref()
        .and_then(Url::query)
        .unwrap_or_default()
        .to_owned()
}

#[cfg(test)]
mod tests;
