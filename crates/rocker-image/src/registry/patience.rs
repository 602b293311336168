//! How long to wait for a network that does not move.

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;

use super::{RegistryError, Timeouts};

/// Time spent waiting since the last progress, over all attempts at one thing.
///
/// Only time in which the network is waited for counts: while a layer's unpacking holds
/// the pipe, nobody is to blame.
#[derive(Debug)]
pub(super) struct Patience {
    timeouts: Timeouts,
    waited: Duration,
    bytes: u64,
}

impl Patience {
    pub(super) const fn new(timeouts: Timeouts) -> Self {
        Self {
            timeouts,
            waited: Duration::ZERO,
            bytes: 0,
        }
    }

    /// Waits for the head of an answer: as long as there is patience, because a registry
    /// that fetches from another one first may be silent for long.
    pub(super) async fn head<F: Future>(
        &mut self,
        url: &str,
        future: F,
    ) -> Result<F::Output, RegistryError> {
        let limit = self.left();
        self.wait(url, limit, future).await
    }

    /// Waits for a piece of a body: a third of the patience at most, so that a connection
    /// that died silently is given up while there is time for another one.
    pub(super) async fn piece<F: Future>(
        &mut self,
        url: &str,
        future: F,
    ) -> Result<F::Output, RegistryError> {
        let limit = self.left().min(self.timeouts.no_progress / 3);
        self.wait(url, limit, future).await
    }

    /// Takes note of bytes that came.
    pub(super) const fn progress(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes >= self.timeouts.progress_bytes {
            self.bytes = 0;
            self.waited = Duration::ZERO;
        }
    }

    /// Whether nothing is left to wait with.
    pub(super) fn is_exhausted(&self) -> bool {
        self.left().is_zero()
    }

    fn left(&self) -> Duration {
        self.timeouts.no_progress.saturating_sub(self.waited)
    }

    async fn wait<F: Future>(
        &mut self,
        url: &str,
        limit: Duration,
        future: F,
    ) -> Result<F::Output, RegistryError> {
        let start = Instant::now();
        let outcome = tokio::time::timeout(limit, future).await;
        self.waited = self.waited.saturating_add(start.elapsed());
        outcome.map_err(|_| RegistryError::Stalled {
            url: url.to_owned(),
            after: self.waited,
        })
    }
}
