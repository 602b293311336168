use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::{Bytes, Incoming};
use hyper::header::{
    ACCEPT, ACCEPT_RANGES, AUTHORIZATION, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderName,
    HeaderValue, IF_RANGE, LOCATION, RANGE, RETRY_AFTER, WWW_AUTHENTICATE,
};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::sync::oneshot;

use super::body::{End, ServedBody};
use super::fault::Action;
use super::{Auth, RequestRecord, Shared};
use crate::image::sha256;

/// Serves until `stopped` fires. Runs on a thread of its own with a runtime of its own.
pub(super) fn run(listener: TcpListener, shared: Arc<Shared>, stopped: oneshot::Receiver<()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime for the test registry");
    runtime.block_on(async {
        tokio::select! {
            () = accept(listener, shared) => {}
            // An error means that the registry's handle is gone: stop as well.
            _ = stopped => {}
        }
    });
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    listener
        .set_nonblocking(true)
        .expect("a non-blocking listener");
    let listener = tokio::net::TcpListener::from_std(listener).expect("a listener in the runtime");
    loop {
        let (stream, _) = listener.accept().await.expect("accept on loopback");
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(Arc::clone(&shared), request));
            // A client that goes away, or a fault that cuts the connection, ends here with an error.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

type Answer = Response<ServedBody>;

async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> io::Result<Answer> {
    let path = request
        .uri()
        .path_and_query()
        .map_or_else(String::new, ToString::to_string);
    let action = take_fault(&shared, &path);
    let result = match action {
        Some(action) => misbehave(&shared, &request, action).await,
        None => Ok(behave(&shared, &request, Leniency::default())),
    };
    let status = result.as_ref().map_or(0, |answer| answer.status().as_u16());
    shared
        .content()
        .requests
        .push(record(&request, path, status));
    result
}

fn record(request: &Request<Incoming>, path: String, status: u16) -> RequestRecord {
    let accept: Vec<_> = request
        .headers()
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .collect();
    RequestRecord {
        method: request.method().to_string(),
        path,
        authorization: header(request, AUTHORIZATION).map(str::to_owned),
        range: header(request, RANGE).map(str::to_owned),
        accept: accept.join(","),
        status,
    }
}

fn header(request: &Request<Incoming>, name: HeaderName) -> Option<&str> {
    request
        .headers()
        .get(name)
        .and_then(|value| value.to_str().ok())
}

fn take_fault(shared: &Shared, path: &str) -> Option<Action> {
    let mut content = shared.content();
    let fault = content
        .faults
        .iter_mut()
        .find(|fault| fault.left > 0 && fault.on.matches(path))?;
    fault.left -= 1;
    Some(fault.action.clone())
}

/// Parts of the right answer that a fault switches off.
#[derive(Clone, Copy, Debug, Default)]
struct Leniency {
    ignore_range: bool,
}

async fn misbehave(
    shared: &Shared,
    request: &Request<Incoming>,
    action: Action,
) -> io::Result<Answer> {
    let right = || behave(shared, request, Leniency::default());
    Ok(match action {
        Action::Status(status) => error(status, "FAULT", "the test asked for this"),
        Action::RetryAfter { status, seconds } => with_header(
            error(status, "TOOMANYREQUESTS", "slow down"),
            RETRY_AFTER,
            &seconds.to_string(),
        ),
        Action::Answer {
            status,
            content_type,
            body,
        } => with_header(respond(status, body.into()), CONTENT_TYPE, &content_type),
        Action::Redirect(location) => with_header(respond(307, Bytes::new()), LOCATION, &location),
        Action::Hangup => return Err(io::Error::other("the test asked for a closed connection")),
        Action::CutAfter(bytes) => right().map(|body| body.end(End::CutAfter(bytes))),
        Action::StallAfter(bytes) => right().map(|body| body.end(End::StallAfter(bytes))),
        Action::Delay(time) => delayed(time, right()).await,
        Action::Throttle(rate) => right().map(|body| body.throttle(rate)),
        Action::FlipByte => rewritten(right(), |bytes| flip_middle_byte(bytes)),
        Action::Shorten(by) => rewritten(right(), |bytes| {
            bytes.truncate(bytes.len().saturating_sub(by))
        }),
        Action::Lengthen(by) => rewritten(right(), |bytes| bytes.resize(bytes.len() + by, 0)),
        Action::ContentType(value) => with_header(right(), CONTENT_TYPE, &value),
        Action::DigestHeader(value) => with_header(right(), DIGEST.clone(), &value),
        Action::IgnoreRange => behave(shared, request, Leniency { ignore_range: true }),
        Action::Chunked => right().map(ServedBody::chunked),
    })
}

async fn delayed(time: Duration, answer: Answer) -> Answer {
    tokio::time::sleep(time).await;
    answer
}

fn rewritten(answer: Answer, change: impl FnOnce(&mut Vec<u8>)) -> Answer {
    answer.map(|body| {
        let mut bytes = body.into_bytes().to_vec();
        change(&mut bytes);
        ServedBody::new(bytes.into())
    })
}

fn flip_middle_byte(bytes: &mut [u8]) {
    let middle = bytes.len() / 2;
    if let Some(byte) = bytes.get_mut(middle) {
        *byte ^= 0x01;
    }
}

static DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

fn behave(shared: &Shared, request: &Request<Incoming>, leniency: Leniency) -> Answer {
    let path = request.uri().path();
    if path == "/token" {
        return token(shared, request);
    }
    if let Some(refusal) = refuse(shared, request) {
        return refusal;
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return error(405, "UNSUPPORTED", "this registry only serves");
    }
    let Some(rest) = path.strip_prefix("/v2/") else {
        return error(404, "NOT_FOUND", "no such page");
    };
    if rest.is_empty() {
        return with_header(
            respond(200, Bytes::from_static(b"{}")),
            CONTENT_TYPE,
            "application/json",
        );
    }
    if let Some((repository, reference)) = rest.split_once("/manifests/") {
        return manifest(shared, repository, reference);
    }
    if let Some((repository, digest)) = rest.split_once("/blobs/") {
        return blob(shared, request, (repository, digest), leniency);
    }
    error(404, "NOT_FOUND", "no such endpoint")
}

fn manifest(shared: &Shared, repository: &str, reference: &str) -> Answer {
    let content = shared.content();
    let Some(found) = content.repositories.get(repository) else {
        return error(404, "NAME_UNKNOWN", "repository name not known to registry");
    };
    let digest = found.tags.get(reference).map_or(reference, String::as_str);
    let Some(manifest) = found.manifests.get(digest) else {
        return error(404, "MANIFEST_UNKNOWN", "manifest unknown");
    };
    let answer = with_header(
        respond(200, manifest.bytes.clone()),
        CONTENT_TYPE,
        &manifest.media_type,
    );
    with_header(answer, DIGEST.clone(), &manifest.digest)
}

fn blob(
    shared: &Shared,
    request: &Request<Incoming>,
    name: (&str, &str),
    leniency: Leniency,
) -> Answer {
    let (repository, digest) = name;
    let content = shared.content();
    let Some(blob) = content
        .repositories
        .get(repository)
        .and_then(|found| found.blobs.get(digest))
    else {
        return error(404, "BLOB_UNKNOWN", "blob unknown to registry");
    };
    let answer = match wanted_range(request, digest, blob.bytes.len()) {
        Some(start) if !leniency.ignore_range => {
            let range = format!(
                "bytes {start}-{}/{}",
                blob.bytes.len() - 1,
                blob.bytes.len()
            );
            with_header(
                respond(206, blob.bytes.slice(start..)),
                CONTENT_RANGE,
                &range,
            )
        }
        Some(_) | None => respond(200, blob.bytes.clone()),
    };
    let answer = with_header(answer, CONTENT_TYPE, "application/octet-stream");
    let answer = with_header(answer, ACCEPT_RANGES, "bytes");
    let answer = with_header(answer, ETAG, &format!("\"{digest}\""));
    with_header(answer, DIGEST.clone(), digest)
}

/// Where `Range: bytes=N-` wants the answer to start; `None` for no range, one that another
/// `If-Range` rules out, or a form that clients of a registry do not use.
fn wanted_range(request: &Request<Incoming>, digest: &str, len: usize) -> Option<usize> {
    if header(request, IF_RANGE).is_some_and(|etag| etag.trim_matches('"') != digest) {
        return None;
    }
    let start = header(request, RANGE)?
        .strip_prefix("bytes=")?
        .split('-')
        .next()?
        .parse()
        .ok()?;
    (start < len).then_some(start)
}

/// `None` if the caller may go on, else the 401.
fn refuse(shared: &Shared, request: &Request<Incoming>) -> Option<Answer> {
    let given = header(request, AUTHORIZATION);
    let challenge = match &shared.auth {
        Auth::Open => return None,
        Auth::Basic { user, password } => {
            if given == Some(&basic(user, password)) {
                return None;
            }
            "Basic realm=\"test registry\"".to_owned()
        }
        Auth::Token { .. } => {
            let scope = scope_of(request.uri().path());
            let token = given.and_then(|value| value.strip_prefix("Bearer "));
            if token.is_some_and(|token| token_is_good(shared, token, scope.as_deref())) {
                return None;
            }
            let scope = scope.map_or_else(String::new, |scope| format!(",scope=\"{scope}\""));
            format!(
                "Bearer realm=\"http://{}/token\",service=\"test-registry\"{scope}",
                shared.address
            )
        }
    };
    Some(with_header(
        error(401, "UNAUTHORIZED", "authentication required"),
        WWW_AUTHENTICATE,
        &challenge,
    ))
}

fn token_is_good(shared: &Shared, token: &str, scope: Option<&str>) -> bool {
    let content = shared.content();
    content
        .tokens
        .iter()
        .any(|(known, granted)| known == token && scope.is_none_or(|scope| scope == granted))
}

/// `repository:NAME:pull` of a manifest's or blob's path.
fn scope_of(path: &str) -> Option<String> {
    let rest = path.strip_prefix("/v2/")?;
    let (repository, _) = rest
        .split_once("/manifests/")
        .or_else(|| rest.split_once("/blobs/"))?;
    Some(format!("repository:{repository}:pull"))
}

fn token(shared: &Shared, request: &Request<Incoming>) -> Answer {
    let Auth::Token { user } = &shared.auth else {
        return error(404, "NOT_FOUND", "this registry hands out no tokens");
    };
    let wanted = user.as_ref().map(|(user, password)| basic(user, password));
    if wanted.is_some() && header(request, AUTHORIZATION) != wanted.as_deref() {
        return error(401, "UNAUTHORIZED", "wrong name or password");
    }
    let scope = request
        .uri()
        .query()
        .and_then(|query| {
            query
                .split('&')
                .find_map(|pair| pair.strip_prefix("scope="))
        })
        .map(percent_decode)
        .unwrap_or_default();
    let mut content = shared.content();
    // Looks like a token, and differs from every other one of this registry.
    let token = sha256(format!("{}{scope}{}", shared.address, content.tokens.len()).as_bytes())
        .replace(':', "-");
    content.tokens.push((token.clone(), scope));
    let document = json!({ "token": token, "access_token": token, "expires_in": 300 });
    with_header(
        respond(200, document.to_string().into()),
        CONTENT_TYPE,
        "application/json",
    )
}

fn percent_decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let escaped = (first == b'%').then(|| tail.get(..2)).flatten();
        let value =
            escaped.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        bytes.push(value.unwrap_or(first));
        rest = if value.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", base64(format!("{user}:{password}").as_bytes()))
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let group = chunk
            .iter()
            .fold(0_usize, |bits, byte| (bits << 8) | usize::from(*byte))
            << (8 * (3 - chunk.len()));
        for digit in 0..4 {
            let index = (group >> (18 - 6 * digit)) & 63;
            text.push(if digit <= chunk.len() {
                char::from(ALPHABET[index])
            } else {
                '='
            });
        }
    }
    text
}

fn respond(status: u16, bytes: Bytes) -> Answer {
    let mut answer = Response::new(ServedBody::new(bytes));
    *answer.status_mut() =
        StatusCode::from_u16(status).expect("a status that a test asks for is a valid one");
    answer
}

fn error(status: u16, code: &str, message: &str) -> Answer {
    let document = json!({ "errors": [{ "code": code, "message": message, "detail": null }] });
    with_header(
        respond(status, document.to_string().into()),
        CONTENT_TYPE,
        "application/json",
    )
}

fn with_header(mut answer: Answer, name: impl Into<HeaderName>, value: &str) -> Answer {
    let value =
        HeaderValue::from_str(value).expect("a header value that a test asks for is a valid one");
    answer.headers_mut().insert(name.into(), value);
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_pads_to_groups_of_four() {
        for (plain, coded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
        ] {
            assert_eq!(base64(plain.as_bytes()), coded, "{plain}");
        }
    }

    #[test]
    fn percent_decoding_leaves_what_is_not_an_escape() {
        assert_eq!(
            percent_decode("repository%3Ateam%2Fapp:pull"),
            "repository:team/app:pull"
        );
        assert_eq!(percent_decode("100%"), "100%");
    }
}
