//! What was removed is gone at once; its files go when the answer is given.

use std::path::Path;
use std::thread::{self, JoinHandle};

use rocker_db::{LiveDb, SweepWish};
use rocker_image::store::{Store, Trash};
use rocker_types::Layout;

use crate::EngineError;
use crate::crash::{self, CrashPoint};
use crate::engine::Engine;

/// Files to delete before the process ends.
#[derive(Debug)]
pub(crate) struct PendingTrash {
    /// Never empty; what is discarded goes to the first.
    trash: Vec<Trash>,
    /// What asks later commands to do it, if this process is killed; ours to take back.
    wish: Option<SweepWish>,
}

impl PendingTrash {
    /// Deletes what a sweep moved away, which fulfils `wish`.
    pub(crate) fn of_sweep(trash: Vec<Trash>, wish: Option<SweepWish>) -> Self {
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
            let trash = vec![trash];
            self.trash.push(PendingTrash { trash, wish });
        }
        let taken = self
            .trash
            .first()
            .and_then(|pending| pending.trash.first())
            .map(|trash| trash.take(directory));
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
        let aside = self.emptying.take().map(JoinHandle::join);
        // one that panicked has left its wish
        let aside = aside.and_then(Result::ok).unwrap_or(Ok(()));
        let here = empty(
            std::mem::take(&mut self.trash),
            &self.layout,
            &mut self.live,
        );
        aside.and(here)
    }

    /// The same in a thread beside what the command does, for one that goes on for as long as
    /// somebody likes: what it found is not to wait for its end. Not before the last process that
    /// it clones. Whatever is not deleted when the command ends is waited for by
    /// [`take_out_trash`](Self::take_out_trash).
    pub fn take_out_trash_aside(&mut self) {
        if self.trash.is_empty() || self.emptying.is_some() {
            return;
        }
        let trash = std::mem::take(&mut self.trash);
        let layout = self.layout.clone();
        let thread = thread::Builder::new().name("trash".to_owned());
        // without a thread it is dropped, and goes here and now
        let spawned = thread.spawn(move || {
            let mut live = LiveDb::open(&layout.live_db())?;
            empty(trash, &layout, &mut live)
        });
        self.emptying = spawned.ok();
    }
}

fn empty(
    pending: Vec<PendingTrash>,
    layout: &Layout,
    live: &mut LiveDb,
) -> Result<(), EngineError> {
    if pending.is_empty() {
        return Ok(());
    }
    crash::point(CrashPoint::TrashBeforeEmpty);
    let mut wishes = Vec::new();
    for PendingTrash { trash, wish } in pending {
        trash.into_iter().try_for_each(Trash::empty)?;
        wishes.extend(wish);
    }
    // one wish is that of all who delete at this moment: the last of them takes it back
    if wishes.is_empty() || Store::open(layout)?.is_at_work()? {
        return Ok(());
    }
    let tx = live.begin()?;
    for wish in &wishes {
        tx.sweep_done(wish)?;
    }
    Ok(tx.commit()?)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use rocker_db::OwnerLock;
    use rocker_image::registry::{Endpoint, NoProgress, RegistryOptions};
    use rocker_types::ImageRef;

    use super::*;
    use crate::PullRequest;
    use crate::sweep::IMAGES_LOCK;
    use crate::testing::installation;

    /// A directory of a container with something in it.
    fn something(engine: &Engine, name: &str) -> std::path::PathBuf {
        let path = engine.layout.containers().join(name);
        fs_err::create_dir_all(path.join("upper")).unwrap();
        path
    }

    #[test]
    fn a_wish_is_fulfilled_when_nobody_has_anything_to_delete_any_more() {
        let (_dir, mut one) = installation();
        let mut two = Engine::open(&one.layout).unwrap();
        let path = something(&one, "a");
        one.discard(&path).unwrap();

        two.sweep().unwrap();
        assert!(two.live.sweep_wanted().unwrap().is_some());
        let path = something(&two, "b");
        two.discard(&path).unwrap();
        two.take_out_trash().unwrap();
        assert!(two.live.sweep_wanted().unwrap().is_some());

        one.take_out_trash().unwrap();
        two.sweep().unwrap();
        assert!(two.live.sweep_wanted().unwrap().is_none());
    }

    #[test]
    fn what_a_sweep_finds_is_deleted_later_and_keeps_no_pull_waiting() {
        let (_dir, mut engine) = installation();
        let left = engine.layout.tmp().join("of-a-dead-one");
        engine.store().unwrap();
        fs_err::create_dir_all(left.join("0/usr")).unwrap();
        engine.want_sweep().unwrap();

        engine.sweep().unwrap();
        let lock = engine.layout.locks().join(IMAGES_LOCK);
        assert!(OwnerLock::try_alone(&lock).unwrap().is_some());
        assert!(left.exists());
        let more = something(&engine, "c");
        engine.discard(&more).unwrap();
        assert!(!more.exists());
        assert!(left.join("0/usr").exists(), "beside what was there");

        engine.take_out_trash_aside();
        engine.take_out_trash().unwrap();
        assert!(!left.exists());
        assert!(engine.live.sweep_wanted().unwrap().is_none());
    }

    /// What a dead command left, found by the sweep of this one.
    fn found(engine: &mut Engine) -> std::path::PathBuf {
        let left = engine.layout.tmp().join("of-a-dead-one");
        engine.store().unwrap();
        fs_err::create_dir_all(left.join("layer-0/usr")).unwrap();
        engine.want_sweep().unwrap();
        engine.sweep().unwrap();
        assert!(left.exists());
        left
    }

    #[test]
    fn what_the_dead_left_takes_no_room_when_layers_are_made() {
        let (_dir, mut engine) = installation();

        let left = found(&mut engine);
        let was_there = engine.making_layers(|_| Ok(left.exists())).unwrap();
        assert!(!was_there);

        let left = found(&mut engine);
        let was_there = Cell::new(None);
        let cancelled = || {
            was_there.set(Some(left.exists()));
            true
        };
        let reference: ImageRef = "127.0.0.1:9/nobody:1".parse().unwrap();
        let request = PullRequest {
            places: vec![Endpoint::of(&reference, RegistryOptions::default())],
            reference,
            platform: None,
        };
        engine.pull(&request, &NoProgress, &cancelled).unwrap_err();
        assert_eq!(was_there.get(), Some(false));
    }
}
