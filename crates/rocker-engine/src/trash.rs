//! What was removed is gone at once; its files go when the answer is given.

use std::path::Path;

use rocker_db::SweepWish;
use rocker_image::store::Trash;

use crate::EngineError;
use crate::crash::{self, CrashPoint};
use crate::engine::Engine;

/// Files to delete before the process ends.
#[derive(Debug)]
pub(crate) struct PendingTrash {
    trash: Trash,
    /// What asks later commands to do it, if this process is killed; ours to take back.
    wish: Option<SweepWish>,
}

impl PendingTrash {
    /// Deletes what a sweep moved away, which fulfils `wish`.
    pub(crate) fn of_sweep(trash: Trash, wish: Option<SweepWish>) -> Self {
        Self { trash, wish }
    }
}

impl Engine {
    /// Moves a directory to the trash. One that cannot be moved is deleted right here.
    pub(crate) fn discard(&mut self, directory: &Path) -> Result<(), EngineError> {
        if !directory.exists() {
            return Ok(());
        }
        if self.trash.is_empty() {
            let tx = self.live.begin()?;
            let wish = tx.want_own_sweep()?;
            tx.commit()?;
            // on a full disk there is no room for a directory, but for what is deleted
            let Ok(trash) = self.store()?.trash() else {
                return self.remove_tree(directory);
            };
            self.trash.push(PendingTrash { trash, wish });
        }
        let taken = self
            .trash
            .first()
            .map(|pending| pending.trash.take(directory));
        match taken {
            Some(Ok(())) => Ok(()),
            Some(Err(_)) | None => self.remove_tree(directory),
        }
    }

    /// Deletes the files of what was removed: for the end of a command, when its answer is given.
    /// Whoever does not call this leaves it to the next command.
    ///
    /// # Errors
    ///
    /// What the store and the database say; a later command tries again.
    pub fn take_out_trash(&mut self) -> Result<(), EngineError> {
        for PendingTrash { trash, wish } in std::mem::take(&mut self.trash) {
            crash::point(CrashPoint::TrashBeforeEmpty);
            trash.empty()?;
            if let Some(wish) = wish {
                let tx = self.live.begin()?;
                tx.sweep_done(&wish)?;
                tx.commit()?;
            }
        }
        Ok(())
    }
}
