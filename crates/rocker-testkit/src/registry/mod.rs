//! An OCI registry on 127.0.0.1 that serves images built in tests and misbehaves on request.
//!
//! ```
//! use rocker_testkit::image::{ImageBuilder, Layer};
//! use rocker_testkit::registry::{Action, On, Registry};
//!
//! let registry = Registry::start();
//! let image = ImageBuilder::new().layer(Layer::new().file("hello", "world")).build();
//! let reference = registry.push("team/hello:1", &image);       // "127.0.0.1:PORT/team/hello:1"
//! registry.fault(On::Blob, 2, Action::CutAfter(10));           // the next two blob requests break off
//! // … pull `reference` …
//! assert!(registry.requests().is_empty());
//! ```
//!
//! It speaks the distribution API: ping, manifests by tag and digest, blobs with `Range`, uploads
//! in one piece or many, mounts, bearer tokens. It listens in the network namespace of the thread that started it.

mod authorize;
mod body;
mod distribution;
mod fault;
mod serve;
mod token;
mod upload;

pub use distribution::{Distribution, Entrance, certificate};
pub use fault::{Action, On};
pub use token::TokenService;

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use crate::image::{Blob, Image};
use fault::Fault;
use upload::Upload;

/// Whom the registry lets in.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Auth {
    /// Everybody.
    #[default]
    Open,
    /// Who sends this name and password with every request (RFC 7617).
    Basic {
        /// The name.
        user: String,
        /// The password.
        password: String,
    },
    /// Who sends a bearer token that this registry's `/token` handed out for the repository.
    /// With `user` set, `/token` wants that name and password; else anonymous callers get one.
    Token {
        /// Name and password that `/token` asks for.
        user: Option<(String, String)>,
    },
}

/// One request as the registry saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestRecord {
    /// `GET`, `HEAD`, …
    pub method: String,
    /// The `Host` header.
    pub host: String,
    /// Path and query.
    pub path: String,
    /// The `Authorization` header, whole.
    pub authorization: Option<String>,
    /// The `Range` header.
    pub range: Option<String>,
    /// The `Content-Range` header.
    pub content_range: Option<String>,
    /// The `Accept` headers, joined with a comma.
    pub accept: String,
    /// Every header, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The status of the answer.
    pub status: u16,
}

/// What the registry keeps of one repository.
#[derive(Debug, Default)]
struct Repository {
    tags: HashMap<String, String>,
    manifests: HashMap<String, Blob>,
    blobs: HashMap<String, Blob>,
}

#[derive(Debug, Default)]
struct Content {
    repositories: HashMap<String, Repository>,
    faults: Vec<Fault>,
    requests: Vec<RequestRecord>,
    tokens: Vec<(String, Vec<String>)>,
    /// The only repository that tokens are handed out for, and the status of a refusal.
    strict: Option<(String, u16)>,
    /// The `HOST:PORT` where uploads go on.
    uploads_at: Option<String>,
    uploads: HashMap<String, Upload>,
    /// How many uploads were ever begun.
    begun: usize,
}

#[derive(Debug)]
struct Shared {
    address: SocketAddr,
    auth: Auth,
    content: Arc<Mutex<Content>>,
    /// Bytes of all bodies that were sent.
    served: Arc<AtomicU64>,
}

impl Shared {
    fn content(&self) -> MutexGuard<'_, Content> {
        self.content
            .lock()
            .expect("a thread of the registry panicked")
    }
}

/// A running registry; it ends when the value is dropped.
#[derive(Debug)]
pub struct Registry {
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Registry {
    /// Starts a registry that lets everybody in, on a free port of 127.0.0.1.
    pub fn start() -> Self {
        Self::with_auth(Auth::Open)
    }

    /// Starts a registry with this kind of authentication.
    pub fn with_auth(auth: Auth) -> Self {
        Self::listening_on("127.0.0.1:0", auth)
    }

    /// Starts a registry on `address`, for tests that need more than loopback.
    pub fn listening_on(address: &str, auth: Auth) -> Self {
        Self::with_content(address, auth, Arc::default())
    }

    /// Another entrance to the same content, faults and records, at a port of its own.
    #[must_use]
    pub fn beside(&self, auth: Auth) -> Self {
        Self::with_content("127.0.0.1:0", auth, Arc::clone(&self.shared.content))
    }

    fn with_content(address: &str, auth: Auth, content: Arc<Mutex<Content>>) -> Self {
        let listener = TcpListener::bind(address).expect("a free port for the test registry");
        let address = listener
            .local_addr()
            .expect("a bound socket has an address");
        let shared = Arc::new(Shared {
            address,
            auth,
            content,
            served: Arc::default(),
        });
        let (stop, stopped) = oneshot::channel();
        let served = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("test-registry".to_owned())
            .spawn(move || serve::run(listener, served, stopped))
            .expect("a thread for the test registry");
        Self {
            shared,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> String {
        self.shared.address.to_string()
    }

    /// Stores `image` under `name` (`repository:tag`) and returns the whole reference.
    pub fn push(&self, name: &str, image: &Image) -> String {
        for blob in image.blobs() {
            self.put_blob(repository_of(name), blob.clone());
        }
        self.put_manifest(name, image.manifest.clone())
    }

    /// Stores an index of `images`, one per platform, under `name`.
    pub fn push_index(&self, name: &str, images: &[&Image]) -> String {
        for image in images {
            let repository = repository_of(name);
            for blob in image.blobs() {
                self.put_blob(repository, blob.clone());
            }
            self.with_repository(repository, |repository| {
                repository
                    .manifests
                    .insert(image.manifest.digest.clone(), image.manifest.clone());
            });
        }
        self.put_manifest(name, Image::index(images))
    }

    /// Stores any document as the manifest of `name` and returns the whole reference.
    pub fn put_manifest(&self, name: &str, manifest: Blob) -> String {
        let tag = name.rsplit_once(':').map_or("latest", |(_, tag)| tag);
        self.with_repository(repository_of(name), |repository| {
            repository
                .tags
                .insert(tag.to_owned(), manifest.digest.clone());
            repository
                .manifests
                .insert(manifest.digest.clone(), manifest);
        });
        format!("{}/{name}", self.host())
    }

    /// Stores a blob under the digest it claims, which a test may have falsified.
    pub fn put_blob(&self, repository: &str, blob: Blob) {
        self.with_repository(repository, |repository| {
            repository.blobs.insert(blob.digest.clone(), blob);
        });
    }

    /// The manifest that `name` (`repository:tag`) means.
    pub fn manifest(&self, name: &str) -> Option<Blob> {
        let tag = name.rsplit_once(':').map_or("latest", |(_, tag)| tag);
        let content = self.shared.content();
        let repository = content.repositories.get(repository_of(name))?;
        repository.manifests.get(repository.tags.get(tag)?).cloned()
    }

    /// A blob of a repository.
    pub fn blob(&self, repository: &str, digest: &str) -> Option<Blob> {
        let content = self.shared.content();
        content
            .repositories
            .get(repository)?
            .blobs
            .get(digest)
            .cloned()
    }

    /// How many uploads were begun and neither finished nor cancelled.
    pub fn open_uploads(&self) -> usize {
        self.shared.content().uploads.len()
    }

    /// Forgets all of a repository.
    pub fn remove_repository(&self, name: &str) {
        self.shared.content().repositories.remove(name);
    }

    /// Forgets a blob, so that requests for it get 404.
    pub fn remove_blob(&self, repository: &str, digest: &str) {
        self.with_repository(repository, |repository| {
            repository.blobs.remove(digest);
        });
    }

    /// Makes the next `times` requests of the kind `on` go wrong. Faults are tried in the
    /// order in which they were added; one that is used up is ignored.
    pub fn fault(&self, on: On, times: u32, action: Action) {
        self.shared.content().faults.push(Fault {
            on,
            left: times,
            action,
        });
    }

    /// Every request since the start, in order of arrival.
    pub fn requests(&self) -> Vec<RequestRecord> {
        self.shared.content().requests.clone()
    }

    /// How many requests there were for the content of a blob.
    pub fn blob_downloads(&self) -> usize {
        let is_download =
            |record: &&RequestRecord| record.method == "GET" && record.path.contains("/blobs/");
        self.shared
            .content()
            .requests
            .iter()
            .filter(is_download)
            .count()
    }

    /// Makes the token service refuse, with this status, whoever asks for a scope of another
    /// repository, whatever else is asked for.
    pub fn hand_out_tokens_only_for(&self, repository: &str, status: u16) {
        self.shared.content().strict = Some((repository.to_owned(), status));
    }

    /// Makes uploads go on at another `HOST:PORT`.
    pub fn send_uploads_to(&self, host: &str) {
        self.shared.content().uploads_at = Some(host.to_owned());
    }

    /// Bytes of bodies that were sent since the start, whether or not they arrived.
    pub fn bytes_served(&self) -> u64 {
        self.shared.served.load(Ordering::Relaxed)
    }

    /// Makes every token handed out so far invalid.
    pub fn expire_tokens(&self) {
        self.shared.content().tokens.clear();
    }

    fn with_repository(&self, name: &str, change: impl FnOnce(&mut Repository)) {
        change(
            self.shared
                .content()
                .repositories
                .entry(name.to_owned())
                .or_default(),
        );
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // The thread may have ended by itself, after a panic for example.
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn repository_of(name: &str) -> &str {
    name.rsplit_once(':')
        .map_or(name, |(repository, _)| repository)
}
