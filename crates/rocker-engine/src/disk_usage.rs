//! `system df`: what takes how much of the disk.
//!
//! Layers never change, so each is measured once and the database knows what it takes. What
//! containers and volumes hold may change at any moment, and no time stamp of a directory tells
//! of a change deep below it: they are measured when somebody asks, several at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use rocker_image::store::disk_usage;
use rocker_types::{ContainerStatus, DiffId, Digest};

use crate::EngineError;
use crate::containers::{ContainerSummary, Volume};
use crate::engine::Engine;
use crate::images::ImageSummary;
use crate::spare::names_in;
use crate::sweep::VOLUME_TRASH;

/// What everything of an installation takes on disk, in bytes as du(1) counts them. The parts
/// together are the whole data directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskUsage {
    /// Layers, with configs and manifests.
    pub images: Share,
    /// What containers wrote, logs left out.
    pub containers: Share,
    /// Volumes.
    pub volumes: Share,
    /// Logs of containers.
    pub logs_bytes: u64,
    /// Unfinished pulls, and what is being deleted.
    pub partial_bytes: u64,
    /// The database, and what it knows once more.
    pub database_bytes: u64,
}

/// One kind of thing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// How many there are.
    pub count: usize,
    /// How many of them are in use: images that have a container, containers that run, volumes
    /// that a container mounts.
    pub active: usize,
    /// What all take.
    pub bytes: u64,
    /// What a removal of the others would free.
    pub reclaimable_bytes: u64,
}

/// One image, and what it shares with others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageUsage {
    /// The image.
    pub image: ImageSummary,
    /// Its layers that other images have as well.
    pub shared_bytes: u64,
    /// Its layers that nobody else has.
    pub unique_bytes: u64,
}

/// What each thing takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DetailedUsage {
    /// Images, newest arrival first.
    pub images: Vec<ImageUsage>,
    /// Containers, newest first, with what they wrote.
    pub containers: Vec<(ContainerSummary, u64)>,
    /// Volumes by name, with the number of containers that mount them and what they hold.
    pub volumes: Vec<(Volume, usize, u64)>,
}

/// The part of layers among images.
struct Layers {
    bytes: BTreeMap<DiffId, u64>,
    of_images: Vec<(Digest, DiffId)>,
}

impl Layers {
    fn users(&self) -> BTreeMap<&DiffId, usize> {
        let mut users = BTreeMap::new();
        for (_, layer) in &self.of_images {
            *users.entry(layer).or_default() += 1;
        }
        users
    }

    fn bytes_of(&self, layer: &DiffId) -> u64 {
        self.bytes.get(layer).copied().unwrap_or(0)
    }
}

impl Engine {
    /// What everything takes, by kind.
    ///
    /// # Errors
    ///
    /// [`EngineError::File`] if something cannot be measured, and what the databases say.
    pub fn disk_usage(&mut self) -> Result<DiskUsage, EngineError> {
        let (containers, logs_bytes) = self.containers_share()?;
        let volumes = self.volumes_share()?;
        let (images, documents) = (self.images_share()?, self.layout.blobs());
        let trash = names_in(&self.layout.volumes()).into_iter();
        let trash = trash.filter(|name| name.starts_with(VOLUME_TRASH));
        let mut partial: Vec<PathBuf> =
            trash.map(|name| self.layout.volumes().join(name)).collect();
        partial.push(self.layout.tmp());
        let root = names_in(self.layout.root()).into_iter();
        let database = root.filter(|name| name.starts_with("rocker.db"));
        let mut database: Vec<PathBuf> =
            database.map(|name| self.layout.root().join(name)).collect();
        database.push(self.layout.images());
        let total = |paths: &[PathBuf]| measure(paths).map(|all| all.iter().sum::<u64>());
        let document_bytes = total(&[documents])?;
        Ok(DiskUsage {
            images: Share {
                bytes: images.bytes + document_bytes,
                ..images
            },
            containers,
            volumes,
            logs_bytes,
            partial_bytes: total(&partial)?,
            database_bytes: total(&database)?,
        })
    }

    /// What each image, container and volume takes.
    ///
    /// # Errors
    ///
    /// As [`disk_usage`](Self::disk_usage).
    pub fn disk_usage_of_each(&mut self) -> Result<DetailedUsage, EngineError> {
        self.measure_layers()?;
        let images = self.images_usage()?;
        let containers = self.containers(true)?;
        let paths: Vec<_> = containers
            .iter()
            .map(|one| self.layout.container(&one.id))
            .collect();
        let written = measure(&paths)?;
        let logs = self.log_bytes(&containers)?;
        let written = written
            .iter()
            .zip(logs)
            .map(|(all, logs)| all.saturating_sub(logs));
        let volumes = self.volumes()?;
        let paths: Vec<_> = volumes
            .iter()
            .map(|one| self.layout.volume(&one.name))
            .collect();
        let held = measure(&paths)?;
        let mut detailed = Vec::new();
        for (volume, bytes) in volumes.into_iter().zip(held) {
            let users = self.live.users_of_volume(&volume.name)?.len();
            detailed.push((volume, users, bytes));
        }
        Ok(DetailedUsage {
            images,
            containers: containers.iter().cloned().zip(written).collect(),
            volumes: detailed,
        })
    }

    /// What each image takes, newest arrival first, as far as its layers were measured: those of
    /// images that came in a regular way were.
    ///
    /// # Errors
    ///
    /// What the databases say.
    pub fn images_usage(&mut self) -> Result<Vec<ImageUsage>, EngineError> {
        let layers = self.measured_layers()?;
        let users = layers.users();
        let mut images = Vec::new();
        for image in self.images()? {
            // sorted by image
            let first = layers.of_images.partition_point(|(id, _)| *id < image.id);
            let own = layers.of_images.iter().skip(first);
            let own = own.take_while(|(id, _)| *id == image.id);
            let (mut shared_bytes, mut unique_bytes) = (0, 0);
            for (_, layer) in own {
                match users.get(layer) {
                    Some(1) => unique_bytes += layers.bytes_of(layer),
                    _ => shared_bytes += layers.bytes_of(layer),
                }
            }
            images.push(ImageUsage {
                image,
                shared_bytes,
                unique_bytes,
            });
        }
        Ok(images)
    }

    /// Measures the layers that nobody has measured yet: called when images came, so that
    /// nobody waits for it later.
    pub(crate) fn measure_layers(&mut self) -> Result<(), EngineError> {
        let unmeasured = self.durable()?.unmeasured_layers()?;
        if unmeasured.is_empty() {
            return Ok(());
        }
        let mut measures = Vec::with_capacity(unmeasured.len());
        for layer in unmeasured {
            let bytes = self.store()?.layer_disk_usage(&layer)?;
            measures.push((layer, bytes));
        }
        Ok(self.durable()?.record_measures(&measures)?)
    }

    fn layers_on_disk(&mut self) -> Result<Layers, EngineError> {
        self.measure_layers()?;
        self.measured_layers()
    }

    fn measured_layers(&mut self) -> Result<Layers, EngineError> {
        let durable = self.durable()?;
        Ok(Layers {
            bytes: durable.measures()?.into_iter().collect(),
            of_images: durable.layers_of_images()?,
        })
    }

    fn images_share(&mut self) -> Result<Share, EngineError> {
        let layers = self.layers_on_disk()?;
        let rows = self.live.containers()?;
        let used: BTreeSet<&Digest> = rows
            .iter()
            .filter_map(|row| row.image_id.as_ref())
            .collect();
        let ids = self.durable()?.image_ids()?;
        let needed = layers
            .of_images
            .iter()
            .filter(|(image, _)| used.contains(image));
        let needed: BTreeSet<&DiffId> = needed.map(|(_, layer)| layer).collect();
        let unneeded = layers
            .bytes
            .iter()
            .filter(|(layer, _)| !needed.contains(layer));
        Ok(Share {
            count: ids.len(),
            active: ids.iter().filter(|id| used.contains(id)).count(),
            bytes: layers.bytes.values().sum(),
            reclaimable_bytes: unneeded.map(|(_, bytes)| bytes).sum(),
        })
    }

    fn containers_share(&mut self) -> Result<(Share, u64), EngineError> {
        let containers = self.containers(true)?;
        let paths: Vec<_> = containers
            .iter()
            .map(|one| self.layout.container(&one.id))
            .collect();
        let all = measure(&paths)?;
        let logs = self.log_bytes(&containers)?;
        let mut share = Share {
            count: containers.len(),
            ..Share::default()
        };
        for ((container, all), logs) in containers.iter().zip(all).zip(&logs) {
            let written = all.saturating_sub(*logs);
            share.bytes += written;
            match container.status {
                ContainerStatus::Running
                | ContainerStatus::Paused
                | ContainerStatus::Restarting => {
                    share.active += 1;
                }
                ContainerStatus::Created
                | ContainerStatus::Exited
                | ContainerStatus::Removing
                | ContainerStatus::Dead => share.reclaimable_bytes += written,
            }
        }
        Ok((share, logs.iter().sum()))
    }

    fn log_bytes(&self, containers: &[ContainerSummary]) -> Result<Vec<u64>, EngineError> {
        let logs = containers.iter().map(|container| {
            let names = names_in(&self.layout.container(&container.id)).into_iter();
            let is_log = |name: &String| name.starts_with(container.id.as_str());
            let logs = names.filter(is_log);
            logs.map(|name| self.layout.container(&container.id).join(name))
                .collect::<Vec<_>>()
        });
        logs.map(|paths| measure(&paths).map(|all| all.iter().sum()))
            .collect()
    }

    fn volumes_share(&mut self) -> Result<Share, EngineError> {
        let volumes = self.durable()?.volumes()?;
        let paths: Vec<_> = volumes
            .iter()
            .map(|one| self.layout.volume(&one.name))
            .collect();
        let mut share = Share {
            count: volumes.len(),
            ..Share::default()
        };
        for (volume, bytes) in volumes.iter().zip(measure(&paths)?) {
            share.bytes += bytes;
            match self.live.users_of_volume(&volume.name)?.is_empty() {
                true => share.reclaimable_bytes += bytes,
                false => share.active += 1,
            }
        }
        Ok(share)
    }
}

/// What each path takes, in the order given; several are measured at a time.
fn measure(paths: &[PathBuf]) -> Result<Vec<u64>, EngineError> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicUsize::new(0);
    let work = || -> Vec<(usize, io::Result<u64>)> {
        let mut measured = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(path) = paths.get(index) else {
                return measured;
            };
            measured.push((index, disk_usage(path)));
        }
    };
    let mut measured = if paths.len() < 2 {
        work()
    } else {
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads.min(paths.len()))
                .map(|_| scope.spawn(work))
                .collect();
            let joined = workers.into_iter().map(|worker| match worker.join() {
                Ok(measured) => measured,
                Err(panic) => std::panic::resume_unwind(panic),
            });
            joined.flatten().collect()
        })
    };
    measured.sort_by_key(|(index, _)| *index);
    let bytes = measured
        .into_iter()
        .zip(paths)
        .map(|((_, bytes), path)| bytes.map_err(EngineError::file("measure", path)));
    bytes.collect()
}
