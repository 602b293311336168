//! Talking to registries: fetching images, pushing them, and finding out whether a login is good.
//!
//! [`pull`] is most of it: a reference in, an image in the store out. Inside, one
//! thread runs an async client that does nothing but move bytes; each layer has two threads
//! of the store's that inflate and unpack what comes through a bounded pipe. The runtime, the
//! threads and every socket are gone when `pull` returns, but for a name lookup that hangs in
//! the C library; one that was interrupted does not wait for a thread that is at work.
//!
//! What came is kept beside the layers while they are unpacked, so a pull that ends early, or is
//! killed, is gone on with by the next one (the store's room `unfinished`).
//!
//! # What is taken from oci-client, and what is not
//!
//! The media types and the error envelope of the distribution spec come from `oci-client`.
//! Its client does not: it reads manifests, configs and token answers of any length into
//! memory; it lets reqwest follow redirects, so a credential may travel to another
//! port's or scheme's origin by rules that are not ours; it asks for a token before each
//! pull instead of when a registry wants one; and a blob that breaks off cannot be resumed
//! with the same validator. These are requirements here (CVE-2020-15157 and friends), so
//! requests, redirects, tokens and retries are ours, on reqwest.
//!
//! # Rules that this module keeps
//!
//! * Plain HTTP only to loopback addresses and to hosts that the user called insecure.
//! * `Authorization` only to the exact origin that asked for it; token realms only on https
//!   or on the same insecure host.
//! * Nothing is read without a limit on bytes and on time without progress.
//! * Nothing becomes visible in the store before every digest of the image was checked.

mod auth;
mod blob;
mod cause;
mod certificates;
mod chain;
mod challenge;
mod credentials;
mod crew;
mod diagnose;
mod download;
mod error;
mod exchange;
mod fetch;
mod headers;
mod http;
mod layer;
mod layers;
mod login;
mod look;
mod look_error;
mod origin;
mod patience;
mod pipe;
mod preview;
mod progress;
mod proxy;
mod publishing;
mod pull;
mod push;
mod ranges;
mod rate;
mod redirect;
mod request;
mod resolve;
mod retry;
mod routes;
mod runtime;
mod search;
mod short_names;
mod tls;
mod waiting;
mod words;

pub use certificates::{CertificateError, Certificates};
pub use credentials::{
    AuthFile, AuthFileError, Credential, Credentials, HelperError, InvalidServer, KeyStyle,
    SavedIn, Server, forget_all_logins, forget_login, save_login,
};
pub use download::{DownloadError, download, server_of};
pub use error::{PullError, RegistryError};
pub use headers::ExtraHeaders;
pub use login::{LoginError, LoginRequest, check_login};
pub use look::{RemoteDocument, fetch_document, list_tags};
pub use look_error::LookError;
pub use preview::{Preview, preview};
pub use progress::{LayerState, NoProgress, PullEvent, PullProgress};
pub use pull::{PulledImage, PulledLayer, pull};
pub use push::{
    Elsewhere, KnownBlob, NoPushProgress, PushCompression, PushError, PushEvent, PushProgress,
    PushRequest, PushState, PushedImage, Reuse, kept_manifest, push,
};
pub use request::{
    Endpoint, KnownLayer, PullRequest, RangePolicy, RegistryOptions, RetryPolicy, Timeouts,
    TlsPolicy,
};
pub use routes::{RouteError, Routes, Stop, Way};
pub use search::{SearchResult, search};
pub use short_names::Meaning;

/// Where a registry on https sends us for a token by its `WWW-Authenticate` header, if we go there.
#[cfg(fuzzing)]
#[must_use]
pub fn token_service(header: &str) -> Option<String> {
    auth::token_service(header)
}
