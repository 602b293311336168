//! `import`: a tar of a root file system becomes an image of one layer.

use std::io::Read;

use rocker_db::{LayerRow, NewImage};
use rocker_image::store::{ChainLayer, UnpackLimits};
use rocker_types::{
    ConfigChange, Digest, HistoryEntry, ImageConfig, ImageRef, Platform, ProcessConfig, RootFs,
};

use crate::EngineError;
use crate::clock::{now_ns, rfc3339};
use crate::crash::{self, CrashPoint};
use crate::engine::Engine;

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
    /// Makes an image of the root file system in `archive` (tar, plain or compressed).
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
        let using = crate::sweep::using_images(&self.layout)?;
        self.want_sweep()?;
        let store = self.store()?;
        let staged = store
            .import(archive, &UnpackLimits::default())
            .map_err(|source| EngineError::Import {
                source: Box::new(source),
            })?;
        let committed = store.commit(vec![ChainLayer::Staged(staged)])?;
        crash::point(CrashPoint::ImportAfterCommit);
        let layers: Vec<LayerRow> = committed
            .into_iter()
            .map(|layer| LayerRow {
                diff_id: layer.diff_id,
                size_bytes: layer.size_bytes,
                blob: None,
            })
            .collect();
        let mut config = config(&layers, options);
        ConfigChange::apply_all(&options.changes, &mut config.config)?;
        let unreadable = |source| EngineError::ImageConfig {
            image: "imported".into(),
            source,
        };
        let json = serde_json::to_string(&config).map_err(unreadable)?;
        let id = Digest::from_sha256(sha256(json.as_bytes()));
        store.write_blob(&id, json.as_bytes())?;
        store.flush()?;
        self.record_image(&NewImage {
            id: &id,
            config: &json,
            manifest_digest: None,
            layers: &layers,
            reference,
            repo_digest: None,
            pulled_ns: now_ns(),
        })?;
        drop(using);
        self.sweep_after_images()?;
        Ok(id)
    }
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

fn sha256(bytes: &[u8]) -> [u8; 32] {
    use sha2::Digest as _;
    sha2::Sha256::digest(bytes).into()
}
