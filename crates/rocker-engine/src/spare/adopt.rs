//! From copies back to rows.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use rocker_db::{
    ContainerRow, ContainerState, DbError, DurableContainer, LayerRow, LiveDb, NewImage, OwnerLock,
    Salvage, VolumeRow,
};
use rocker_image::store::StoreError;
use rocker_types::{ContainerId, ContainerName, Digest, ImageConfig, VolumeName};

use super::lost::lost_path;
use super::record::record_copy;
use super::{
    Spare, SpareContainer, SpareImage, SpareVolume, container_path, names_in, read, remove,
};
use crate::EngineError;
use crate::engine::Engine;

/// What came back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Adopted {
    pub(crate) images: usize,
    pub(crate) containers: usize,
    pub(crate) volumes: usize,
}

impl std::fmt::Display for Adopted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            images,
            containers,
            volumes,
        } = self;
        write!(
            f,
            "{images} images, {containers} containers and {volumes} volumes"
        )
    }
}

impl Engine {
    /// Takes back the changes of which there are copies that are newer than the database. The
    /// caller holds the images lock alone.
    pub(crate) fn adopt_newer(&mut self) -> Result<Adopted, EngineError> {
        let complete = self.durable()?.complete_generation()?;
        let newest = self.newest_copy();
        self.durable()?.begin_catching_up()?;
        let after = After {
            known: complete,
            unknown: complete,
            images: BTreeMap::new(),
        };
        // nobody gives or takes names meanwhile
        let mut live = LiveDb::open(&self.layout.live_db())?;
        let order = live.begin()?;
        let images = self.adopt_images(&after)?;
        drop(order);
        let adopted = Adopted {
            images,
            containers: self.adopt_containers(&after)?,
            volumes: self.adopt_volumes()?,
        };
        self.bring_back()?;
        self.durable()?.catch_up(newest)?;
        Ok(adopted)
    }

    /// Takes back whatever there is, for a database that is new: first the rows of the damaged one,
    /// then what the disk knows besides or knows better. The caller holds the images lock alone and
    /// the live database's write lock, and [brings back](Self::bring_back) what is not live.
    pub(crate) fn adopt_all(&mut self, salvage: Salvage) -> Result<Adopted, EngineError> {
        let newest = self.newest_copy();
        let known = salvage.generation.unwrap_or(newest);
        let after = After::salvaged(&salvage, known);
        self.durable()?.begin_catching_up()?;
        let mut adopted = self.adopt_rows(salvage)?;
        adopted.images += self.adopt_images(&after)? + self.adopt_nameless()?;
        adopted.containers += self.adopt_containers(&after)?;
        adopted.volumes += self.adopt_volumes()?;
        self.keep_unknown_layers()?;
        self.durable()?.catch_up(newest.max(known))?;
        Ok(adopted)
    }

    fn adopt_images(&mut self, after: &After) -> Result<usize, EngineError> {
        let known: BTreeSet<Digest> = self.durable()?.image_ids()?.into_iter().collect();
        let directory = self.layout.images();
        let paths = names_in(&directory)
            .into_iter()
            .map(|name| directory.join(name));
        let mut spares: Vec<(PathBuf, Spare<SpareImage>)> = paths
            .filter_map(|path| {
                let spare: Spare<SpareImage> = read(&path)?;
                Some((path, spare))
            })
            .filter(|(_, spare)| {
                let id = &spare.row.id;
                spare.generation > after.of_image(id, known.contains(id))
            })
            .collect();
        // a name that two of them have belongs to the newer
        spares.sort_by_key(|(_, spare)| spare.generation);
        let mut adopted = 0;
        for (path, Spare { row, .. }) in &spares {
            if !self.adopt_image(row)? {
                self.set_lost_aside(path)?;
            } else if !known.contains(&row.id) {
                remove(&lost_path(&self.layout, &row.id))?;
                adopted += 1;
            }
        }
        Ok(adopted)
    }

    /// Its config: the blob, or the copy's text where that has the right digest.
    pub(super) fn config_of_copy(
        &mut self,
        spare: &SpareImage,
    ) -> Result<Option<String>, EngineError> {
        let store = self.store()?;
        if let Ok(config) = store.read_blob(&spare.id) {
            return Ok(Some(String::from_utf8_lossy(&config).into_owned()));
        }
        let Some(config) = &spare.config else {
            return Ok(None);
        };
        match store.write_blob(&spare.id, config.as_bytes()) {
            Ok(()) => Ok(Some(config.clone())),
            Err(StoreError::BlobTampered { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// `false` if its config is gone too. The caller holds the live database's write lock.
    pub(super) fn adopt_image(&mut self, spare: &SpareImage) -> Result<bool, EngineError> {
        let config = match self.config_of_copy(spare)? {
            // it has lost names alone
            None => {
                let known = self.durable()?.image(&spare.id.to_string())?;
                known.map(|row| row.config)
            }
            config => config,
        };
        let Some(config) = config else {
            return Ok(false);
        };
        record_copy(self.durable()?, spare, &config)?;
        Ok(true)
    }

    /// Images of which there is a config and a layer, and nothing else: they come back without a
    /// name.
    fn adopt_nameless(&mut self) -> Result<usize, EngineError> {
        let known: BTreeSet<Digest> = self.durable()?.image_ids()?.into_iter().collect();
        let mut adopted = 0;
        for hex in names_in(&self.layout.blobs().join("sha256")) {
            let Ok(id) = format!("sha256:{hex}").parse::<Digest>() else {
                continue;
            };
            if known.contains(&id) {
                continue;
            }
            let store = self.store()?;
            let Ok(bytes) = store.read_blob(&id) else {
                continue;
            };
            let Ok(config) = serde_json::from_slice::<ImageConfig>(&bytes) else {
                continue;
            };
            let layers = &config.rootfs.diff_ids;
            if !layers.iter().any(|layer| store.has_layer(layer)) {
                continue;
            }
            let rows = layers.iter().map(|layer| LayerRow {
                diff_id: layer.clone(),
                size_bytes: store.layer_size(layer).unwrap_or(0),
                blob: None,
                disk_bytes: None,
            });
            let layers: Vec<LayerRow> = rows.collect();
            self.durable()?.record_image(&NewImage {
                id: &id,
                config: &String::from_utf8_lossy(&bytes),
                manifest_digest: None,
                layers: &layers,
                reference: None,
                repo_digest: None,
                pulled_ns: crate::clock::now_ns(),
            })?;
            adopted += 1;
        }
        Ok(adopted)
    }

    fn adopt_containers(&mut self, after: &After) -> Result<usize, EngineError> {
        let kept = self.durable()?.kept_containers()?.into_iter();
        let known: BTreeSet<ContainerId> = kept.map(|kept| kept.id).collect();
        let mut adopted = 0;
        for id in names_in(&self.layout.containers()) {
            let Ok(id) = id.parse::<ContainerId>() else {
                continue;
            };
            if super::removed_mark(&self.layout, &id).exists() {
                continue;
            }
            let path = container_path(&self.layout, &id);
            let after = after.of(known.contains(&id));
            let Some(spare) =
                read::<SpareContainer>(&path).filter(|spare| spare.generation > after)
            else {
                continue;
            };
            let Some((row, volumes)) = container_row(spare.row).filter(|(row, _)| row.id == id)
            else {
                continue;
            };
            if self.adopt_container(&row, &volumes)? {
                adopted += 1;
            }
        }
        Ok(adopted)
    }

    /// `false` if somebody works on it who knows better how it stands.
    fn adopt_container(
        &mut self,
        row: &ContainerRow,
        volumes: &[VolumeName],
    ) -> Result<bool, EngineError> {
        let path = self.layout.container_lock(&row.id);
        let Some(lock) = OwnerLock::try_take(&path)? else {
            return Ok(false);
        };
        if self.is_going(&row.id) {
            return Ok(false);
        }
        self.durable()?.record_container(row, volumes)?;
        drop(lock);
        Ok(true)
    }

    /// Containers that are durable and not live: a first command after the boot would have
    /// brought them.
    pub(crate) fn bring_back(&mut self) -> Result<(), EngineError> {
        if !self.live.is_seeded()? {
            return Ok(());
        }
        let live = self.live.containers()?;
        let mut missing: Vec<DurableContainer> = self.durable()?.kept_containers()?;
        missing.retain(|kept| !live.iter().any(|row| row.id == kept.id));
        let tx = self.live.begin()?;
        tx.bring_back(&missing)?;
        tx.commit()?;
        // how the others stand is known better here than in any copy
        for row in live.iter().filter(|row| row.kept && row.durable) {
            self.write_down_beside_owner(&row.id)?;
        }
        Ok(())
    }

    /// Writes a container down that somebody may own: who does writes down how it ends, and that
    /// stays whichever of both comes first.
    fn write_down_beside_owner(&mut self, id: &ContainerId) -> Result<(), EngineError> {
        if let Some(_lock) = OwnerLock::try_take(&self.layout.container_lock(id))? {
            return self.write_down_if_there(id);
        }
        let row = match self.live.container(id) {
            Err(DbError::NoSuchContainer(_)) => return Ok(()),
            row => row?,
        };
        let volumes = self.live.volumes_of(id)?;
        if self.durable()?.ensure_container(&row, &volumes)? && self.is_going(id) {
            // its remover may have been here before
            self.durable()?.delete_container(id)?;
        }
        Ok(())
    }

    /// Whether a container is being removed, or was.
    fn is_going(&self, id: &ContainerId) -> bool {
        !self.layout.container(id).exists() || super::removed_mark(&self.layout, id).exists()
    }

    /// A volume is its directory: one without a row was lost.
    pub(crate) fn adopt_volumes(&mut self) -> Result<usize, EngineError> {
        let mut adopted = 0;
        for name in names_in(&self.layout.volumes()) {
            let Ok(name) = name.parse::<VolumeName>() else {
                continue;
            };
            if !self.layout.volume(&name).join(crate::VOLUME_DATA).is_dir() {
                continue;
            }
            let spare = read::<SpareVolume>(&super::volume_path(&self.layout, &name));
            let row = volume_row(name, spare.map(|spare| spare.row));
            if self.durable()?.ensure_volume(&row)? {
                adopted += 1;
            }
        }
        Ok(adopted)
    }
}

/// Which copies count: those of a later change than these.
struct After {
    /// Of what has a row.
    known: i64,
    /// Of what has none.
    unknown: i64,
    /// Of images that have a row, where that is known better.
    images: BTreeMap<Digest, i64>,
}

impl After {
    /// With the rows of a damaged database. What it says of an image may not be all that it knew, so
    /// a copy of that very change counts too.
    fn salvaged(salvage: &Salvage, known: i64) -> Self {
        let images = salvage.images.iter().filter_map(|image| {
            let number = salvage.image_generations.get(&image.id);
            let before = number.map(|number| number.saturating_sub(1));
            let before = before.or(salvage.is_cut.then_some(-1))?;
            Some((image.id.clone(), before))
        });
        Self {
            known,
            unknown: -1,
            images: images.collect(),
        }
    }

    fn of(&self, is_known: bool) -> i64 {
        match is_known {
            true => self.known,
            false => self.unknown,
        }
    }

    fn of_image(&self, id: &Digest, is_known: bool) -> i64 {
        let better = self.images.get(id).filter(|_| is_known);
        better.copied().unwrap_or_else(|| self.of(is_known))
    }
}

fn container_row(spare: SpareContainer) -> Option<(ContainerRow, Vec<VolumeName>)> {
    let volumes = spare.volumes.iter().filter_map(|name| name.parse().ok());
    let volumes = volumes.collect();
    let row = ContainerRow {
        id: spare.id.parse().ok()?,
        name: spare.name.parse::<ContainerName>().ok()?,
        kept: true,
        image_id: spare.image_id,
        definition: spare.definition,
        created_ns: spare.created_ns,
        state: ContainerState {
            status: spare.status.parse().ok()?,
            init: None,
            monitor: None,
            started_ns: spare.started_ns,
            finished_ns: spare.finished_ns,
            exit_code: spare.exit_code,
            oom_killed: spare.oom_killed,
            error: spare.error,
            restarts: 0,
            stop_requested: false,
        },
        durable: true,
    };
    Some((row, volumes))
}

fn volume_row(name: VolumeName, spare: Option<SpareVolume>) -> VolumeRow {
    match spare {
        Some(spare) => VolumeRow {
            name,
            created_ns: spare.created_ns,
            labels: spare.labels,
            anonymous: spare.anonymous,
        },
        None => VolumeRow {
            // nobody else makes up such names
            anonymous: name.as_str().parse::<ContainerId>().is_ok(),
            name,
            created_ns: crate::clock::now_ns(),
            labels: Default::default(),
        },
    }
}

#[cfg(test)]
mod tests {
    use rocker_db::{DurableDb, NamedBy};
    use rocker_types::ImageRef;

    use super::*;
    use crate::spare::keep_image;
    use crate::testing::installation;

    #[test]
    fn who_gave_a_name_is_known_again_from_rows_and_from_copies() {
        let (dir, mut engine) = installation();
        let id: Digest = "sha256:1143aed0fc24734243c541c69c93e74a00b11839bcea9d7b29acfd586d1ba6ce"
            .parse()
            .unwrap();
        let [given, archived] = ["given:1", "archived:1"].map(|name| name.parse().unwrap());
        let asked: ImageRef = format!("asked@{id}").parse().unwrap();
        let name = asked.familiar_with_digest(&id);
        let new = |reference, repo_digest| NewImage {
            id: &id,
            config: r#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers"}}"#,
            manifest_digest: None,
            layers: &[],
            reference,
            repo_digest,
            pulled_ns: 1,
        };
        let durable = engine.durable().unwrap();
        durable
            .record_archived(&[new(Some(&archived), None)])
            .unwrap();
        let by_user = [new(Some(&given), None), new(Some(&asked), Some(&name))];
        durable.record_images(&by_user).unwrap();
        let salvage = durable.salvage();
        let layout = engine.layout.clone();
        for (number, salvage) in [salvage, Salvage::default()].into_iter().enumerate() {
            crate::engine::ensure_own_directory(&layout.images()).unwrap();
            keep_image(&layout, engine.durable().unwrap(), &id);
            let path = dir.path().join(format!("{number}.db"));
            engine.use_durable(DurableDb::open(&path).unwrap());

            assert_eq!(engine.adopt_all(salvage).unwrap().images, 1, "{number}");

            let durable = engine.durable().unwrap();
            for (name, by) in [(&given, NamedBy::User), (&archived, NamedBy::Archive)] {
                let holder = durable.holder(name).unwrap();
                assert_eq!(holder, Some((id.clone(), by)), "{number}");
            }
            let row = durable.image(&id.to_string()).unwrap().unwrap();
            assert_eq!(row.asked_digests, std::slice::from_ref(&asked), "{number}");
        }
    }
}
