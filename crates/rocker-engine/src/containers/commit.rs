//! `commit`: what a container has written becomes a layer on those of its image.

use std::io::{PipeReader, PipeWriter, pipe};

use rocker_db::{ContainerRow, LayerRow, OwnerLock};
use rocker_image::store::{ChainLayer, ContainerView, ExportError, StagedLayer};
use rocker_runtime::cgroup::{Cgroup, CgroupLayout, CgroupName};
use rocker_types::{
    ConfigChange, ContainerId, ContainerQuery, DiffId, Digest, HistoryEntry, ImageConfig, ImageRef,
};

use crate::EngineError;
use crate::clock::{now_ns, rfc3339};
use crate::crash::{self, CrashPoint};
use crate::definition::Definition;
use crate::engine::Engine;
use crate::images::made_layers;
use crate::resolve::process_config;

/// How the lock is called that is held while a container stands still for a commit.
const HELD_STILL: &str = ".still";

/// What the new image says about itself.
#[derive(Clone, Debug)]
pub struct CommitOptions {
    /// Who made it.
    pub author: Option<String>,
    /// Its comment.
    pub message: Option<String>,
    /// What is other than in the container's image.
    pub changes: Vec<ConfigChange>,
    /// Whether the container stands still while its files are read.
    pub pause: bool,
}

impl Engine {
    /// Makes an image of a container: the layers of its own image, and one more. Its containers
    /// are run as this one is, but for the `changes`.
    ///
    /// # Errors
    ///
    /// [`EngineError::Export`] and [`EngineError::Import`] if the layer cannot be made,
    /// [`EngineError::NoSuchImage`] if nobody knows any more what the container's image was,
    /// [`EngineError::Db`] when there is no such container, also if it went meanwhile; the store is as before then.
    pub fn commit(
        &mut self,
        query: &ContainerQuery,
        reference: Option<&ImageRef>,
        options: &CommitOptions,
    ) -> Result<Digest, EngineError> {
        self.making_layers(|engine| engine.commit_layer(query, reference, options))
    }

    fn commit_layer(
        &mut self,
        query: &ContainerQuery,
        reference: Option<&ImageRef>,
        options: &CommitOptions,
    ) -> Result<Digest, EngineError> {
        let row = self.live.find(query)?;
        let definition = self.definition(&row)?;
        let mut config = self.config_of(&definition)?;
        config.config = process_config(&config.config, &definition);
        ConfigChange::apply_all(&options.changes, &mut config.config)?;
        self.confirm_layers(&definition.layers)?;
        self.want_sweep()?;
        let upper = self.layout.container(&row.id).join("upper");
        let view = ContainerView::open(self.store()?, &definition.layers, &upper)?;
        let still = match options.pause {
            true => self.hold_still(&row)?,
            false => None,
        };
        crash::point(CrashPoint::CommitAfterPause);
        let staged = self.stage_layer(&view);
        if let Some(still) = still {
            still.end()?;
        }
        let staged = staged?;
        self.check_was_there(&row)?;
        let present = definition.layers.iter().cloned().map(ChainLayer::Present);
        let chain = present.chain([ChainLayer::Staged(staged)]).collect();
        let committed = self.store()?.commit(chain)?;
        crash::point(CrashPoint::CommitAfterLayer);
        let layers = made_layers(committed);
        describe(&mut config, &layers, options);
        self.record_made(&config, &layers, reference)
    }

    /// The config of the image that the container was made from.
    fn config_of(&mut self, definition: &Definition) -> Result<ImageConfig, EngineError> {
        let id = definition.image_id.to_string();
        let row = self.durable()?.image(&id)?;
        let row = row.ok_or_else(|| EngineError::NoSuchImage(definition.image.clone()))?;
        let image = definition.image.clone();
        serde_json::from_str(&row.config)
            .map_err(|source| EngineError::ImageConfig { image, source })
    }

    /// Writes the layer's tar and unpacks it at the same time.
    fn stage_layer(&mut self, view: &ContainerView) -> Result<StagedLayer, EngineError> {
        let limits = self.limits;
        let store = self.store()?;
        let (reader, writer): (PipeReader, PipeWriter) = pipe()
            .map_err(|source| EngineError::Export(Box::new(ExportError::Output { source })))?;
        let (written, staged) = std::thread::scope(|threads| {
            let writing = threads.spawn(move || {
                let mut writer = std::io::BufWriter::with_capacity(256 << 10, writer);
                view.layer(&mut writer)
            });
            let staged = store.import(reader, &limits);
            match writing.join() {
                Ok(written) => (written, staged),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        });
        // who stopped reading knows why; the writer only knows that nobody reads
        let staged = staged.map_err(|source| EngineError::Import {
            source: Box::new(source),
        });
        match written {
            Err(error @ ExportError::Store(_)) => Err(EngineError::Export(Box::new(error))),
            Err(ExportError::Output { source }) if staged.is_ok() => {
                Err(EngineError::Export(Box::new(ExportError::Output {
                    source,
                })))
            }
            Err(ExportError::Output { .. }) | Ok(()) => staged,
        }
    }

    /// Stops a running container where it is, for as long as we live and hold this.
    fn hold_still(&self, row: &ContainerRow) -> Result<Option<Still>, EngineError> {
        let cgroup = self.cgroup(&row.id)?;
        let frozen = |source| EngineError::Freeze {
            container: row.name.to_string(),
            source,
        };
        if !row.state.status.is_active() || cgroup.is_frozen().map_err(frozen)? {
            return Ok(None);
        }
        let path = self.still_lock(&row.id);
        let Some(lock) = OwnerLock::try_take(&path)? else {
            let container = row.name.to_string();
            return Err(EngineError::Busy { container });
        };
        let still = Still {
            cgroup,
            container: row.name.to_string(),
            _lock: lock,
        };
        still.cgroup.freeze().map_err(frozen)?;
        Ok(Some(still))
    }

    /// Lets containers go on that a dead commit held.
    pub(crate) fn release_held(&self, name: &str) -> Result<(), EngineError> {
        let Some(id) = name.strip_suffix(HELD_STILL) else {
            return Ok(());
        };
        let Ok(id) = id.parse::<ContainerId>() else {
            return Ok(());
        };
        let Some(lock) = OwnerLock::try_take(&self.still_lock(&id))? else {
            return Ok(());
        };
        let cgroup = self.cgroup(&id)?;
        if cgroup.exists() {
            let container = id.short().to_owned();
            cgroup
                .thaw()
                .map_err(|source| EngineError::Freeze { container, source })?;
        }
        drop(lock);
        Ok(())
    }

    fn cgroup(&self, id: &ContainerId) -> Result<Cgroup, EngineError> {
        let layout = CgroupLayout::detect().map_err(|source| EngineError::Cgroups { source })?;
        Ok(Cgroup::open(&layout, &CgroupName::new(id)))
    }

    fn still_lock(&self, id: &ContainerId) -> std::path::PathBuf {
        self.layout.locks().join(format!("{id}{HELD_STILL}"))
    }
}

/// A container that stands still. If its holder dies, the next command lets it go on.
struct Still {
    cgroup: Cgroup,
    container: String,
    /// Given back after the container goes on.
    _lock: OwnerLock,
}

impl Still {
    fn end(self) -> Result<(), EngineError> {
        self.cgroup.thaw().map_err(|source| EngineError::Freeze {
            container: self.container.clone(),
            source,
        })
    }
}

fn describe(config: &mut ImageConfig, layers: &[LayerRow], options: &CommitOptions) {
    let created = Some(rfc3339(Some(now_ns())));
    config.rootfs.diff_ids = layers
        .iter()
        .map(|layer| layer.diff_id.clone())
        .collect::<Vec<DiffId>>();
    config.created = created.clone();
    config.author = options.author.clone().or(config.author.take());
    config.history.push(HistoryEntry {
        created,
        created_by: config.config.cmd.as_ref().map(|words| words.join(" ")),
        author: options.author.clone(),
        comment: options.message.clone(),
        empty_layer: false,
    });
}
