use std::time::Duration;

/// Which requests a fault is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum On {
    /// Every request.
    Any,
    /// `GET /v2/`.
    Ping,
    /// The token endpoint.
    Token,
    /// Manifests and indexes, by tag or digest.
    Manifest,
    /// Blobs: configs and layers.
    Blob,
    /// Requests with this method.
    Method(&'static str),
    /// Requests whose path and query contain this text, a digest for example.
    Path(String),
}

impl On {
    pub(super) fn matches(&self, method: &str, path: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Ping => path == "/v2/",
            Self::Token => path.starts_with("/token"),
            Self::Manifest => path.contains("/manifests/"),
            Self::Blob => path.contains("/blobs/"),
            Self::Method(name) => method == *name,
            Self::Path(text) => path.contains(text),
        }
    }
}

/// How a request goes wrong. What is not mentioned stays as in the right answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// This status with an error document in the registry's JSON format.
    Status(u16),
    /// This status with a `Retry-After` of so many seconds.
    RetryAfter {
        /// 429 or 503.
        status: u16,
        /// The header's value.
        seconds: u64,
    },
    /// This status with this body, whatever it is.
    Answer {
        /// The status.
        status: u16,
        /// The `Content-Type`.
        content_type: String,
        /// The body.
        body: Vec<u8>,
    },
    /// `307` to this absolute or relative URL.
    Redirect(String),
    /// `307` to the same path and query at this `HOST:PORT`.
    SendTo(String),
    /// Every token that was handed out becomes invalid while the request is under way.
    ExpireTokens,
    /// The connection closes before any answer.
    Hangup,
    /// The body breaks off after so many bytes of this answer, although more were announced.
    CutAfter(usize),
    /// The request's body is taken up to so many bytes, then the connection closes.
    CutUploadAfter(usize),
    /// The request's body is taken up to so many bytes; then nothing happens any more.
    StallUploadAfter(usize),
    /// Nothing more comes after so many bytes of the body, and the connection stays open.
    StallAfter(usize),
    /// The answer's head comes only after this time.
    Delay(Duration),
    /// The body comes at this many bytes a second.
    Throttle(usize),
    /// One byte in the middle of the body is another one.
    FlipByte,
    /// The body, and its announced length, is shorter by so many bytes.
    Shorten(usize),
    /// So many zero bytes follow the body, and are announced.
    Lengthen(usize),
    /// The answer has this `Content-Type`.
    ContentType(String),
    /// The answer has this `Docker-Content-Digest`.
    DigestHeader(String),
    /// A `Range` header is ignored: status 200 and the whole body.
    IgnoreRange,
    /// The same, and the body comes at this many bytes a second.
    IgnoreRangeAt(usize),
    /// No `Content-Length`: the body comes in chunks.
    Chunked,
}

#[derive(Debug)]
pub(super) struct Fault {
    pub(super) on: On,
    pub(super) left: u32,
    pub(super) action: Action,
}
