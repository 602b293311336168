//! `pull`.

use std::thread::{self, JoinHandle};
use std::time::Duration;

use rocker_db::{LayerRow, NewImage};
use rocker_image::registry::{
    self, Endpoint, KnownLayer, PullProgress, PulledImage, RegistryOptions,
};
use rocker_image::store::Store;
use rocker_types::{DiffId, Digest, ImageRef, Platform};

use crate::EngineError;
use crate::clock::now_ns;
use crate::crash::{self, CrashPoint};
use crate::engine::Engine;
use crate::spare;

/// After this time the kernel has written nearly all of what was pulled before, so that to wait for
/// the rest takes little.
const WRITTEN_BY_NOW: Duration = Duration::from_secs(60);

/// What to fetch.
#[derive(Clone, Debug)]
pub struct PullRequest {
    /// Which image.
    pub reference: ImageRef,
    /// For which platform; `None` is the host's.
    pub platform: Option<Platform>,
    /// Where it may be, in the order in which to ask; not empty.
    pub places: Vec<Endpoint>,
}

/// What came of a pull.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pulled {
    /// The image's id.
    pub id: Digest,
    /// What the reference meant: digest of the index or of the manifest.
    pub digest: Digest,
    /// Whether the name means another image than before.
    pub newer: bool,
}

impl Engine {
    /// Fetches an image and gives it its name. It is visible as a whole or not at all.
    /// `cancelled` is asked while the network is waited for.
    ///
    /// # Errors
    ///
    /// [`EngineError::Pull`]; there are no more images than before then. What the next pull can
    /// go on with is kept for a week.
    pub fn pull(
        &mut self,
        request: &PullRequest,
        progress: &dyn PullProgress,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Pulled, EngineError> {
        let before = self
            .durable()?
            .image_by_reference(&request.reference)?
            .map(|row| row.id);
        self.make_room();
        let using = crate::sweep::using_images(&self.layout)?;
        self.want_sweep()?;
        crash::point(CrashPoint::PullAfterIntent);
        let older = self.sync_older_layers();
        let pulled = self.fetch(request, progress, cancelled);
        // who clones a process next has one thread
        older.map(JoinHandle::join);
        let mut pulled = match pulled {
            Ok(pulled) => pulled,
            Err(error) => {
                drop(using);
                // its documents may be another pull's by now: only who is alone can tell
                self.sweep_after_failure(&error);
                return Err(error);
            }
        };
        crash::point(CrashPoint::PullAfterCommit);
        let leftovers = std::mem::take(&mut pulled.leftovers);
        if let Err(error) = self.record(request, &pulled) {
            let is_full = matches!(&error, EngineError::Db(error) if error.is_of_full_disk());
            if is_full {
                // others need the room more than the next pull does
                drop((leftovers, using));
                self.sweep_after_failure(&error);
            } else {
                leftovers.keep();
            }
            return Err(error);
        }
        crash::point(CrashPoint::PullAfterRecord);
        drop(leftovers);
        drop(using);
        self.sweep_after_images()?;
        Ok(Pulled {
            newer: before.as_ref() != Some(&pulled.image_id),
            id: pulled.image_id,
            digest: pulled.digest,
        })
    }

    /// Puts layers on disk for good that were pulled a while ago, beside the work of this pull.
    fn sync_older_layers(&self) -> Option<JoinHandle<()>> {
        let layout = self.layout.clone();
        let sync = move || {
            let synced = Store::open(&layout).and_then(|store| store.sync_marked(WRITTEN_BY_NOW));
            if let Err(error) = synced {
                tracing::warn!(%error, "layers that were pulled before stay marked");
            }
        };
        let thread = thread::Builder::new().name("sync".to_owned());
        thread.spawn(sync).ok()
    }

    fn fetch(
        &mut self,
        request: &PullRequest,
        progress: &dyn PullProgress,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<PulledImage, EngineError> {
        let known = self.known_layers()?;
        let is_known = |id: &DiffId| {
            known
                .iter()
                .find(|row| row.diff_id == *id)
                .map(|row| KnownLayer {
                    blob: row.blob.clone(),
                })
        };
        let pull = registry::PullRequest {
            reference: request.reference.clone(),
            platform: request.platform.clone(),
            registry: RegistryOptions::default(),
            instead: request.places.clone(),
            limits: self.limits,
            known_layers: &is_known,
            cancelled,
        };
        registry::pull(self.store()?, &pull, progress)
            .map_err(|error| EngineError::Pull(Box::new(error)))
    }

    /// What is recorded and really there.
    pub(super) fn known_layers(&mut self) -> Result<Vec<LayerRow>, EngineError> {
        let mut rows = Vec::new();
        for id in self.durable()?.layers()? {
            rows.extend(self.durable()?.layer(&id)?);
        }
        let store = self.store()?;
        rows.retain(|row| store.has_layer(&row.diff_id));
        Ok(rows)
    }

    fn record(&mut self, request: &PullRequest, pulled: &PulledImage) -> Result<(), EngineError> {
        let layers: Vec<LayerRow> = pulled
            .layers
            .iter()
            .map(|layer| LayerRow {
                diff_id: layer.diff_id.clone(),
                size_bytes: layer.size_bytes,
                blob: Some((layer.blob_digest.clone(), layer.blob_size)),
                disk_bytes: layer.disk_bytes,
            })
            .collect();
        let repo_digest = request.reference.familiar_with_digest(&pulled.digest);
        let config = String::from_utf8_lossy(&pulled.config_bytes);
        self.record_image(&NewImage {
            id: &pulled.image_id,
            config: &config,
            manifest_digest: Some(&pulled.manifest_digest),
            layers: &layers,
            reference: Some(&request.reference),
            repo_digest: Some(&repo_digest),
            pulled_ns: now_ns(),
        })
    }

    /// Records an image and its name, while no `rmi` counts names.
    pub(crate) fn record_image(&mut self, image: &NewImage<'_>) -> Result<(), EngineError> {
        let layout = self.layout.clone();
        let (live, durable) = self.databases()?;
        let tx = live.begin()?;
        let mut changed = spare::holders(durable, image.reference.into_iter())?;
        durable.record_image(image)?;
        changed.insert(image.id.clone());
        for id in &changed {
            spare::keep_image(&layout, durable, id);
        }
        drop(tx);
        Ok(())
    }

    /// Written before layers come or go: if this process dies, a later command looks for what
    /// no row knows.
    pub(crate) fn want_sweep(&mut self) -> Result<(), EngineError> {
        let tx = self.live.begin()?;
        tx.want_sweep()?;
        Ok(tx.commit()?)
    }
}
