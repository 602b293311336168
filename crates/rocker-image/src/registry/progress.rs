//! What a pull tells while it runs.

use std::time::Duration;

use rocker_types::Digest;

use crate::document::Descriptor;

/// Something that happened during a pull. Events of one layer come in the order of
/// [`LayerState`]'s variants; those of different layers are interleaved.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum PullEvent<'a> {
    /// The registry is being asked what the reference means.
    Resolving,
    /// The manifest and the config are known. Layers are listed base first; each gets
    /// [`PullEvent::Layer`] events from now on.
    Resolved {
        /// What the reference meant: the digest of the index, or of the manifest.
        digest: &'a Digest,
        /// The layers.
        layers: &'a [Descriptor],
    },
    /// A place that was to be asked first is of no use; the next one is asked.
    NotThere {
        /// Its registry.
        registry: &'a str,
        /// Why.
        cause: &'a str,
    },
    /// A layer's state.
    Layer {
        /// The digest of the layer's blob.
        digest: &'a Digest,
        /// Its state now.
        state: LayerState,
    },
    /// A request failed in a way that may pass; it will be repeated after `delay`.
    Retrying {
        /// What is fetched: a URL without its query.
        what: &'a str,
        /// Why.
        cause: &'a str,
        /// How long until the next attempt.
        delay: Duration,
    },
    /// All layers are there; they are being made durable and visible.
    Committing,
}

/// How far a layer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayerState {
    /// It is in the store already and was not fetched.
    AlreadyExists,
    /// It waits for its turn.
    Waiting,
    /// Another pull is getting it; this one waits for that.
    Elsewhere,
    /// An earlier pull got its first bytes; what is missing is asked for.
    Resuming {
        /// Compressed bytes that are there.
        done: u64,
        /// Compressed bytes of the whole layer.
        total: u64,
    },
    /// An earlier pull got all its bytes; they are checked and unpacked.
    Verifying,
    /// Its bytes come, and are unpacked as they come. Told every tenth of a second or
    /// so, and once at the end with `done == total`.
    Downloading {
        /// Compressed bytes so far.
        done: u64,
        /// Compressed bytes of the whole layer.
        total: u64,
    },
    /// All bytes are here; the last of them are being unpacked.
    Extracting,
    /// Unpacked and verified, perhaps by an earlier pull; visible with the whole image.
    Done,
}

/// Listens to a pull. Called from the thread that pulls, which does nothing else meanwhile.
pub trait PullProgress: Sync {
    /// Takes note of `event`; must not block for long, the pull waits.
    fn event(&self, event: PullEvent<'_>);
}

/// For callers that do not care.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoProgress;

impl PullProgress for NoProgress {
    fn event(&self, _: PullEvent<'_>) {}
}
