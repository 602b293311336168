//! What a caller asks of a pull.

use std::fmt;
use std::time::Duration;

use rocker_types::{DiffId, Digest, ImageRef, Platform};

use super::{Certificates, Credentials, ExtraHeaders};
use crate::store::UnpackLimits;

/// One image to fetch.
pub struct PullRequest<'a> {
    /// Which image.
    pub reference: ImageRef,
    /// For which platform; `None` means the host's where there is a choice, and any Linux
    /// image where there is none.
    pub platform: Option<Platform>,
    /// How to talk to registries.
    pub registry: RegistryOptions,
    /// Where to look instead of the registry that the reference names, in this order; if it is
    /// empty, there.
    pub instead: Vec<Endpoint>,
    /// What a layer may cost.
    pub limits: UnpackLimits,
    /// What is remembered of a layer that the store has. Asked once for each, from the calling
    /// thread.
    pub known_layers: &'a dyn Fn(&DiffId) -> Option<KnownLayer>,
    /// Asked about every 20 ms, from the calling thread; once it says `true` the pull ends
    /// with [`PullError::Interrupted`](super::PullError::Interrupted).
    pub cancelled: &'a dyn Fn() -> bool,
}

impl<'a> PullRequest<'a> {
    /// A pull with every default: nothing is known, nobody interrupts.
    #[must_use]
    pub fn new(reference: ImageRef) -> PullRequest<'a> {
        PullRequest {
            reference,
            platform: None,
            registry: RegistryOptions::default(),
            instead: Vec::new(),
            limits: UnpackLimits::default(),
            known_layers: &|_| None,
            cancelled: &|| false,
        }
    }
}

impl fmt::Debug for PullRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PullRequest")
            .field("reference", &self.reference)
            .field("platform", &self.platform)
            .field("registry", &self.registry)
            .field("instead", &self.instead)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// Where a repository really is, and how to talk to that registry.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// `HOST[:PORT]`.
    pub registry: String,
    /// The path there.
    pub repository: String,
    /// How to talk to it, and who we are.
    pub options: RegistryOptions,
}

impl Endpoint {
    /// Where `reference` itself says.
    #[must_use]
    pub fn of(reference: &ImageRef, options: RegistryOptions) -> Self {
        Self {
            registry: reference.registry().to_owned(),
            repository: reference.repository().to_owned(),
            options,
        }
    }
}

/// What the caller remembers of a layer that is in the store.
///
/// A manifest that gives the blob another length is refused before anything is fetched. The store
/// itself knows which blobs unpack to the layer; any other that a manifest names is fetched and
/// verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownLayer {
    /// The blob that the layer came from and its length in bytes; `None` for layers that
    /// came from elsewhere (an import).
    pub blob: Option<(Digest, u64)>,
}

/// How to talk to registries.
#[derive(Clone, Debug)]
pub struct RegistryOptions {
    /// `HOST` or `HOST:PORT` that may be spoken to in plain HTTP. Loopback always may.
    pub insecure_hosts: Vec<String>,
    /// Who we are.
    pub credentials: Credentials,
    /// What else the registry itself is to see.
    pub headers: ExtraHeaders,
    /// Which transport the registry has to offer.
    pub tls: TlsPolicy,
    /// Certificate authorities to trust besides the system's, in DER.
    pub extra_roots: Vec<Vec<u8>>,
    /// What the host of the registry has of its own: authorities, and who we are to it.
    pub certificates: Certificates,
    /// How many layers are fetched and unpacked at once.
    pub concurrency: usize,
    /// When a blob is fetched over several connections.
    pub ranges: RangePolicy,
    /// What to do about failures that may pass.
    pub retry: RetryPolicy,
    /// When to give up waiting.
    pub timeouts: Timeouts,
}

/// Which transport the registry that was asked for has to offer. Where it sends us is judged
/// by its own rules, whatever is said here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsPolicy {
    /// TLS with a certificate that the system trusts; plain HTTP for loopback and for hosts
    /// that the user called insecure.
    #[default]
    Usual,
    /// TLS with a certificate that the system trusts, wherever the registry is.
    Required,
    /// TLS with any certificate or, from a registry that does not speak TLS, plain HTTP.
    Unverified,
}

/// Three layers more than there are processors, at least five: some wait for the network or the
/// disk while others unpack, and how long a layer takes depends on its number of files, which
/// nobody knows, so that one which began late would be left alone at the end. Measured on two
/// processors, five take 5 % less time than docker's three. A layer in flight takes about 7 MiB
/// of memory, and zstd's windows share what they may take, hence no more than eight.
fn default_concurrency() -> usize {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    processors.saturating_add(3).clamp(5, 8)
}

impl Default for RegistryOptions {
    fn default() -> Self {
        Self {
            insecure_hosts: Vec::new(),
            credentials: Credentials::default(),
            headers: ExtraHeaders::default(),
            tls: TlsPolicy::default(),
            extra_roots: Vec::new(),
            certificates: Certificates::default(),
            concurrency: default_concurrency(),
            ranges: RangePolicy::default(),
            retry: RetryPolicy::default(),
            timeouts: Timeouts::default(),
        }
    }
}

/// When and how one blob is fetched over several connections at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RangePolicy {
    /// How long one connection is watched before others are tried.
    pub watch: Duration,
    /// What one request asks for. So much of each waits in memory for what comes before it.
    pub bytes: u64,
    /// How many requests are under way.
    pub connections: usize,
}

impl Default for RangePolicy {
    fn default() -> Self {
        Self {
            watch: Duration::from_secs(2),
            bytes: 4 << 20,
            connections: 4,
        }
    }
}

/// What to do about failures that may pass: 5xx, 429, connections that break.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// How often one request is repeated. A blob that got further since the last failure
    /// starts to count anew.
    pub retries: u32,
    /// Wait before the first repetition; doubled for each further one, up to
    /// `max_delay`, and shortened by up to a half at random so that clients spread out.
    pub delay: Duration,
    /// The longest wait of our own choice.
    pub max_delay: Duration,
    /// The longest `Retry-After` of a registry that is honoured, in sum for one request.
    pub max_retry_after: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            retries: 3,
            delay: Duration::from_millis(400),
            max_delay: Duration::from_secs(10),
            max_retry_after: Duration::from_secs(60),
        }
    }
}

/// When to give up waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For a TCP connection and its TLS handshake.
    pub connect: Duration,
    /// Waiting for the network without progress, in sum over repetitions. Time in which
    /// we were busy unpacking does not count.
    pub no_progress: Duration,
    /// Fewer bytes than this within `no_progress` are no progress.
    pub progress_bytes: u64,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            no_progress: Duration::from_secs(30),
            progress_bytes: 256,
        }
    }
}
