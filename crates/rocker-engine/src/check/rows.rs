//! Rows against what lies beside the database: configs, copies and the live database.
//!
//! sqlite's own check knows whether a file is well formed, not whether a row is missing in it.

use std::collections::BTreeSet;

use rocker_db::{ContainerRow, ImageRow, LayerRow, NewImage, OwnerLock};
use rocker_types::{Digest, ImageRef};

use super::{CheckReport, CheckStatus, Repair};
use crate::EngineError;
use crate::engine::Engine;
use crate::spare::{
    Spare, SpareImage, holders, image_path, keep_image, read, record_copy, references,
};

impl Engine {
    /// The names that an image's copy has and its row has not, if both are of one change; `None`
    /// if there are none. A copy of an earlier change only says that its writer was killed.
    pub(super) fn lost_names(&mut self, id: &Digest) -> Result<Option<SpareImage>, EngineError> {
        let path = image_path(&self.layout, id);
        let (live, durable) = self.databases()?;
        // nobody gives or takes names meanwhile
        let _tx = live.begin()?;
        let generation = durable.image_generation(id)?;
        let (Some(row), Some(copy)) = (durable.image(&id.to_string())?, read::<SpareImage>(&path))
        else {
            return Ok(None);
        };
        if generation != Some(copy.generation) {
            return Ok(None);
        }
        let Spare { row: mut copy, .. } = copy;
        let is_known = |name: &String| {
            let name = name.parse::<ImageRef>();
            name.is_ok_and(|name| row.tags.contains(&name))
        };
        copy.names.retain(|name| !is_known(name));
        let digests = &row.repo_digests;
        copy.repo_digests.retain(|name| !digests.contains(name));
        let is_whole = copy.names.is_empty() && copy.repo_digests.is_empty();
        Ok((!is_whole).then_some(copy))
    }

    /// Gives an image back the names that its row has lost.
    pub(super) fn restore_names(&mut self, image: &ImageRow) -> Result<(), EngineError> {
        let Some(lost) = self.lost_names(&image.id)? else {
            return Ok(());
        };
        let names: Vec<ImageRef> = references(&lost.names);
        let layout = self.layout.clone();
        let (live, durable) = self.databases()?;
        let tx = live.begin()?;
        let mut changed = holders(durable, names.iter())?;
        if durable.image(&image.id.to_string())?.is_some() {
            record_copy(durable, &lost, &image.config)?;
            changed.insert(image.id.clone());
        }
        for id in &changed {
            keep_image(&layout, durable, id);
        }
        drop(tx);
        Ok(())
    }

    /// Writes the config's text once more into the row of an image, from its blob.
    pub(super) fn restore_config(&mut self, image: &ImageRow) -> Result<(), EngineError> {
        let Some(blob) = self.good_blob(&image.id)? else {
            return Ok(());
        };
        let config = String::from_utf8_lossy(&blob);
        self.record_image(&again(image, &config, &[]))
    }

    /// Records the layers of an image as its config has them, if all of them are there.
    pub(super) fn restore_layers(&mut self, image: &ImageRow) -> Result<(), EngineError> {
        let config = crate::images::config(image)?;
        let store = self.store()?;
        let rows = config.rootfs.diff_ids.iter().map(|layer| {
            Some(LayerRow {
                diff_id: layer.clone(),
                size_bytes: store.layer_size(layer).ok()?,
                blob: None,
                disk_bytes: None,
            })
        });
        let Some(layers) = rows.collect::<Option<Vec<_>>>() else {
            return Ok(());
        };
        self.record_image(&again(image, &image.config, &layers))
    }

    /// Kept containers that the next boot would not find.
    pub(super) fn check_containers(
        &mut self,
        repair: Repair,
        report: &mut CheckReport,
    ) -> Result<(), EngineError> {
        let kept = self.durable()?.kept_containers()?;
        let known: BTreeSet<&str> = kept.iter().map(|kept| kept.id.as_str()).collect();
        let rows = self.live.containers()?;
        let is_lost =
            |row: &&ContainerRow| row.kept && row.durable && !known.contains(row.id.as_str());
        for row in rows.iter().filter(is_lost) {
            // one that is just being removed is not lost
            let path = self.layout.container_lock(&row.id);
            let Some(_lock) = OwnerLock::try_take(&path)? else {
                continue;
            };
            let intents = self.live.intents_of(&row.id)?;
            if self.live.container(&row.id).is_err() || !intents.is_empty() {
                continue;
            }
            let what = format!("container {}", row.name);
            let detail = "the database has lost it: it would be gone after a reboot";
            match repair {
                Repair::Yes => {
                    self.write_down(&row.id)?;
                    report.line(&what, CheckStatus::Mended, format!("{detail}: put right"));
                }
                Repair::No => {
                    let cure = "run `rocker system check --repair`: it is written down again";
                    report.fail(&what, detail, Some(cure.to_owned()));
                }
            }
        }
        Ok(())
    }
}

/// What is recorded of an image, to be recorded once more.
fn again<'a>(image: &'a ImageRow, config: &'a str, layers: &'a [LayerRow]) -> NewImage<'a> {
    NewImage {
        id: &image.id,
        config,
        manifest_digest: None,
        layers,
        reference: None,
        repo_digest: None,
        pulled_ns: image.pulled_ns,
    }
}
