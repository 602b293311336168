//! `import`: a tar of a root file system becomes an image of one layer.

use std::io::{self, Read};
use std::sync::{Mutex, PoisonError, mpsc};

use rocker_db::{LayerRow, NewImage};
use rocker_image::exchange::Peeled;
use rocker_image::registry::{DownloadError, RegistryOptions, download};
use rocker_image::store::{ChainLayer, CommittedLayer};
use rocker_types::{
    ConfigChange, Digest, HistoryEntry, ImageConfig, ImageRef, Platform, ProcessConfig, RootFs,
};

use crate::EngineError;
use crate::clock::{now_ns, rfc3339};
use crate::crash::{self, CrashPoint};
use crate::engine::Engine;

/// An archive at a web server.
pub struct WebArchive<'a> {
    /// Its http or https URL.
    pub url: &'a str,
    /// How to talk to that server.
    pub access: RegistryOptions,
    /// Asked while the network is waited for.
    pub cancelled: &'a (dyn Fn() -> bool + Sync),
}

impl std::fmt::Debug for WebArchive<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WebArchive")
    }
}

/// What an imported image says about itself.
#[derive(Clone, Debug, Default)]
pub struct ImportOptions {
    /// Its platform; `None` is the host's.
    pub platform: Option<Platform>,
    /// Its comment.
    pub message: Option<String>,
    /// How containers of it are run.
    pub changes: Vec<ConfigChange>,
}

impl Engine {
    /// Makes an image of the root file system in `archive`: a tar, plain or compressed with gzip,
    /// zstd, xz or bzip2.
    ///
    /// # Errors
    ///
    /// [`EngineError::Import`]; the store is as before then.
    pub fn import(
        &mut self,
        archive: impl Read + Send,
        reference: Option<&ImageRef>,
        options: &ImportOptions,
    ) -> Result<Digest, EngineError> {
        self.making_layers(|engine| {
            engine.want_sweep()?;
            let limits = engine.limits;
            let archive =
                Peeled::new(archive, limits).map_err(|error| EngineError::Load(Box::new(error)))?;
            let store = engine.store()?;
            let staged = store
                .import(archive, &limits)
                .map_err(|source| EngineError::Import {
                    source: Box::new(source),
                })?;
            let committed = store.commit(vec![ChainLayer::Staged(staged)])?;
            crash::point(CrashPoint::ImportAfterCommit);
            let layers = made_layers(committed);
            let mut config = config(&layers, options);
            ConfigChange::apply_all(&options.changes, &mut config.config)?;
            engine.record_made(&config, &layers, reference)
        })
    }

    /// Makes an image of the root file system in an archive, while that comes from the web.
    ///
    /// # Errors
    ///
    /// Those of [`import`](Self::import), and [`EngineError::Download`].
    pub fn import_from(
        &mut self,
        source: &WebArchive<'_>,
        reference: Option<&ImageRef>,
        options: &ImportOptions,
    ) -> Result<Digest, EngineError> {
        let (pipe, mut output) = io::pipe().map_err(|source| EngineError::Pipe { source })?;
        let (tell, told) = mpsc::channel();
        let failure = Mutex::default();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let cancelled = source.cancelled;
                let outcome = download(source.url, &source.access, &mut output, cancelled);
                // nobody listens where the archive was refused before its end
                let _ = tell.send(outcome);
            });
            let archive = Arriving {
                pipe,
                told: Some(told),
                failure: &failure,
            };
            let imported = self.import(archive, reference, options);
            match failure
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take()
            {
                Some(error) => Err(EngineError::Download(Box::new(error))),
                None => imported,
            }
        })
    }

    /// Writes and records an image that was made here, of layers that are in the store.
    pub(crate) fn record_made(
        &mut self,
        config: &ImageConfig,
        layers: &[LayerRow],
        reference: Option<&ImageRef>,
    ) -> Result<Digest, EngineError> {
        let image = "made here".to_owned();
        let json = serde_json::to_string(config)
            .map_err(|source| EngineError::ImageConfig { image, source })?;
        let id =
            rocker_image::document::digest_of(rocker_types::Algorithm::Sha256, json.as_bytes());
        let store = self.store()?;
        store.write_blob(&id, json.as_bytes())?;
        self.record_image(&NewImage {
            id: &id,
            config: &json,
            manifest_digest: None,
            layers,
            reference,
            repo_digest: None,
            pulled_ns: now_ns(),
        })?;
        Ok(id)
    }
}

/// An archive on its way. Its end is one only if all of it came.
struct Arriving<'a> {
    pipe: io::PipeReader,
    told: Option<mpsc::Receiver<Result<(), DownloadError>>>,
    failure: &'a Mutex<Option<DownloadError>>,
}

impl Read for Arriving<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.pipe.read(buffer)?;
        if count > 0 || buffer.is_empty() {
            return Ok(count);
        }
        match self.told.take().map(|told| told.recv()) {
            Some(Ok(Err(error))) => {
                *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                Err(io::Error::other("the download broke off"))
            }
            Some(Ok(Ok(())) | Err(_)) | None => Ok(0),
        }
    }
}

/// What is recorded of layers that no registry gave us.
pub(crate) fn made_layers(committed: Vec<CommittedLayer>) -> Vec<LayerRow> {
    let row = |layer: CommittedLayer| LayerRow {
        diff_id: layer.diff_id,
        size_bytes: layer.size_bytes,
        blob: None,
        disk_bytes: layer.disk_bytes,
    };
    committed.into_iter().map(row).collect()
}

fn config(layers: &[LayerRow], options: &ImportOptions) -> ImageConfig {
    let platform = options.platform.clone().unwrap_or_else(Platform::host);
    let created = Some(rfc3339(Some(now_ns())));
    let comment = options
        .message
        .clone()
        .unwrap_or_else(|| "imported by rocker".into());
    ImageConfig {
        architecture: platform.architecture,
        os: platform.os,
        variant: platform.variant,
        created: created.clone(),
        author: None,
        config: ProcessConfig::default(),
        rootfs: RootFs {
            kind: "layers".into(),
            diff_ids: layers.iter().map(|layer| layer.diff_id.clone()).collect(),
        },
        history: vec![HistoryEntry {
            created,
            comment: Some(comment),
            ..HistoryEntry::default()
        }],
    }
}
