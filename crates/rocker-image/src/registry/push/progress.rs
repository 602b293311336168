//! What a push tells while it runs.

use std::time::Duration;

use rocker_types::DiffId;

/// Something that happened during a push.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum PushEvent<'a> {
    /// The layers are known, base first; each gets [`PushEvent::Layer`] events from now on.
    Begun {
        /// The layers.
        layers: &'a [DiffId],
    },
    /// A layer's state.
    Layer {
        /// The layer.
        layer: &'a DiffId,
        /// Its state now.
        state: PushState<'a>,
    },
    /// A request failed in a way that may pass; it will be repeated after `delay`.
    Retrying {
        /// A URL without its query.
        what: &'a str,
        /// Why.
        cause: &'a str,
        /// How long until the next attempt.
        delay: Duration,
    },
}

/// How far a layer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushState<'a> {
    /// It waits for its turn.
    Waiting,
    /// The repository has it.
    AlreadyExists,
    /// The registry took it from another of its repositories.
    Mounted {
        /// That repository.
        from: &'a str,
    },
    /// Its bytes are on their way.
    Pushing {
        /// Bytes so far: of the blob, or of the tar that is compressed on the way.
        done: u64,
        /// How many there are in all.
        total: u64,
    },
    /// The registry has all of it.
    Pushed,
}

/// Listens to a push. Called from the thread that pushes, which does nothing else meanwhile.
pub trait PushProgress: Sync {
    /// Takes note of `event`; must not block for long, the push waits.
    fn event(&self, event: PushEvent<'_>);
}

/// For callers that do not care.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoPushProgress;

impl PushProgress for NoPushProgress {
    fn event(&self, _: PushEvent<'_>) {}
}
