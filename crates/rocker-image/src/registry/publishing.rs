//! Layers that go into the store while others are still to come.
//!
//! To put them there may take as long as the disk likes. It is done in a thread of its own, so that
//! the transfers go on meanwhile, and nobody takes this time for a silence of the network.

use tokio::sync::oneshot;

use super::PullError;
use super::chain::Chain;
use super::crew::Crew;
use super::pull::Pull;
use crate::store::{ChainLayer, Durability, StoreError};

/// The way of some layers into the store, one after the other.
pub(super) struct Publishing<'p> {
    pull: &'p Pull<'p>,
    crew: &'p Crew,
    under_way: Option<oneshot::Receiver<Result<(), StoreError>>>,
}

impl<'p> Publishing<'p> {
    /// Nothing is on its way.
    pub(super) const fn new(pull: &'p Pull<'p>, crew: &'p Crew) -> Self {
        Self {
            pull,
            crew,
            under_way: None,
        }
    }

    pub(super) const fn is_under_way(&self) -> bool {
        self.under_way.is_some()
    }

    /// Sends what is finished on its way, as far as it can be in the store without the layers at
    /// `missing`. It belongs to no image yet. Nothing may be under way.
    pub(super) fn begin(
        &mut self,
        chain: &mut Chain<'_>,
        missing: &[usize],
    ) -> Result<(), PullError> {
        let ready = chain.take_ready(missing);
        let is_staged = |layer: &ChainLayer| matches!(layer, ChainLayer::Staged(_));
        if !ready.iter().any(is_staged) {
            return Ok(());
        }
        let store = self.pull.store.try_clone();
        let store = store.map_err(|error| self.pull.store_error(error))?;
        let is_over = self.crew.end();
        let (sender, receiver) = oneshot::channel();
        let commit = move || {
            let committed = store.commit_unless(ready, Durability::Eventual, &is_over);
            // nobody listens any more when the pull was interrupted
            let _ = sender.send(committed.map(drop));
        };
        let thread = self.crew.spawn("publish", commit);
        thread.map_err(|source| self.pull.start_error("thread that stores layers", source))?;
        self.under_way = Some(receiver);
        Ok(())
    }

    /// Waits until what is under way is in the store; at once if nothing is. May be dropped and
    /// called again.
    pub(super) async fn end(&mut self) -> Result<(), PullError> {
        let Some(receiver) = &mut self.under_way else {
            return Ok(());
        };
        let published = receiver.await;
        self.under_way = None;
        match published {
            Ok(Ok(())) => Ok(()),
            // or a thread that panicked: the panic is passed on where it is joined
            Ok(Err(StoreError::Interrupted)) | Err(_) => Err(self.pull.interrupted()),
            Ok(Err(error)) => Err(self.pull.store_error(error)),
        }
    }
}
