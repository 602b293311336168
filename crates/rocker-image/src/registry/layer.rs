//! One layer of a pull: from the network, or from what an earlier pull left, to the staging.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, oneshot};
use tokio::time::Instant;

use super::blob::{self, Streamed};
use super::crew::Crew;
use super::fetch::Repository;
use super::pipe::{PipeReader, PipeWriter, pipe};
use super::pull::Pull;
use super::{LayerState, PullError, PullEvent, PullProgress, RegistryError};
use crate::document::Descriptor;
use crate::store::{
    ExpectedLayer, PartialBlob, PullStaging, StagedLayer, UnpackError, unpack_layer,
};

/// How often a layer's number of bytes is told.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);

/// Where layers are fetched from and unpacked to.
#[derive(Debug)]
pub(super) struct Site<'s> {
    pub(super) crew: &'s Crew,
    pub(super) repository: &'s Repository<'s>,
    pub(super) staging: RefCell<PullStaging>,
    pub(super) permits: Semaphore,
}

/// A layer that has to be fetched.
#[derive(Clone, Debug)]
pub(super) struct Missing {
    /// Where it first stands in the chain.
    pub(super) position: usize,
    pub(super) blob: Descriptor,
    pub(super) expected: ExpectedLayer,
}

type Unpacking = oneshot::Receiver<Result<StagedLayer, UnpackError>>;

impl Pull<'_> {
    /// Gets one layer, its beginning from what an earlier pull left. Should that turn out to be
    /// damaged, all of it comes from the registry.
    pub(super) async fn layer(
        &self,
        site: &Site<'_>,
        layer: &Missing,
    ) -> Result<(usize, StagedLayer), PullError> {
        let finished = site.staging.borrow_mut().take_finished(&layer.expected);
        if let Some(staged) = finished {
            self.layer_state(layer, LayerState::Done);
            return Ok((layer.position, staged));
        }
        let _permit = site.permits.acquire().await;
        let blob = site.staging.borrow_mut().take_blob(&layer.expected);
        let is_resumed = blob.as_ref().is_some_and(|blob| blob.bytes() > 0);
        let staged = match self.attempt(site, layer, blob).await {
            Err(PullError::Layer { source, .. }) if is_resumed && source.blames_bytes() => {
                tracing::debug!(blob = %layer.blob.digest, error = %source, "what an earlier pull left is damaged");
                let blob = site.staging.borrow().new_blob(&layer.expected);
                self.attempt(site, layer, blob).await?
            }
            outcome => outcome?,
        };
        self.layer_state(layer, LayerState::Done);
        Ok((layer.position, staged))
    }

    /// The network here, the unpacking in a thread of its own.
    async fn attempt(
        &self,
        site: &Site<'_>,
        layer: &Missing,
        blob: Option<Arc<PartialBlob>>,
    ) -> Result<StagedLayer, PullError> {
        let (writer, reader) = pipe(blob.clone());
        let unpacked = self.spawn_unpacking(site, reader, layer, blob.clone())?;
        let first = blob.as_ref().map_or(0, |blob| blob.bytes());
        let streamed = self.stream(site, layer, &writer, first).await;
        match streamed {
            Ok(Streamed::Completely) => writer.finish(),
            Ok(Streamed::ReaderGone) => drop(writer),
            // the thread fails as well when its pipe breaks; what broke it is what matters
            Err(error) => return Err(self.registry_error(error)),
        }
        self.layer_state(layer, LayerState::Extracting);
        match unpacked.await {
            Ok(Ok(staged)) => Ok(staged),
            Ok(Err(error)) => {
                let damaged = blob.filter(|_| error.blames_bytes());
                damaged.inspect(|blob| blob.remove());
                Err(self.layer_error(layer, error))
            }
            // a thread that panicked: the panic is passed on where it is joined
            Err(_) => Err(self.interrupted()),
        }
    }

    /// Gets the bytes from `first` on.
    async fn stream(
        &self,
        site: &Site<'_>,
        layer: &Missing,
        writer: &PipeWriter,
        first: u64,
    ) -> Result<Streamed, RegistryError> {
        let total = layer.blob.size;
        if first == total {
            self.layer_state(layer, LayerState::Verifying);
            return Ok(Streamed::Completely);
        }
        if first > 0 {
            self.layer_state(layer, LayerState::Resuming { done: first, total });
        }
        let meter = Meter::new(self.progress, &layer.blob);
        let on_bytes = |done| meter.tell(done);
        tokio::select! {
            biased;
            streamed = blob::stream(site.repository, &layer.blob, writer, first, &on_bytes) => streamed,
            // a network that is silent must not hide that the unpacking failed
            () = writer.reader_gone() => Ok(Streamed::ReaderGone),
        }
    }

    fn spawn_unpacking(
        &self,
        site: &Site<'_>,
        reader: PipeReader,
        layer: &Missing,
        blob: Option<Arc<PartialBlob>>,
    ) -> Result<Unpacking, PullError> {
        let (sender, receiver) = oneshot::channel();
        let (staging, limits) = (site.staging.borrow().staging(), self.request.limits);
        let expected = layer.expected.clone();
        let reader = site.crew.supply(reader);
        let unpack = move || {
            let mut outcome = unpack_layer(&staging, reader, &expected, &limits, &|_| {});
            if let Ok(layer) = &mut outcome
                && layer.note_done()
            {
                // the layer itself is what a later pull goes on with
                blob.inspect(|blob| blob.remove());
            }
            // nobody listens any more when the pull was interrupted
            let _ = sender.send(outcome);
        };
        let thread = site.crew.spawn("unpack", unpack);
        thread.map_err(|source| self.start_error("unpacking thread", source))?;
        Ok(receiver)
    }

    pub(super) fn layer_state(&self, layer: &Missing, state: LayerState) {
        self.progress.event(PullEvent::Layer {
            digest: &layer.blob.digest,
            state,
        });
    }

    fn layer_error(&self, layer: &Missing, source: UnpackError) -> PullError {
        PullError::Layer {
            reference: self.reference(),
            digest: layer.blob.digest.clone(),
            source: Box::new(source),
        }
    }
}

/// Tells how many bytes of a layer have come, but not for each piece.
struct Meter<'a> {
    progress: &'a dyn PullProgress,
    blob: &'a Descriptor,
    told: Cell<Option<Instant>>,
}

impl<'a> Meter<'a> {
    const fn new(progress: &'a dyn PullProgress, blob: &'a Descriptor) -> Self {
        Self {
            progress,
            blob,
            told: Cell::new(None),
        }
    }

    fn tell(&self, done: u64) {
        let total = self.blob.size;
        let recently = self
            .told
            .get()
            .is_some_and(|told| told.elapsed() < PROGRESS_INTERVAL);
        if recently && done < total {
            return;
        }
        self.told.set(Some(Instant::now()));
        let state = LayerState::Downloading { done, total };
        self.progress.event(PullEvent::Layer {
            digest: &self.blob.digest,
            state,
        });
    }
}
