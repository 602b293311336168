//! The writing half: uploads, mounts and manifests.

use http_body_util::BodyExt as _;
use hyper::Method;
use hyper::body::{Bytes, Incoming};
use hyper::header::{
    CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderName, LOCATION, RANGE, TRANSFER_ENCODING,
};

use super::authorize::{may_read, percent_decode};
use super::serve::{Answer, DIGEST, Head, error, header, respond, with_header};
use super::{Content, Shared};
use crate::image::{Blob, sha256};

/// A blob that is not whole yet.
#[derive(Debug)]
pub(super) struct Upload {
    repository: String,
    bytes: Vec<u8>,
}

impl Content {
    /// What stands before the path where uploads go on; nothing if that is here.
    fn base(&self) -> String {
        let host = self.uploads_at.as_ref();
        host.map_or_else(String::new, |host| format!("http://{host}"))
    }
}

/// Whether a request writes something, or is about something half written.
pub(super) fn is_meant(request: &Head) -> bool {
    let writes = !matches!(request.method, Method::GET | Method::HEAD);
    let path = request.uri.path();
    path.starts_with("/v2/") && (writes || path.contains("/blobs/uploads/"))
}

/// A parameter of the query, decoded.
fn parameter(request: &Head, name: &str) -> Option<String> {
    let query = request.uri.query()?;
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs
        .find(|(key, _)| *key == name)
        .map(|(_, value)| percent_decode(value))
}

/// Repository and id of an upload's path; the id is empty where one is to begin.
fn upload_of(path: &str) -> Option<(&str, &str)> {
    path.strip_prefix("/v2/")?.split_once("/blobs/uploads/")
}

/// Takes the first `most` bytes of a body into its upload and gives back the rest.
pub(super) async fn take_part(
    shared: &Shared,
    request: &Head,
    mut body: Incoming,
    most: usize,
) -> Incoming {
    let mut left = most;
    while left > 0 {
        let Some(Ok(frame)) = body.frame().await else {
            break;
        };
        let bytes = frame.into_data().unwrap_or_default();
        let bytes = bytes.slice(..bytes.len().min(left));
        left -= bytes.len();
        let id = upload_of(request.uri.path()).map(|(_, id)| id.to_owned());
        let mut content = shared.content();
        if let Some(upload) = id.and_then(|id| content.uploads.get_mut(&id)) {
            upload.bytes.extend_from_slice(&bytes);
        }
    }
    body
}

pub(super) async fn answer(shared: &Shared, request: &Head, body: Incoming) -> Answer {
    let Ok(body) = body.collect().await else {
        return error(400, "BLOB_UPLOAD_INVALID", "the body broke off");
    };
    if !says_length(request) {
        return error(411, "LENGTH_REQUIRED", "what has no length is not taken");
    }
    let (path, body) = (request.uri.path(), body.to_bytes());
    let Some((repository, id)) = upload_of(path) else {
        let rest = path.strip_prefix("/v2/").unwrap_or_default();
        return match rest.split_once("/manifests/") {
            Some(name) if request.method == Method::PUT => manifest(shared, request, name, body),
            _ => error(405, "UNSUPPORTED", "nobody does this"),
        };
    };
    if request.method == Method::POST {
        return begin(shared, request, repository);
    }
    let mut content = shared.content();
    let base = content.base();
    let Some(upload) = content
        .uploads
        .get_mut(id)
        .filter(|u| u.repository == repository)
    else {
        return error(
            404,
            "BLOB_UPLOAD_UNKNOWN",
            "blob upload unknown to registry",
        );
    };
    match request.method {
        Method::GET => {
            let answer = respond(204, Bytes::new());
            told(answer, &base, (repository, id), upload.bytes.len())
        }
        Method::PATCH => append(upload, request, (&base, repository, id), &body),
        Method::PUT => {
            upload.bytes.extend_from_slice(&body);
            finish(&mut content, request, id)
        }
        Method::DELETE => {
            content.uploads.remove(id);
            respond(204, Bytes::new())
        }
        _ => error(405, "UNSUPPORTED", "nobody does this"),
    }
}

/// Some registries insist on it, even for no body at all.
fn says_length(request: &Head) -> bool {
    !matches!(request.method, Method::POST | Method::PUT | Method::PATCH)
        || header(request, CONTENT_LENGTH).is_some()
        || header(request, TRANSFER_ENCODING).is_some()
}

fn append(
    upload: &mut Upload,
    request: &Head,
    (base, repository, id): (&str, &str, &str),
    body: &[u8],
) -> Answer {
    let first = header(request, CONTENT_RANGE).and_then(|range| range.split('-').next());
    if first.is_some_and(|first| first != upload.bytes.len().to_string()) {
        let answer = error(416, "RANGE_INVALID", "not where the upload is");
        return told(answer, base, (repository, id), upload.bytes.len());
    }
    upload.bytes.extend_from_slice(body);
    let answer = respond(202, Bytes::new());
    told(answer, base, (repository, id), upload.bytes.len())
}

/// Says where an upload is and how far.
fn told(answer: Answer, base: &str, (repository, id): (&str, &str), bytes: usize) -> Answer {
    let place = format!("{base}/v2/{repository}/blobs/uploads/{id}?_state=at-{bytes}");
    let range = format!("0-{}", bytes.saturating_sub(1));
    let uuid = HeaderName::from_static("docker-upload-uuid");
    let answer = with_header(answer, LOCATION, &place);
    with_header(with_header(answer, RANGE, &range), uuid, id)
}

fn begin(shared: &Shared, request: &Head, repository: &str) -> Answer {
    if let (Some(digest), Some(from)) = (parameter(request, "mount"), parameter(request, "from")) {
        let readable = may_read(shared, request, &from);
        let mut content = shared.content();
        let there = content.repositories.get(&from);
        let blob = there.and_then(|there| there.blobs.get(&digest)).cloned();
        if let Some(blob) = blob.filter(|_| readable) {
            return created(&mut content, repository, blob);
        }
    }
    let mut content = shared.content();
    content.begun += 1;
    let id = format!("upload-{}", content.begun);
    let upload = Upload {
        repository: repository.to_owned(),
        bytes: Vec::new(),
    };
    content.uploads.insert(id.clone(), upload);
    told(
        respond(202, Bytes::new()),
        &content.base(),
        (repository, &id),
        0,
    )
}

fn finish(content: &mut Content, request: &Head, id: &str) -> Answer {
    let wanted = parameter(request, "digest").unwrap_or_default();
    let Some(upload) = content.uploads.remove(id) else {
        return error(
            404,
            "BLOB_UPLOAD_UNKNOWN",
            "blob upload unknown to registry",
        );
    };
    let blob = Blob::new("application/octet-stream", upload.bytes);
    if blob.digest != wanted {
        return error(
            400,
            "DIGEST_INVALID",
            "provided digest did not match uploaded content",
        );
    }
    created(content, &upload.repository, blob)
}

fn created(content: &mut Content, repository: &str, blob: Blob) -> Answer {
    let place = format!("/v2/{repository}/blobs/{}", blob.digest);
    let digest = blob.digest.clone();
    let kept = content
        .repositories
        .entry(repository.to_owned())
        .or_default();
    kept.blobs.insert(digest.clone(), blob);
    let answer = with_header(respond(201, Bytes::new()), LOCATION, &place);
    with_header(answer, DIGEST.clone(), &digest)
}

fn manifest(shared: &Shared, request: &Head, name: (&str, &str), body: Bytes) -> Answer {
    let (repository, tag) = name;
    let media_type = header(request, CONTENT_TYPE).unwrap_or_default();
    let document: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    let layers = document["layers"].as_array().into_iter().flatten();
    let named = std::iter::once(&document["config"]).chain(layers);
    let mut content = shared.content();
    let kept = content
        .repositories
        .entry(repository.to_owned())
        .or_default();
    for descriptor in named {
        let digest = descriptor["digest"].as_str().unwrap_or_default();
        let size = kept.blobs.get(digest).map(|blob| blob.bytes.len());
        if size.map(|size| size as u64) != descriptor["size"].as_u64() {
            return error(400, "MANIFEST_BLOB_UNKNOWN", "blob unknown to registry");
        }
    }
    let digest = sha256(&body);
    kept.tags.insert(tag.to_owned(), digest.clone());
    kept.manifests
        .insert(digest.clone(), Blob::new(media_type, body));
    with_header(respond(201, Bytes::new()), DIGEST.clone(), &digest)
}
