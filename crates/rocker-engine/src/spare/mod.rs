//! What only the database knows, kept once more beside the things that it is about.
//!
//! ```text
//!   images/<id>.json                 config, names, layers, where it came from
//!   containers/<id>/container.json   definition, and how it stood last
//!   volumes/<name>/volume.json       labels
//! ```
//!
//! Nobody reads these while the database is well. When it is damaged, or has lost its last
//! changes with its log, they say what was in it. Each has the number of the change that it is
//! of: one that is newer than the database is of a change which that has lost. Such a
//! database is not used before it has that change again: counting on, it would pass the copies, and
//! what it has lost would look as if it had been removed. The first command after a boot sees to
//! it where the copies have all of it. No container's files go because of a number.
//!
//! Nothing waits for a disk here, and a copy that cannot be written fails nobody: the row is
//! what counts.

mod adopt;
mod behind;
mod lost;
mod record;
mod salvage;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};

use rocker_db::{ContainerRow, DbError, DurableDb, ImageRow, LayerRow, OwnerLock, VolumeRow};
use rocker_types::{ContainerId, Digest, ImageRef, Layout, VolumeName};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::EngineError;
use crate::engine::Engine;

pub(crate) use adopt::Adopted;
pub(crate) use lost::{layers_in, lost};
pub(crate) use record::{record_copy, references};

/// No copy is larger: a definition is bounded by what a command line can say, a config by what
/// the store takes as a blob.
const SPARE_BYTES_MAX: u64 = 64 << 20;

/// The copy of a container's row, in the container's directory.
pub(crate) const CONTAINER_COPY: &str = "container.json";

/// Says of a container's directory that the container was removed, whatever else it holds.
pub(crate) const REMOVED_MARK: &str = "removed";

/// A copy of a row, and of which change of the database.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Spare<T> {
    pub(crate) generation: i64,
    #[serde(flatten)]
    pub(crate) row: T,
}

/// What is kept of an image.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SpareImage {
    pub(crate) id: Digest,
    /// Its config once more, which is a blob too; none in copies of an earlier rocker.
    #[serde(default)]
    pub(crate) config: Option<String>,
    pub(crate) manifest_digest: Option<Digest>,
    pub(crate) pulled_ns: i64,
    pub(crate) names: Vec<String>,
    /// Those of its names that an archive chose.
    #[serde(default)]
    pub(crate) archived_names: Vec<String>,
    pub(crate) repo_digests: Vec<String>,
    /// Those of them by which somebody asked for it.
    #[serde(default)]
    pub(crate) asked_digests: Vec<String>,
    /// Base first.
    pub(crate) layers: Vec<SpareLayer>,
}

impl SpareImage {
    fn of(row: ImageRow, layers: Vec<SpareLayer>) -> Self {
        Self {
            id: row.id,
            config: Some(row.config),
            manifest_digest: row.manifest_digest,
            pulled_ns: row.pulled_ns,
            names: row.tags.iter().map(ImageRef::canonical).collect(),
            archived_names: row.archived_tags.iter().map(ImageRef::canonical).collect(),
            repo_digests: row.repo_digests,
            asked_digests: row.asked_digests.iter().map(ImageRef::familiar).collect(),
            layers,
        }
    }
}

/// What is kept of a layer.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SpareLayer {
    pub(crate) diff_id: rocker_types::DiffId,
    pub(crate) size_bytes: u64,
    pub(crate) blob: Option<(Digest, u64)>,
}

impl SpareLayer {
    fn of(row: &LayerRow) -> Self {
        Self {
            diff_id: row.diff_id.clone(),
            size_bytes: row.size_bytes,
            blob: row.blob.clone(),
        }
    }
}

/// What is kept of a container.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SpareContainer {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) image_id: Option<Digest>,
    pub(crate) definition: String,
    pub(crate) volumes: Vec<String>,
    pub(crate) created_ns: i64,
    pub(crate) status: String,
    pub(crate) exit_code: i32,
    pub(crate) oom_killed: bool,
    pub(crate) error: String,
    pub(crate) started_ns: Option<i64>,
    pub(crate) finished_ns: Option<i64>,
}

/// What is kept of a volume.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SpareVolume {
    pub(crate) created_ns: i64,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) anonymous: bool,
}

pub(crate) fn image_path(layout: &Layout, id: &Digest) -> PathBuf {
    layout.images().join(format!("{}.json", id.hex()))
}

pub(crate) fn container_path(layout: &Layout, id: &ContainerId) -> PathBuf {
    layout.container(id).join(CONTAINER_COPY)
}

pub(crate) fn removed_mark(layout: &Layout, id: &ContainerId) -> PathBuf {
    layout.container(id).join(REMOVED_MARK)
}

pub(crate) fn volume_path(layout: &Layout, name: &VolumeName) -> PathBuf {
    layout.volume(name).join("volume.json")
}

/// Keeps a copy of what the database says of an image now; none if it says nothing. Called under
/// the lock that orders changes, so that the last copy is of the last change.
pub(crate) fn keep_image(layout: &Layout, durable: &DurableDb, id: &Digest) {
    let kept = spare_image(durable, id).and_then(|spare| {
        let path = image_path(layout, id);
        match spare {
            Some(spare) => {
                crate::engine::ensure_own_directory(&layout.images())?;
                write(&path, &spare)?;
                remove(&lost::lost_path(layout, id))
            }
            None => remove(&path),
        }
    });
    told(kept);
}

/// The images whose copies become stale when another image gets their names.
pub(crate) fn holders<'a>(
    durable: &DurableDb,
    names: impl Iterator<Item = &'a ImageRef>,
) -> Result<BTreeSet<Digest>, EngineError> {
    let mut holders = BTreeSet::new();
    for name in names {
        holders.extend(durable.image_by_reference(name)?.map(|row| row.id));
    }
    Ok(holders)
}

fn spare_image(durable: &DurableDb, id: &Digest) -> Result<Option<Spare<SpareImage>>, EngineError> {
    let Some(row) = durable.image(&id.to_string())? else {
        return Ok(None);
    };
    let mut layers = Vec::with_capacity(row.layers.len());
    for diff_id in &row.layers {
        layers.extend(durable.layer(diff_id)?.iter().map(SpareLayer::of));
    }
    let generation = match durable.image_generation(id)? {
        Some(generation) => generation,
        None => durable.generation()?,
    };
    Ok(Some(Spare {
        generation,
        row: SpareImage::of(row, layers),
    }))
}

impl Engine {
    /// Keeps a copy of a container's row, which was just written down.
    pub(crate) fn keep_container(&mut self, row: &ContainerRow, volumes: &[VolumeName]) {
        let path = container_path(&self.layout, &row.id);
        let state = &row.state;
        let spare = SpareContainer {
            id: row.id.to_string(),
            name: row.name.to_string(),
            image_id: row.image_id.clone(),
            definition: row.definition.clone(),
            volumes: volumes.iter().map(ToString::to_string).collect(),
            created_ns: row.created_ns,
            status: state.status.as_str().to_owned(),
            exit_code: state.exit_code,
            oom_killed: state.oom_killed,
            error: state.error.clone(),
            started_ns: state.started_ns,
            finished_ns: state.finished_ns,
        };
        let kept = self.generation().and_then(|generation| {
            let directory = self.layout.container(&row.id);
            crate::engine::ensure_own_directory(&self.layout.containers())?;
            crate::engine::ensure_own_directory(&directory)?;
            let row = spare;
            write(&path, &Spare { generation, row })
        });
        told(kept);
    }

    /// Keeps a copy of a volume's row, which was just made.
    pub(crate) fn keep_volume(&mut self, row: &VolumeRow) {
        let path = volume_path(&self.layout, &row.name);
        let spare = SpareVolume {
            created_ns: row.created_ns,
            labels: row.labels.clone(),
            anonymous: row.anonymous,
        };
        let kept = self.generation().and_then(|generation| {
            let row = spare;
            write(&path, &Spare { generation, row })
        });
        told(kept);
    }

    /// Keeps copies of everything, also of what an earlier rocker recorded without.
    pub(crate) fn keep_all(&mut self) -> Result<(), EngineError> {
        let layout = self.layout.clone();
        let (live, durable) = self.databases()?;
        let tx = live.begin()?;
        let generation = durable.complete_generation()?;
        for id in durable.image_ids()? {
            let kept: Option<Spare<SpareImage>> = read(&image_path(&layout, &id));
            if kept.is_none_or(|kept| kept.generation <= generation) {
                keep_image(&layout, durable, &id);
            }
        }
        drop(tx);
        for row in self.live.containers()? {
            let is_kept = row.kept && row.durable;
            let has_copy = || read::<SpareContainer>(&container_path(&layout, &row.id)).is_some();
            if is_kept && !has_copy() {
                // who owns it writes it down when it ends
                let lock = OwnerLock::try_take(&layout.container_lock(&row.id))?;
                if let Some(_lock) = lock {
                    self.write_down_if_there(&row.id)?;
                }
            }
        }
        for row in self.durable()?.volumes()? {
            if read::<SpareVolume>(&volume_path(&layout, &row.name)).is_none() {
                self.keep_volume(&row);
            }
        }
        Ok(())
    }

    fn generation(&mut self) -> Result<i64, EngineError> {
        Ok(self.durable()?.generation()?)
    }

    /// [`write_down`](Self::write_down) for a container that may be gone. The caller holds its
    /// lock: its owner knows better how it stands.
    fn write_down_if_there(&mut self, id: &ContainerId) -> Result<(), EngineError> {
        match self.write_down(id) {
            Err(EngineError::Db(DbError::NoSuchContainer(_))) => Ok(()),
            done => done,
        }
    }

    /// The number of the newest copy; -1 if there is none.
    fn newest_copy(&self) -> i64 {
        let layout = &self.layout;
        let images = names_in(&layout.images()).into_iter();
        let images = images.map(|name| layout.images().join(name));
        let containers = names_in(&layout.containers()).into_iter();
        let containers =
            containers.filter_map(|id| Some(container_path(layout, &id.parse().ok()?)));
        let volumes = names_in(&layout.volumes()).into_iter();
        let volumes = volumes.filter_map(|name| Some(volume_path(layout, &name.parse().ok()?)));
        let numbers = images
            .chain(containers)
            .chain(volumes)
            .filter_map(|path| read::<serde::de::IgnoredAny>(&path))
            .map(|spare| spare.generation);
        numbers.max().unwrap_or(-1)
    }

    /// Removes the copies of images that are gone, and those that were never finished.
    pub(crate) fn sweep_spares(&mut self) -> Result<(), EngineError> {
        let layout = self.layout.clone();
        let (live, durable) = self.databases()?;
        // who writes a copy holds this, and gives it its name before it lets go
        let tx = live.begin()?;
        for path in unknown_images(&layout, durable)? {
            remove(&path)?;
        }
        drop(tx);
        Ok(())
    }
}

/// Files beside which no row stands.
fn unknown_images(layout: &Layout, durable: &DurableDb) -> Result<Vec<PathBuf>, EngineError> {
    // listed before the rows are read: a row is there before its copy is
    let names = names_in(&layout.images());
    let ids = durable.image_ids()?;
    let known: BTreeSet<String> = ids.iter().map(|id| format!("{}.json", id.hex())).collect();
    let is_unknown = |name: &String| !known.contains(name) && !lost::is_lost(name);
    let unknown = names.into_iter().filter(is_unknown);
    Ok(unknown.map(|name| layout.images().join(name)).collect())
}

/// The names in a directory; none if there is no directory.
pub(crate) fn names_in(directory: &Path) -> Vec<String> {
    let Ok(entries) = fs_err::read_dir(directory) else {
        return Vec::new();
    };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.collect()
}

/// Reads a copy; `None` for one that is missing or torn.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> Option<Spare<T>> {
    let mut text = Vec::new();
    let file = fs_err::File::open(path).ok()?;
    file.take(SPARE_BYTES_MAX).read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}

/// Writes a copy, as a whole or not at all. One that a killed process left half written beside
/// it is written over.
fn write<T: Serialize>(path: &Path, spare: &Spare<T>) -> Result<(), EngineError> {
    let text = serde_json::to_vec(spare)
        .map_err(std::io::Error::from)
        .map_err(EngineError::file("write", path))?;
    let new = path.with_extension("new");
    fs_err::write(&new, text)
        .and_then(|()| fs_err::rename(&new, path))
        .map_err(EngineError::file("write", path))
}

/// Removes a file, if it is there.
pub(crate) fn remove(path: &Path) -> Result<(), EngineError> {
    match fs_err::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(EngineError::file("remove", path)(error))
        }
        _ => Ok(()),
    }
}

fn told(kept: Result<(), EngineError>) {
    if let Err(error) = kept {
        tracing::debug!(%error, "what the database knows is not kept a second time");
    }
}
