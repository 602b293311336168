//! Staging directories whose owners are gone.

use std::collections::BTreeSet;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use rocker_types::DiffId;
use rustix::fs::{AtFlags, Dir, FlockOperation, Mode, flock, fstat, openat, unlinkat};
use rustix::io::Errno;

use super::KEPT_FOR;
use super::claims::{lock_tmp, try_lock_tmp};
use super::contents::Contents;
use super::renounce::renounce;
use crate::store::remove::remove_tree;
use crate::store::root::OPEN_DIRECTORY;
use crate::store::staging::{Staging, is_at};
use crate::store::{Store, StoreError, Trash};

/// What a pull left that ended early, or has so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnfinishedPull {
    /// The directory's name below `tmp/`.
    pub name: String,
    /// Layers that are whole.
    pub layers: usize,
    /// Blobs of which there is a part.
    pub blobs: usize,
    /// Bytes of file content in the layers and of the blobs.
    pub bytes: u64,
    /// When something was last finished or begun in it.
    pub changed: SystemTime,
}

/// A staging directory that we have locked.
#[derive(Debug)]
pub(super) struct Orphan {
    tmp: OwnedFd,
    tmp_path: PathBuf,
    name: CString,
    directory: OwnedFd,
    pub(super) contents: Contents,
}

impl Store {
    /// What pulls left that ended early, and what those that are at work have so far.
    ///
    /// # Errors
    ///
    /// [`StoreError::Access`] if `tmp/` cannot be read.
    pub fn unfinished_pulls(&self) -> Result<Vec<UnfinishedPull>, StoreError> {
        let mut pulls = Vec::new();
        for name in names(self)? {
            // it may go at any moment
            let Ok(directory) = openat(self.tmp_fd(), &name, OPEN_DIRECTORY, Mode::empty()) else {
                continue;
            };
            let contents = Contents::read(directory.as_fd(), self.layers_fd());
            let (Ok(contents), Ok(stat)) = (contents, fstat(&directory)) else {
                continue;
            };
            if !contents.is_empty() {
                pulls.push(UnfinishedPull {
                    name: name.to_string_lossy().into_owned(),
                    layers: contents.layers.len(),
                    blobs: contents.blobs.len(),
                    bytes: contents.bytes(),
                    changed: time_of(&stat),
                });
            }
        }
        Ok(pulls)
    }

    /// Whether anybody is at work in a place in `tmp/`, or is about to delete one; ours count too.
    ///
    /// # Errors
    ///
    /// [`StoreError::Access`] if `tmp/` cannot be read.
    pub fn is_at_work(&self) -> Result<bool, StoreError> {
        // a pull that looked for leftovers now would take us for their owner
        let Some(_lock) = try_lock_tmp(self)? else {
            return Ok(true);
        };
        let mut is_at_work = false;
        each_place(self, &[], |place| {
            is_at_work |= matches!(place, Place::Owned(_));
            Ok(())
        })?;
        Ok(is_at_work)
    }

    /// The layers in the store that belong to images whose pull ended before they were recorded.
    /// The next pull needs them, so no sweep may take them away.
    ///
    /// # Errors
    ///
    /// [`StoreError::Access`] if `tmp/` cannot be read.
    pub fn unfinished_layers(&self) -> Result<BTreeSet<DiffId>, StoreError> {
        let mut layers = BTreeSet::new();
        for name in names(self)? {
            let Ok(directory) = openat(self.tmp_fd(), &name, OPEN_DIRECTORY, Mode::empty()) else {
                continue;
            };
            let contents = Contents::read(directory.as_fd(), self.layers_fd());
            let contents = contents.unwrap_or_default();
            layers.extend(contents.layers.into_iter().map(|layer| layer.done.diff_id));
        }
        Ok(layers)
    }

    /// How many bytes [`remove_unfinished`](Self::remove_unfinished) would remove.
    ///
    /// # Errors
    ///
    /// [`StoreError::Access`] if `tmp/` cannot be read.
    pub fn unfinished_bytes(&self) -> Result<u64, StoreError> {
        let _lock = lock_tmp(self)?;
        let mut bytes: u64 = 0;
        each_orphan(self, |orphan| {
            bytes = bytes.saturating_add(orphan.contents.bytes());
            Ok(())
        })?;
        Ok(bytes)
    }

    /// Removes what pulls left that ended early, whatever its age; how many bytes of content that
    /// were.
    ///
    /// # Errors
    ///
    /// [`StoreError::Access`] if something cannot be removed.
    pub fn remove_unfinished(&self) -> Result<u64, StoreError> {
        let mut bytes: u64 = 0;
        each_orphan(self, |orphan| {
            bytes = bytes.saturating_add(orphan.contents.bytes());
            orphan.remove()
        })?;
        Ok(bytes)
    }
}

/// What is in `tmp/` for nobody.
#[derive(Debug, Default)]
pub struct Swept {
    /// Places whose owners are dead, but for what the next pull may use.
    pub trash: Vec<Trash>,
    /// Whether somebody else is at work in another.
    pub others_at_work: bool,
    /// What kept us from taking over the first of those that stay.
    pub failure: Option<StoreError>,
}

impl Swept {
    fn take(&mut self, store: &Store, name: CString) -> Result<(), StoreError> {
        match lock(store, name)? {
            Some(Place::Orphan(orphan)) if orphan.contents.is_empty() || orphan.is_old() => {
                self.trash.push(orphan.into_trash()?);
            }
            Some(Place::Orphan(orphan)) => orphan.trim()?,
            Some(Place::Owned(_)) => self.others_at_work = true,
            Some(Place::Stray(name)) => {
                unlinkat(store.tmp_fd(), &name, AtFlags::empty()).map_err(|errno| {
                    StoreError::access("remove", path_of(store, &name))(errno.into())
                })?
            }
            None => {}
        }
        Ok(())
    }
}

/// Takes over the staging directories whose owners are dead, but for what the next pull may use.
pub(in crate::store) fn sweep(store: &Store) -> Result<Swept, StoreError> {
    let mut swept = Swept::default();
    for name in names(store)? {
        if let Err(error) = swept.take(store, name) {
            // the others take no less room because of it
            swept.failure.get_or_insert(error);
        }
    }
    Ok(swept)
}

/// A directory in `tmp/`.
#[derive(Debug)]
pub(super) enum Place {
    /// It has no owner but us, as long as the value lives.
    Orphan(Orphan),
    /// Somebody is at work there.
    Owned(OwnedFd),
    /// No directory, so nothing that we made, and nobody holds a lock on it.
    Stray(CString),
}

/// Shows `visit` everything in `tmp/` but what has one of these names, one after the other. An empty
/// directory is removed: whoever was about to lock it finds it locked and makes another one.
pub(super) fn each_place(
    store: &Store,
    but: &[String],
    mut visit: impl FnMut(Place) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    for name in names(store)? {
        if but.iter().any(|ours| ours.as_bytes() == name.to_bytes()) {
            continue;
        }
        if let Some(place) = lock(store, name)? {
            visit(place)?;
        }
    }
    Ok(())
}

/// Shows `visit` those of them that have no owner.
fn each_orphan(
    store: &Store,
    mut visit: impl FnMut(Orphan) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    each_place(store, &[], |place| match place {
        Place::Orphan(orphan) => visit(orphan),
        Place::Owned(_) | Place::Stray(_) => Ok(()),
    })
}

fn names(store: &Store) -> Result<Vec<CString>, StoreError> {
    let path = store.layout().tmp();
    let failed = |errno: Errno| StoreError::access("list", &path)(errno.into());
    let mut names = Vec::new();
    for entry in Dir::read_from(store.tmp_fd()).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name().to_owned();
        if name.as_c_str() != c"." && name.as_c_str() != c".." {
            names.push(name);
        }
    }
    Ok(names)
}

fn path_of(store: &Store, name: &CStr) -> PathBuf {
    store.layout().tmp().join(name.to_string_lossy().as_ref())
}

fn lock(store: &Store, name: CString) -> Result<Option<Place>, StoreError> {
    let tmp = store.tmp_fd();
    let failed = |attempt| {
        let path = path_of(store, &name);
        move |errno: Errno| StoreError::access(attempt, path)(errno.into())
    };
    let directory = match openat(tmp, &name, OPEN_DIRECTORY, Mode::empty()) {
        Ok(directory) => directory,
        Err(Errno::NOENT) => return Ok(None),
        Err(Errno::NOTDIR | Errno::LOOP) => return Ok(Some(Place::Stray(name))),
        Err(errno) => return Err(failed("open directory")(errno)),
    };
    match flock(&directory, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) if is_at(tmp, name.as_c_str(), &directory) => {}
        Ok(()) => return Ok(None),
        Err(Errno::WOULDBLOCK) => return Ok(Some(Place::Owned(directory))),
        Err(errno) => return Err(failed("lock")(errno)),
    }
    if unlinkat(tmp, &name, AtFlags::REMOVEDIR).is_ok() {
        return Ok(None);
    }
    let contents = Contents::read(directory.as_fd(), store.layers_fd());
    let contents = contents.map_err(failed("list"))?;
    Ok(Some(Place::Orphan(Orphan {
        tmp: tmp
            .try_clone_to_owned()
            .map_err(StoreError::access("keep open", store.layout().tmp()))?,
        tmp_path: store.layout().tmp(),
        contents,
        name,
        directory,
    })))
}

impl Orphan {
    fn path(&self) -> PathBuf {
        self.tmp_path.join(self.name.to_string_lossy().as_ref())
    }

    fn remove(self) -> Result<(), StoreError> {
        let removed = renounce(self.directory.as_fd())
            .and_then(|()| remove_tree(self.tmp.as_fd(), self.name.to_bytes()));
        removed.map_err(StoreError::access("remove", self.path()))
    }

    /// All of it is to be deleted, by us and later. Until then it is locked, so whatever it claims
    /// would be waited for, also by ourselves.
    fn into_trash(self) -> Result<Trash, StoreError> {
        renounce(self.directory.as_fd()).map_err(StoreError::access("remove", self.path()))?;
        let name = self.name.to_string_lossy().into_owned();
        let staging = Staging::of_orphan(self.tmp, &self.tmp_path, name, self.directory, 0)?;
        Ok(Trash::of(staging))
    }

    /// Removes what nobody can use.
    fn trim(&self) -> Result<(), StoreError> {
        let remove = |name: &CStr| {
            let path = || self.path().join(name.to_string_lossy().as_ref());
            remove_tree(self.directory.as_fd(), name.to_bytes())
                .map_err(|source| StoreError::access("remove", path())(source))
        };
        self.contents
            .rubbish
            .iter()
            .try_for_each(|name| remove(name))
    }

    /// Whether its time is over. A change in the future is one of a clock that was wrong.
    fn is_old(&self) -> bool {
        let Ok(stat) = fstat(&self.directory) else {
            return false;
        };
        let (now, changed) = (SystemTime::now(), time_of(&stat));
        let age = now
            .duration_since(changed)
            .or_else(|_| changed.duration_since(now));
        age.is_ok_and(|age| age > KEPT_FOR)
    }

    /// Makes the directory ours, without its former owner's claims and without notes that are of
    /// no use. What else nobody can use is still there.
    pub(super) fn into_staging(mut self) -> Result<(Staging, Contents), StoreError> {
        let path = self.path();
        for name in std::mem::take(&mut self.contents.rubbish) {
            match unlinkat(&self.directory, &name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                // to delete a layer takes longer than others should wait for our look
                Err(Errno::ISDIR | Errno::PERM) => self.contents.rubbish.push(name),
                Err(errno) => {
                    let path = path.join(name.to_string_lossy().as_ref());
                    return Err(StoreError::access("remove", path)(errno.into()));
                }
            }
        }
        let name = self.name.to_string_lossy().into_owned();
        let next_layer = self.contents.next_layer;
        let staging =
            Staging::of_orphan(self.tmp, &self.tmp_path, name, self.directory, next_layer);
        Ok((staging?, self.contents))
    }
}

fn time_of(stat: &rustix::fs::Stat) -> SystemTime {
    let seconds = u64::try_from(stat.st_mtime).unwrap_or(0);
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}
