use std::io;
use std::net::TcpListener;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::body::{Bytes, Incoming};
use hyper::header::{
    ACCEPT, ACCEPT_RANGES, AUTHORIZATION, CONTENT_RANGE, CONTENT_TYPE, ETAG, HOST, HeaderName,
    HeaderValue, IF_RANGE, LINK, LOCATION, RANGE, RETRY_AFTER,
};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::sync::oneshot;

use super::authorize::{refuse, token};
use super::body::{End, ServedBody};
use super::fault::Action;
use super::{RequestRecord, Shared, upload};

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

pub(super) type Answer = Response<ServedBody>;

/// A request without its body.
pub(super) type Head = hyper::http::request::Parts;

async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> io::Result<Answer> {
    let (request, body) = request.into_parts();
    let path = request
        .uri
        .path_and_query()
        .map_or_else(String::new, ToString::to_string);
    let action = take_fault(&shared, &request.method, &path);
    let result = match action {
        Some(Action::CutUploadAfter(bytes)) => {
            let _rest = upload::take_part(&shared, &request, body, bytes).await;
            Err(io::Error::other("the test asked for a broken upload"))
        }
        Some(Action::StallUploadAfter(bytes)) => {
            let _connection = upload::take_part(&shared, &request, body, bytes).await;
            std::future::pending().await
        }
        Some(Action::ExpireTokens) => {
            shared.content().tokens.clear();
            take(&shared, &request, body).await
        }
        Some(action) => {
            if action != Action::Hangup {
                // who answers first and hangs up with bytes unread may not be heard
                let _unread = body.collect().await;
            }
            misbehave(&shared, &request, action).await
        }
        None => take(&shared, &request, body).await,
    };
    let status = result.as_ref().map_or(0, |answer| answer.status().as_u16());
    shared
        .content()
        .requests
        .push(record(&request, path, status));
    result.map(|answer| answer.map(|body| body.counted(&shared.served)))
}

/// The right answer.
async fn take(shared: &Shared, request: &Head, body: Incoming) -> io::Result<Answer> {
    if !upload::is_meant(request) {
        return Ok(behave(shared, request, Leniency::default()));
    }
    Ok(match refuse(shared, request) {
        Some(refusal) => {
            let _unread = body.collect().await;
            refusal
        }
        None => upload::answer(shared, request, body).await,
    })
}

fn record(request: &Head, path: String, status: u16) -> RequestRecord {
    let accept: Vec<_> = request
        .headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .collect();
    RequestRecord {
        method: request.method.to_string(),
        host: header(request, HOST).unwrap_or_default().to_owned(),
        path,
        authorization: header(request, AUTHORIZATION).map(str::to_owned),
        range: header(request, RANGE).map(str::to_owned),
        content_range: header(request, CONTENT_RANGE).map(str::to_owned),
        accept: accept.join(","),
        headers: request
            .headers
            .iter()
            .map(|(name, value)| {
                let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
                (name.to_string(), value)
            })
            .collect(),
        status,
    }
}

pub(super) fn header(request: &Head, name: HeaderName) -> Option<&str> {
    request
        .headers
        .get(name)
        .and_then(|value| value.to_str().ok())
}

fn take_fault(shared: &Shared, method: &Method, path: &str) -> Option<Action> {
    let mut content = shared.content();
    let fault = content
        .faults
        .iter_mut()
        .find(|fault| fault.left > 0 && fault.on.matches(method.as_str(), path))?;
    fault.left -= 1;
    Some(fault.action.clone())
}

/// Parts of the right answer that a fault switches off.
#[derive(Clone, Copy, Debug, Default)]
struct Leniency {
    ignore_range: bool,
}

async fn misbehave(shared: &Shared, request: &Head, action: Action) -> io::Result<Answer> {
    let right = || behave(shared, request, Leniency::default());
    let whole = || behave(shared, request, Leniency { ignore_range: true });
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
        Action::SendTo(host) => {
            let location = format!("http://{host}{}", request.uri);
            with_header(respond(307, Bytes::new()), LOCATION, &location)
        }
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
        Action::IgnoreRange => whole(),
        Action::IgnoreRangeAt(rate) => whole().map(|body| body.throttle(rate)),
        Action::Chunked => right().map(ServedBody::chunked),
        Action::CutUploadAfter(_) | Action::StallUploadAfter(_) | Action::ExpireTokens => {
            unreachable!("they are about the request, and done with by now")
        }
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

pub(super) static DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

fn behave(shared: &Shared, request: &Head, leniency: Leniency) -> Answer {
    let path = request.uri.path();
    if path == "/token" {
        return token(shared, request);
    }
    if let Some(refusal) = refuse(shared, request) {
        return refusal;
    }
    if !matches!(request.method, Method::GET | Method::HEAD) {
        return error(405, "UNSUPPORTED", "nobody does this");
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
    if let Some(repository) = rest.strip_suffix("/tags/list") {
        return tags(shared, repository, request.uri.query().unwrap_or_default());
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

/// Two tags a page, so that every client has to turn pages.
fn tags(shared: &Shared, repository: &str, query: &str) -> Answer {
    const PAGE: usize = 2;
    let content = shared.content();
    let Some(found) = content.repositories.get(repository) else {
        return error(404, "NAME_UNKNOWN", "repository name not known to registry");
    };
    let last = query.strip_prefix("last=").unwrap_or_default();
    let mut tags: Vec<&String> = found
        .tags
        .keys()
        .filter(|tag| tag.as_str() > last)
        .collect();
    tags.sort();
    let has_more = tags.len() > PAGE;
    tags.truncate(PAGE);
    let document = json!({ "name": repository, "tags": tags });
    let answer = with_header(
        respond(200, document.to_string().into()),
        CONTENT_TYPE,
        "application/json",
    );
    match tags.last().filter(|_| has_more) {
        Some(last) => {
            let link = format!("</v2/{repository}/tags/list?last={last}>; rel=\"next\"");
            with_header(answer, LINK, &link)
        }
        None => answer,
    }
}

fn blob(shared: &Shared, request: &Head, name: (&str, &str), leniency: Leniency) -> Answer {
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
        Some(wanted) if !leniency.ignore_range => {
            let range = format!(
                "bytes {}-{}/{}",
                wanted.start,
                wanted.end - 1,
                blob.bytes.len()
            );
            with_header(
                respond(206, blob.bytes.slice(wanted)),
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

/// What `Range: bytes=N-` or `bytes=N-M` wants; `None` for no range, one that another `If-Range`
/// rules out, or a form that clients of a registry do not use.
fn wanted_range(request: &Head, digest: &str, len: usize) -> Option<Range<usize>> {
    if header(request, IF_RANGE).is_some_and(|etag| etag.trim_matches('"') != digest) {
        return None;
    }
    let (start, last) = header(request, RANGE)?
        .strip_prefix("bytes=")?
        .split_once('-')?;
    let start: usize = start.parse().ok()?;
    let end = last.parse::<usize>().map_or(len, |last| len.min(last + 1));
    (start < end).then_some(start..end)
}

pub(super) fn respond(status: u16, bytes: Bytes) -> Answer {
    let mut answer = Response::new(ServedBody::new(bytes));
    *answer.status_mut() =
        StatusCode::from_u16(status).expect("a status that a test asks for is a valid one");
    answer
}

pub(super) fn error(status: u16, code: &str, message: &str) -> Answer {
    let document = json!({ "errors": [{ "code": code, "message": message, "detail": null }] });
    with_header(
        respond(status, document.to_string().into()),
        CONTENT_TYPE,
        "application/json",
    )
}

pub(super) fn with_header(mut answer: Answer, name: impl Into<HeaderName>, value: &str) -> Answer {
    let value =
        HeaderValue::from_str(value).expect("a header value that a test asks for is a valid one");
    answer.headers_mut().insert(name.into(), value);
    answer
}
