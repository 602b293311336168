//! `image mount` and `image unmount`: looking into an image without a container.
//!
//! A mount is of the mount namespace of whoever asked for it, below the run root, and outlives the
//! command. What is recorded and what is mounted change together under the live database's write
//! lock; a wish for a sweep stands before, so that the next command finds what a killed one left.

use std::path::{Path, PathBuf};

use rocker_db::{ImageMountRow, LiveTransaction};
use rocker_runtime::Unmount;
use rocker_types::{Digest, Layout};

use crate::EngineError;
use crate::crash::{self, CrashPoint};
use crate::engine::{Engine, ensure_own_directory};
use crate::images::ImageSummary;
use crate::spare::names_in;

/// An image that is mounted, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountedImage {
    /// The image.
    pub image: ImageSummary,
    /// Where its files are seen.
    pub path: PathBuf,
}

impl Engine {
    /// Mounts an image read-only where the caller's mount namespace sees it, or counts one more
    /// use of the mount that is there.
    ///
    /// # Errors
    ///
    /// [`EngineError::NoSuchImage`], [`EngineError::MountLayers`] where the kernel refuses, and
    /// what the store says of its layers.
    pub fn mount_image(&mut self, query: &str) -> Result<MountedImage, EngineError> {
        let image = self.find_image(query)?;
        let local = self.local_image(&image.id.to_string())?;
        let layers = local.layers.iter().rev();
        let lowers: Vec<PathBuf> = layers.map(|layer| self.layout.layer(layer)).collect();
        let namespace = own_namespace()?;
        let path = self.layout.image_mount(namespace, &image.id);
        let layout = self.layout.clone();
        self.with_mounts(|engine| {
            let (live, durable) = engine.databases()?;
            let tx = live.begin()?;
            // by now somebody may have removed it
            if durable.image(&image.id.to_string())?.is_none() {
                return Err(EngineError::NoSuchImage(query.to_owned()));
            }
            let found = recorded(&tx, namespace, &image.id)?;
            let is_mounted = is_mounted(&path)?;
            let count = match found.filter(|_| is_mounted) {
                Some(row) => row.count.saturating_add(1),
                None => {
                    take_away(&layout, &image.id, &path, Unmount::Always)?;
                    mount(&layout, &path, &lowers)?;
                    1
                }
            };
            tx.set_image_mount(&ImageMountRow {
                image: image.id.clone(),
                namespace,
                count,
            })?;
            Ok(tx.commit()?)
        })?;
        Ok(MountedImage { image, path })
    }

    /// Takes one use of an image's mount away, and the mount with the last one or with `force`;
    /// `false` if it is not mounted in this mount namespace.
    ///
    /// # Errors
    ///
    /// [`EngineError::NoSuchImage`]; [`EngineError::Unmount`] if somebody uses it, without
    /// `force`.
    pub fn unmount_image(&mut self, image: &Digest, force: bool) -> Result<bool, EngineError> {
        let namespace = own_namespace()?;
        let path = self.layout.image_mount(namespace, image);
        self.with_mounts(|engine| {
            let tx = engine.live.begin()?;
            let Some(mut row) = recorded(&tx, namespace, image)? else {
                return Ok(false);
            };
            let is_mounted = is_mounted(&path)?;
            row.count = match force || !is_mounted {
                true => 0,
                false => row.count.saturating_sub(1),
            };
            if row.count == 0 {
                let how = match force {
                    true => Unmount::Always,
                    false => Unmount::UnlessUsed,
                };
                take_away(&engine.layout, image, &path, how)?;
            }
            tx.set_image_mount(&row)?;
            tx.commit()?;
            Ok(is_mounted)
        })
    }

    /// What is mounted in the caller's mount namespace.
    ///
    /// # Errors
    ///
    /// What the databases say.
    pub fn mounted_images(&mut self) -> Result<Vec<MountedImage>, EngineError> {
        let namespace = own_namespace()?;
        let mut mounted = Vec::new();
        for row in self.live.image_mounts()? {
            let path = self.layout.image_mount(namespace, &row.image);
            if row.namespace != namespace || !is_mounted(&path)? {
                continue;
            }
            // one without a row in the database of images is for `system check`
            if let Ok(image) = self.find_image(&row.image.to_string()) {
                mounted.push(MountedImage { image, path });
            }
        }
        Ok(mounted)
    }

    /// Changes mounts; if this is killed meanwhile, the next command sweeps.
    fn with_mounts<T>(
        &mut self,
        change: impl FnOnce(&mut Self) -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        let tx = self.live.begin()?;
        let wish = tx.want_own_sweep()?;
        tx.commit()?;
        let changed = change(self)?;
        if let Some(wish) = wish {
            let tx = self.live.begin()?;
            tx.sweep_done(&wish)?;
            tx.commit()?;
        }
        Ok(changed)
    }

    /// Takes away what [`stale_mounts`](Self::stale_mounts) finds.
    pub(crate) fn sweep_image_mounts(&mut self) -> Result<(), EngineError> {
        let layout = self.layout.clone();
        if !layout.image_mounts().exists() && self.live.image_mounts()?.is_empty() {
            return Ok(());
        }
        let tx = self.live.begin()?;
        let stale = stale(&layout, &tx)?;
        for path in stale.directories {
            discard(&layout, &path, Unmount::Always).map_err(EngineError::file("unmount", path))?;
        }
        for row in stale.rows {
            tx.set_image_mount(&ImageMountRow { count: 0, ..row })?;
        }
        Ok(tx.commit()?)
    }

    /// Mounts and records of mounts that a killed rocker left, or somebody who unmounted by other
    /// means, in words.
    pub(crate) fn stale_mounts(&mut self) -> Result<Vec<String>, EngineError> {
        let layout = self.layout.clone();
        let tx = self.live.begin()?;
        let stale = stale(&layout, &tx)?;
        let rows = stale.rows.iter();
        let rows = rows.map(|row| format!("image {} is not mounted any more", row.image.short()));
        let directories = stale.directories.iter();
        let directories = directories.map(|path| format!("nobody has mounted {}", path.display()));
        Ok(rows.chain(directories).collect())
    }
}

/// What is not as it is recorded.
struct Stale {
    rows: Vec<ImageMountRow>,
    directories: Vec<PathBuf>,
}

/// Of this mount namespace and of those that have ended; into others nobody sees.
fn stale(layout: &Layout, tx: &LiveTransaction<'_>) -> Result<Stale, EngineError> {
    let own = own_namespace()?;
    let mut live = Vec::new();
    let mut rows = Vec::new();
    for row in tx.image_mounts()? {
        let path = layout.image_mount(row.namespace, &row.image);
        match is_live(&row, &path, own)? {
            true => live.push(path),
            false => rows.push(row),
        }
    }
    let mut directories = Vec::new();
    let names = names_in(&layout.image_mounts());
    let numbers = names.iter().filter_map(|name| name.parse::<u64>().ok());
    for namespace in numbers.filter(|number| *number == own || !has_process(*number)) {
        let directory = layout.image_mounts().join(namespace.to_string());
        directories.extend(names_in(&directory).iter().map(|name| directory.join(name)));
    }
    directories.retain(|path| !live.contains(path));
    Ok(Stale { rows, directories })
}

/// Where an image is mounted that counts: here, or in a mount namespace that still has a process.
pub(crate) fn place_of(
    layout: &Layout,
    tx: &LiveTransaction<'_>,
    image: &Digest,
) -> Result<Option<PathBuf>, EngineError> {
    place_in(layout, tx, image, |_, _| true)
}

/// The same, of other mount namespaces than this one.
pub(super) fn place_elsewhere(
    layout: &Layout,
    tx: &LiveTransaction<'_>,
    image: &Digest,
) -> Result<Option<PathBuf>, EngineError> {
    place_in(layout, tx, image, |namespace, own| namespace != own)
}

fn place_in(
    layout: &Layout,
    tx: &LiveTransaction<'_>,
    image: &Digest,
    counts: fn(u64, u64) -> bool,
) -> Result<Option<PathBuf>, EngineError> {
    let own = own_namespace()?;
    for row in tx.image_mounts()? {
        let path = layout.image_mount(row.namespace, &row.image);
        let is_meant = row.image == *image && counts(row.namespace, own);
        if is_meant && is_live(&row, &path, own)? {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

/// Unmounts an image here, used or not.
pub(super) fn unmount_all(
    layout: &Layout,
    tx: &LiveTransaction<'_>,
    image: &Digest,
) -> Result<(), EngineError> {
    let namespace = own_namespace()?;
    if let Some(row) = recorded(tx, namespace, image)? {
        let path = layout.image_mount(namespace, image);
        take_away(layout, image, &path, Unmount::Always)?;
        tx.set_image_mount(&ImageMountRow { count: 0, ..row })?;
    }
    Ok(())
}

fn recorded(
    tx: &LiveTransaction<'_>,
    namespace: u64,
    image: &Digest,
) -> Result<Option<ImageMountRow>, EngineError> {
    let mut rows = tx.image_mounts()?.into_iter();
    Ok(rows.find(|row| row.namespace == namespace && row.image == *image))
}

/// Whether a row is true.
fn is_live(row: &ImageMountRow, path: &Path, own: u64) -> Result<bool, EngineError> {
    match row.namespace == own {
        true => is_mounted(path),
        false => Ok(has_process(row.namespace)),
    }
}

fn is_mounted(path: &Path) -> Result<bool, EngineError> {
    rocker_runtime::is_mount_point(path).map_err(EngineError::file("look at", path))
}

fn mount(layout: &Layout, path: &Path, lowers: &[PathBuf]) -> Result<(), EngineError> {
    ensure_own_directory(&layout.image_mounts())?;
    path.parent().map_or(Ok(()), ensure_own_directory)?;
    ensure_own_directory(path)?;
    crash::point(CrashPoint::MountAfterDirectory);
    if let Err(error) = rocker_runtime::mount_layers(lowers, path) {
        let _ = discard(layout, path, Unmount::Always);
        return Err(EngineError::MountLayers(Box::new(error)));
    }
    crash::point(CrashPoint::MountAfterMount);
    Ok(())
}

fn take_away(
    layout: &Layout,
    image: &Digest,
    path: &Path,
    how: Unmount,
) -> Result<(), EngineError> {
    discard(layout, path, how).map_err(|source| EngineError::Unmount {
        image: image.short().to_owned(),
        path: path.to_owned(),
        source,
    })
}

/// Unmounts what is mounted on `path`, and deletes the directory and those above that are empty.
fn discard(layout: &Layout, path: &Path, how: Unmount) -> std::io::Result<()> {
    while rocker_runtime::is_mount_point(path)? {
        rocker_runtime::unmount(path, how)?;
    }
    crash::point(CrashPoint::UnmountAfterUnmount);
    match fs_err::remove_dir(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => crash::point(CrashPoint::UnmountAfterDirectory),
    }
    let mounts = layout.image_mounts();
    let above = path.ancestors().skip(1);
    for directory in above.take_while(|directory| directory.starts_with(&mounts)) {
        // of other mounts there may be some
        let _ = fs_err::remove_dir(directory);
    }
    Ok(())
}

/// The number of this process's mount namespace.
fn own_namespace() -> Result<u64, EngineError> {
    let path = Path::new("/proc/self/ns/mnt");
    namespace_at(path).map_err(EngineError::file("look at", path))
}

fn namespace_at(path: &Path) -> std::io::Result<u64> {
    use std::os::unix::fs::MetadataExt as _;
    Ok(fs_err::metadata(path)?.ino())
}

/// Whether a process lives in the mount namespace of this number.
fn has_process(namespace: u64) -> bool {
    let is_process = |name: &String| name.bytes().all(|byte| byte.is_ascii_digit());
    let mut processes = names_in(Path::new("/proc")).into_iter().filter(is_process);
    processes.any(|pid| {
        let path = format!("/proc/{pid}/ns/mnt");
        namespace_at(Path::new(&path)).is_ok_and(|number| number == namespace)
    })
}
