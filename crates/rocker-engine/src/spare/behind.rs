//! A database that has lost its last changes: what is missing, and taking it back when nobody asked for
//! a check.

use std::collections::BTreeSet;

use rocker_db::OwnerLock;
use rocker_types::ContainerId;

use super::{
    Spare, SpareContainer, SpareImage, container_path, names_in, read, removed_mark, unknown_images,
};
use crate::EngineError;
use crate::containers::BUSY_PATIENCE;
use crate::engine::Engine;
use crate::sweep::IMAGES_LOCK;

impl Engine {
    /// Whether a copy is newer than the database is: it has lost its last changes.
    pub(crate) fn is_behind(&mut self) -> Result<bool, EngineError> {
        // read first: a copy is written after the change that it is of
        let newest = self.newest_copy();
        Ok(newest > self.durable()?.complete_generation()?)
    }

    /// Copies of images that the database has lost.
    pub(crate) fn lost_images(&mut self) -> Result<Vec<Spare<SpareImage>>, EngineError> {
        let generation = self.durable()?.complete_generation()?;
        let layout = self.layout.clone();
        let unknown = unknown_images(&layout, self.durable()?)?.into_iter();
        let spares = unknown.filter_map(|path| read::<SpareImage>(&path));
        Ok(spares
            .filter(|spare| spare.generation > generation)
            .collect())
    }

    /// How many containers the database has lost.
    pub(crate) fn lost_containers(&mut self) -> Result<usize, EngineError> {
        let generation = self.durable()?.complete_generation()?;
        let kept = self.durable()?.kept_containers()?;
        let known: BTreeSet<&str> = kept.iter().map(|kept| kept.id.as_str()).collect();
        let is_lost = |id: &ContainerId| {
            let spare = read::<SpareContainer>(&container_path(&self.layout, id));
            spare.is_some_and(|spare| spare.generation > generation)
                && !removed_mark(&self.layout, id).exists()
        };
        let names = names_in(&self.layout.containers());
        let unknown = names.iter().filter(|name| !known.contains(name.as_str()));
        let ids = unknown.filter_map(|name| name.parse().ok());
        Ok(ids.filter(is_lost).count())
    }

    /// Takes back what the database has lost of its last changes if the copies have all of it;
    /// `false` if something would be left out. The caller holds the images lock alone.
    pub(crate) fn bring_back_lost(&mut self) -> Result<bool, EngineError> {
        if !self.is_behind()? {
            return Ok(true);
        }
        for spare in self.lost_images()? {
            if self.config_of_copy(&spare.row)?.is_none() {
                return Ok(false);
            }
        }
        self.adopt_newer()?;
        tracing::warn!(
            database = %self.layout.db().display(),
            "the database had lost its last changes: they are back, from the copies on disk"
        );
        Ok(true)
    }

    /// The same for the first command after a boot: a power failure may have taken what the
    /// database wrote last, and counting on it would pass the copies.
    pub(crate) fn catch_up_after_boot(&mut self) -> Result<(), EngineError> {
        if !self.is_behind()? {
            return Ok(());
        }
        let lock = self.layout.locks().join(IMAGES_LOCK);
        // another first command may be doing it
        let alone = OwnerLock::alone_within(&lock, BUSY_PATIENCE)?;
        let _alone = alone.ok_or(EngineError::ImagesBusy)?;
        match self.bring_back_lost()? {
            true => Ok(()),
            false => Err(EngineError::ChangesLost {
                path: self.layout.db(),
            }),
        }
    }
}
