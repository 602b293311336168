//! A database that has lost its last changes, when nobody asked for a check.

use rocker_db::OwnerLock;

use crate::EngineError;
use crate::containers::BUSY_PATIENCE;
use crate::engine::Engine;
use crate::sweep::IMAGES_LOCK;

impl Engine {
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
