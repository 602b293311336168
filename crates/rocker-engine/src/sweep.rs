//! Finding what lies on disk that no row knows: layers, containers and staging directories of
//! the killed. Done after a boot and when images have come or gone, not by every command.

use std::collections::BTreeSet;
use std::path::Path;

use rocker_db::{OwnerLock, SharedLock};
use rocker_image::store::{Swept, Trash};
use rocker_types::{ContainerId, Diagnose as _, ErrorKind, Layout};

use crate::EngineError;
use crate::containers::log_name;
use crate::engine::Engine;
use crate::trash::PendingTrash;

/// Held by whoever makes or deletes layers; a sweep needs to be alone.
pub(crate) const IMAGES_LOCK: &str = "images";

/// How the directory of a volume is called while it is deleted; no volume's name starts so.
pub(crate) const VOLUME_TRASH: &str = ".trash-";

/// Keeps sweeps away while layers are made that no row knows yet.
pub(crate) fn using_images(layout: &Layout) -> Result<SharedLock, EngineError> {
    Ok(OwnerLock::share(&layout.locks().join(IMAGES_LOCK))?)
}

impl Engine {
    /// Deletes orphans, unless somebody is pulling right now: then a later command does.
    pub(crate) fn sweep(&mut self) -> Result<(), EngineError> {
        self.sweep_image_mounts()?;
        let path = self.layout.locks().join(IMAGES_LOCK);
        let Some(alone) = OwnerLock::try_alone(&path)? else {
            return Ok(());
        };
        // read first: who wishes for a sweep from here on gets another one
        let wish = self.live.sweep_wanted()?;
        if !self.bring_back_lost()? {
            // what looks like an orphan may be all that is left of an image or a container
            tracing::warn!(
                "the database has lost its last changes: run `rocker system check --repair`"
            );
            return Ok(());
        }
        self.sweep_spares()?;
        let Swept {
            mut trash,
            others_at_work,
            failure,
        } = self.store()?.sweep()?;
        let mut away = None;
        self.sweep_layers(&mut away)?;
        self.sweep_blobs()?;
        self.sweep_containers(&mut away)?;
        self.sweep_volumes(&mut away)?;
        self.sweep_saves()?;
        trash.extend(away);
        // what others are about to delete is wished for until they have; they may be killed
        let wish = wish.filter(|_| !others_at_work && failure.is_none());
        if !trash.is_empty() {
            // pulls need not wait until the files are deleted, nor need the user
            self.trash.push(PendingTrash::of_sweep(trash, wish));
        } else if let Some(wish) = wish {
            let tx = self.live.begin()?;
            tx.sweep_done(&wish)?;
            tx.commit()?;
        }
        drop(alone);
        failure.map_or(Ok(()), |failure| Err(failure.into()))
    }

    /// Does what makes layers and records them, while no sweep takes them away. What it made
    /// before it failed takes no room when this returns, if nobody else works on images.
    pub(crate) fn making_layers<T>(
        &mut self,
        make: impl FnOnce(&mut Self) -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        self.make_room();
        let using = using_images(&self.layout)?;
        let made = make(self);
        drop(using);
        match &made {
            Ok(_) => self.sweep_after_images()?,
            Err(error) => self.sweep_after_failure(error),
        }
        made
    }

    /// Deletes what was found of the dead before something large is written: the room that it takes
    /// is not free. What cannot be deleted stays for a later command.
    pub(crate) fn make_room(&mut self) {
        if let Err(error) = self.take_out_trash() {
            tracing::warn!(%error, "cannot tidy up now");
        }
    }

    /// Who was interrupted is not kept waiting: a later command does it.
    pub(crate) fn sweep_after_failure(&mut self, failure: &EngineError) {
        if failure.kind() != ErrorKind::Interrupted
            && let Err(error) = self.sweep()
        {
            tracing::debug!(%error, after = %failure, "what a failed command wrote stays for now");
        }
    }

    /// The end of a command that changes images and takes long anyway: sweeps, and spares the next
    /// command the reading of what this one wrote.
    pub(crate) fn sweep_after_images(&mut self) -> Result<(), EngineError> {
        self.sweep()?;
        if let Err(error) = self.measure_layers() {
            // `system df` measures what is left
            tracing::debug!(%error, "a layer is not measured");
        }
        if let Err(error) = self.durable()?.empty_log() {
            tracing::debug!(%error, "the log stays as long as it is");
        }
        Ok(())
    }

    /// Moves layers of no image to the trash, if there are any.
    fn sweep_layers(&mut self, away: &mut Option<Trash>) -> Result<(), EngineError> {
        self.store()?.sweep_deleted()?;
        let layers = self.unclaimed_layers()?;
        if layers.is_empty() {
            return Ok(());
        }
        let store = self.store()?;
        let Ok(trash) = store.trash() else {
            // on a full disk there may be no room for a directory, but for what is deleted
            for layer in &layers {
                store.delete_layer(layer)?;
            }
            return Ok(());
        };
        for layer in &layers {
            store.discard_layer(layer, &trash)?;
        }
        *away = Some(trash);
        Ok(())
    }

    /// Moves a directory to where it is deleted when nobody waits any more. One that cannot be
    /// moved is deleted right here.
    fn move_away(&mut self, path: &Path, away: &mut Option<Trash>) -> Result<(), EngineError> {
        if away.is_none() {
            *away = self.store()?.trash().ok();
        }
        match away.as_ref().map(|trash| trash.take(path)) {
            Some(Ok(())) => Ok(()),
            Some(Err(_)) | None => self.remove_tree(path),
        }
    }

    /// Configs, manifests and indexes that belong to no image.
    fn sweep_blobs(&mut self) -> Result<(), EngineError> {
        let mut known: BTreeSet<String> = BTreeSet::new();
        for (_, lost) in crate::spare::lost(&self.layout) {
            known.extend(lost.blobs());
        }
        for image in self.durable()?.images()? {
            known.insert(image.id.hex().to_owned());
            known.extend(image.manifest_digest.map(|digest| digest.hex().to_owned()));
            known.extend(
                image
                    .repo_digests
                    .iter()
                    .filter_map(|name| Some(name.rsplit_once(':')?.1.to_owned())),
            );
        }
        let blobs = self.layout.blobs();
        for algorithm in ["sha256", "sha512"] {
            let dir = blobs.join(algorithm);
            let Ok(entries) = fs_err::read_dir(&dir) else {
                continue;
            };
            let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
            for name in names.filter(|name| !known.contains(name)) {
                self.remove_tree(&dir.join(name))?;
            }
        }
        Ok(())
    }

    /// Directories of `--rm` containers that a reboot took from the live database, and of those
    /// that were being removed. One with content that was to be kept stays, even if no row knows
    /// it: a lost database must not cost data.
    fn sweep_containers(&mut self, away: &mut Option<Trash>) -> Result<(), EngineError> {
        for dir in [self.layout.containers(), self.layout.runroot().to_owned()] {
            // listed before the rows are read: a row is there before its directory is
            let found = ids_in(&dir);
            let rows = self.live.containers()?;
            let kept = self.durable()?.kept_containers()?;
            let orphans = found.iter().filter(|id| {
                !rows.iter().any(|row| row.id == **id) && !kept.iter().any(|row| row.id == **id)
            });
            for path in orphans.map(|id| dir.join(id.as_str())) {
                if is_disposable(&path) {
                    self.move_away(&path, away)?;
                }
            }
        }
        Ok(())
    }

    /// What `volume rm` had renamed when it was killed, and copies that were cut short.
    fn sweep_volumes(&mut self, away: &mut Option<Trash>) -> Result<(), EngineError> {
        let dir = self.layout.volumes();
        let Ok(entries) = fs_err::read_dir(&dir) else {
            return Ok(());
        };
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        for name in names {
            let path = dir.join(&name);
            if name.starts_with(VOLUME_TRASH) {
                self.move_away(&path, away)?;
            } else if let Err(error) = crate::copy_up::sweep(&path) {
                // it may go at this very moment
                tracing::debug!(volume = name, %error, "cannot look for what is left of a copy");
            }
        }
        Ok(())
    }
}

/// The containers whose ids are names in a directory.
pub(crate) fn ids_in(dir: &Path) -> Vec<ContainerId> {
    let Ok(entries) = fs_err::read_dir(dir) else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect()
}

/// Whether nothing in a container's directory was to outlive the container: overlayfs was told
/// not to care (`volatile`, which only `--rm` gets), the container was removed, or it has neither a
/// copy of its row nor anything that it wrote. What it wrote goes first when it is removed.
fn is_disposable(container: &Path) -> bool {
    let has = |name: &str| container.join(name).exists();
    let was_empty = || {
        let upper = container.join("upper");
        !has(crate::spare::CONTAINER_COPY)
            && has_nothing(&upper)
            && !(upper.exists() && has_log(container))
    };
    has(crate::lifecycle::VOLATILE_MARK) || has(crate::spare::REMOVED_MARK) || was_empty()
}

/// Whether a container's directory has a log with a line in it.
fn has_log(container: &Path) -> bool {
    let name = container
        .file_name()
        .and_then(|id| id.to_str()?.parse().ok());
    let log = name.map(|id: ContainerId| log_name(&id));
    log.is_some_and(|log| fs_err::metadata(container.join(log)).is_ok_and(|log| log.len() > 0))
}

/// Whether a directory is empty or missing; one that cannot be read may hold anything.
fn has_nothing(directory: &Path) -> bool {
    match fs_err::read_dir(directory) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    }
}
