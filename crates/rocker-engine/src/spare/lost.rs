//! What a repair could not bring back.
//!
//! ```text
//!   images/<id>.lost           the copy of an image whose config is nowhere
//!   images/unknown.lost        layers of which nothing says whose they are
//! ```
//!
//! Whatever such a file names stays where it is, until the image comes again or a person removes
//! the file: a damaged database is no reason to delete what it may have known.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use rocker_types::{ContainerId, DiffId, Digest, ImageRef, Layout};
use serde::{Deserialize, Serialize};

use super::{Spare, SpareContainer, container_path, names_in, read, remove, removed_mark, write};
use crate::EngineError;
use crate::engine::Engine;

/// How the names of these files end.
const LOST: &str = "lost";

/// The one that is of no image.
const UNKNOWN: &str = "unknown.lost";

/// What counts of a lost image.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Lost {
    id: Option<Digest>,
    manifest_digest: Option<Digest>,
    names: Vec<String>,
    repo_digests: Vec<String>,
    layers: Vec<LostLayer>,
}

#[derive(Debug, Serialize, Deserialize)]
struct LostLayer {
    diff_id: DiffId,
}

impl Lost {
    /// What became of what, and what to do about it; `path` is where this was read.
    pub(crate) fn tell(&self, path: &Path) -> (String, String) {
        let file = path.display();
        let Some(id) = &self.id else {
            let count = self.layers.len();
            let detail = format!("nothing says of which image {count} layers are; they stay");
            return (detail, format!("to give them up: rm {file}"));
        };
        let reference = self.names.first().or(self.repo_digests.first());
        let name = reference.and_then(|name| name.parse::<ImageRef>().ok());
        let name = name.map_or_else(|| id.short().to_owned(), |name| name.familiar());
        let again = match self.repo_digests.first() {
            Some(digest) => format!("pull it again with `rocker pull {digest}`"),
            None => "load or import it again".to_owned(),
        };
        (
            format!("image {name} could not be brought back: its config is lost; its layers stay"),
            format!("{again}, or to give it up: rm {file}"),
        )
    }

    /// The hex digits of the documents that it had.
    pub(crate) fn blobs(&self) -> impl Iterator<Item = String> {
        let digests = self.id.iter().chain(&self.manifest_digest);
        let named = self.repo_digests.iter();
        let named = named.filter_map(|name| Some(name.rsplit_once(':')?.1.to_owned()));
        digests.map(|digest| digest.hex().to_owned()).chain(named)
    }
}

/// Whether a name in `images/` is one of these.
pub(super) fn is_lost(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|end| end == LOST)
}

/// Of the image that came again.
pub(super) fn lost_path(layout: &Layout, id: &Digest) -> PathBuf {
    super::image_path(layout, id).with_extension(LOST)
}

/// All of them.
pub(crate) fn lost(layout: &Layout) -> Vec<(PathBuf, Lost)> {
    let names = names_in(&layout.images()).into_iter();
    let paths = names
        .filter(|name| is_lost(name))
        .map(|name| layout.images().join(name));
    paths
        .filter_map(|path| {
            let Spare { row, .. } = read(&path)?;
            Some((path, row))
        })
        .collect()
}

impl Engine {
    /// Keeps the copy of an image that could not be brought back, and what it names.
    pub(super) fn set_lost_aside(&self, copy: &Path) -> Result<(), EngineError> {
        let lost = copy.with_extension(LOST);
        fs_err::rename(copy, lost).map_err(EngineError::file("rename", copy))
    }

    /// Keeps the layers that nothing names, for a database that is new.
    pub(super) fn keep_unknown_layers(&mut self) -> Result<(), EngineError> {
        let path = self.layout.images().join(UNKNOWN);
        remove(&path)?;
        let layers = self.unclaimed_layers()?;
        if layers.is_empty() {
            return Ok(());
        }
        let layers = layers.into_iter().map(|diff_id| LostLayer { diff_id });
        let row = Lost {
            layers: layers.collect(),
            ..Lost::default()
        };
        crate::engine::ensure_own_directory(&self.layout.images())?;
        let generation = self.generation()?;
        write(&path, &Spare { generation, row })
    }

    /// Layers that no image has, no container lies on, no pull that ended early will go on with,
    /// and no repair has kept.
    pub(crate) fn unclaimed_layers(&mut self) -> Result<Vec<DiffId>, EngineError> {
        let mut claimed: BTreeSet<DiffId> = self.durable()?.layers()?.into_iter().collect();
        for (_, lost) in lost(&self.layout) {
            claimed.extend(lost.layers.into_iter().map(|layer| layer.diff_id));
        }
        claimed.extend(self.layers_of_containers()?);
        let store = self.store()?;
        let unfinished = store.unfinished_layers()?;
        let mut layers = store.layers()?;
        layers.retain(|layer| !claimed.contains(layer) && !unfinished.contains(layer));
        Ok(layers)
    }

    /// What the definitions say, also those that only a copy has.
    fn layers_of_containers(&mut self) -> Result<Vec<DiffId>, EngineError> {
        let live = self.live.containers()?.into_iter();
        let mut definitions: Vec<String> = live.map(|row| row.definition).collect();
        let kept = self.durable()?.kept_containers()?.into_iter();
        definitions.extend(kept.map(|row| row.definition));
        let names = names_in(&self.layout.containers()).into_iter();
        for id in names.filter_map(|name| name.parse::<ContainerId>().ok()) {
            if !removed_mark(&self.layout, &id).exists() {
                let copy = read::<SpareContainer>(&container_path(&self.layout, &id));
                definitions.extend(copy.map(|copy| copy.row.definition));
            }
        }
        let layers = definitions.iter().flat_map(|text| layers_in(text));
        Ok(layers.collect())
    }
}

/// The layers that a definition names, whatever else it says.
pub(crate) fn layers_in(definition: &str) -> Vec<DiffId> {
    #[derive(Deserialize)]
    struct Layers {
        #[serde(default)]
        layers: Vec<DiffId>,
    }
    serde_json::from_str::<Layers>(definition).map_or_else(|_| Vec::new(), |found| found.layers)
}
