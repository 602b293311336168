//! Who fetches which layer when several pulls want the same.
//!
//! A pull puts a file `want-<algorithm>-<hex>` into its staging directory for each blob that it is
//! about to fetch. The lock on the directory says whether its owner lives, so a claim dies with
//! whoever made it. Looking around and claiming happen under a lock on `tmp/`: of two pulls that
//! want one layer, one gets it and the other sees that.

use std::os::fd::{AsFd as _, OwnedFd};

use rocker_types::{DiffId, Digest};
use rustix::fs::{
    AtFlags, Dir, FlockOperation, Mode, OFlags, Timespec, Timestamps, UTIME_NOW, flock, fstat,
    futimens, openat, statat, unlinkat,
};
use rustix::io::Errno;

use super::contents::Contents;
use super::name_of;
use super::orphans::{Place, each_place};
use super::pull_staging::PullStaging;
use crate::store::root::OPEN_DIRECTORY;
use crate::store::staging::Staging;
use crate::store::{ExpectedLayer, Store, StoreError, UnpackLimits};

/// How the name of a claim begins.
pub(super) const WANT: &str = "want-";

/// The file of a pull that waits for what others get.
pub(super) const WAITS: &str = "waits";

/// Who gets a layer that a pull needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// We do.
    Ours,
    /// Another pull that is alive; it may have finished it, but the store has it not yet.
    Theirs { is_finished: bool, trace: Trace },
    /// Nobody: it is in the store by now.
    Here,
}

impl Claim {
    fn is_theirs(&self) -> bool {
        matches!(self, Self::Theirs { .. })
    }
}

/// What changes while those who claim a layer get on. Two that are equal, taken at different
/// times, say that nothing came in between.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Trace {
    /// When a file was last begun or finished, in seconds and nanoseconds.
    changed: (i64, u64),
    /// How large all files are together.
    bytes: u64,
}

/// What is to be claimed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wants<'a> {
    /// All layers of the image, base first.
    pub(crate) chain: &'a [DiffId],
    /// Those that are missing.
    pub(crate) layers: &'a [ExpectedLayer],
    pub(crate) limits: &'a UnpackLimits,
}

/// A blob that another pull is about to get.
struct Foreign {
    blob: Digest,
    is_finished: bool,
    trace: Trace,
}

impl PullStaging {
    /// Says of each wanted layer who gets it, and takes over what the dead left of them.
    pub(crate) fn claim(
        &mut self,
        store: &Store,
        wants: Wants<'_>,
    ) -> Result<Vec<Claim>, StoreError> {
        let lock = lock_tmp(store)?;
        if !wants.layers.is_empty() {
            self.begin(store)?;
        }
        let foreign = self.look_around(store, wants)?;
        let claims = wants.layers.iter().map(|layer| {
            let ExpectedLayer {
                blob,
                size_bytes,
                compression,
                diff_id,
            } = layer;
            if store.has_layer(diff_id)
                && store.knows_blob(diff_id, blob, *size_bytes, Some(*compression))
            {
                return Ok(Claim::Here);
            }
            match theirs(&foreign, &layer.blob) {
                Some(theirs) => Ok(theirs),
                None => self.take(layer).map(|()| Claim::Ours),
            }
        });
        let claims: Result<Vec<Claim>, StoreError> = claims.collect();
        drop(lock);
        let to_come = wants.layers.iter().zip(claims.iter().flatten());
        let to_come = to_come.filter(|(_, claim)| **claim != Claim::Here);
        self.make_room(to_come.map(|(layer, _)| layer));
        if claims.iter().flatten().any(Claim::is_theirs) {
            self.mark(&self.staging(), WAITS)?;
        }
        claims
    }

    /// Makes a layer ours, whoever else may be about to get it.
    pub(crate) fn take(&self, layer: &ExpectedLayer) -> Result<(), StoreError> {
        self.mark(&self.place_of(layer), &name_of(WANT, &layer.blob))
    }

    /// Makes an empty file that others look for.
    fn mark(&self, staging: &Staging, name: &str) -> Result<(), StoreError> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mark = openat(staging.fd(), name, flags, Mode::RUSR | Mode::WUSR);
        mark.map(drop)
            .map_err(|errno| StoreError::access("create", staging.path().join(name))(errno.into()))
    }

    /// Tells those who look at us that we come on, though no file that they see grows: one that is
    /// being unpacked lies further down.
    pub(crate) fn show_progress(&self) {
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_NOW,
        };
        let times = Timestamps {
            last_access: now,
            last_modification: now,
        };
        for staging in self.places() {
            // whoever does not see it looks at the rest as well
            let _ = futimens(staging.fd(), &times);
        }
    }

    /// Whether another pull waits, which may be for a layer of ours.
    pub(crate) fn is_watched(&self, store: &Store) -> bool {
        let ours = self.names();
        let others = Dir::read_from(store.tmp_fd()).into_iter().flatten();
        let mut others = others.filter_map(Result::ok).filter(|entry| {
            let name = entry.file_name().to_bytes();
            !name.starts_with(b".") && !ours.iter().any(|ours| ours.as_bytes() == name)
        });
        others.any(|entry| {
            let other = openat(
                store.tmp_fd(),
                entry.file_name(),
                OPEN_DIRECTORY,
                Mode::empty(),
            );
            other.is_ok_and(|other| {
                let waits = statat(&other, WAITS, AtFlags::SYMLINK_NOFOLLOW).is_ok();
                // shared: two that look at the same one do not take each other for its owner
                let lock = FlockOperation::NonBlockingLockShared;
                waits && flock(&other, lock) == Err(Errno::WOULDBLOCK)
            })
        })
    }

    /// Takes over what orphans have for us; what other pulls are about to get.
    fn look_around(&mut self, store: &Store, wants: Wants<'_>) -> Result<Vec<Foreign>, StoreError> {
        let mut foreign = Vec::new();
        each_place(store, &self.names(), |place| {
            match place {
                Place::Orphan(orphan) => self.take_over(orphan, wants)?,
                Place::Owned(directory) => foreign.extend(claims_in(store, &directory, wants)),
                Place::Stray(_) => {}
            }
            Ok(())
        })?;
        Ok(foreign)
    }
}

impl Trace {
    /// What is to be seen in one directory. What goes while it is looked at was there a moment ago.
    fn of(directory: &OwnedFd) -> Self {
        let mut trace = Self::default();
        if let Ok(stat) = fstat(directory) {
            trace.changed = (stat.st_mtime, stat.st_mtime_nsec);
        }
        let entries = Dir::read_from(directory).into_iter().flatten();
        for entry in entries.filter_map(Result::ok) {
            if let Ok(stat) = statat(directory, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW) {
                let bytes = u64::try_from(stat.st_size).unwrap_or(0);
                trace.bytes = trace.bytes.saturating_add(bytes);
            }
        }
        trace
    }

    /// That of two pulls which claim one layer.
    fn and(self, other: Self) -> Self {
        Self {
            changed: self.changed.max(other.changed),
            bytes: self.bytes.saturating_add(other.bytes),
        }
    }
}

/// What others have of a blob, if any of them claims it.
fn theirs(foreign: &[Foreign], blob: &Digest) -> Option<Claim> {
    let claims = foreign.iter().filter(|foreign| foreign.blob == *blob);
    let claims = claims.map(|foreign| (foreign.is_finished, foreign.trace));
    let (is_finished, trace) =
        claims.reduce(|one, other| (one.0 || other.0, one.1.and(other.1)))?;
    Some(Claim::Theirs { is_finished, trace })
}

/// Gives up every claim in a directory of ours: what it is about is in the store.
pub(super) fn release(staging: &Staging) {
    let Ok(entries) = Dir::read_from(staging.fd()) else {
        return;
    };
    let names = entries.filter_map(|entry| Some(entry.ok()?.file_name().to_owned()));
    for name in names.filter(|name| name.to_bytes().starts_with(WANT.as_bytes())) {
        // one that stays only makes others look whether the store has it
        let _gone = unlinkat(staging.fd(), name, AtFlags::empty());
    }
}

fn claims_in(store: &Store, directory: &OwnedFd, wants: Wants<'_>) -> Vec<Foreign> {
    let is_claimed = |layer: &&ExpectedLayer| {
        let name = name_of(WANT, &layer.blob);
        statat(directory, name, AtFlags::SYMLINK_NOFOLLOW).is_ok()
    };
    let claimed: Vec<_> = wants.layers.iter().filter(is_claimed).collect();
    if claimed.is_empty() {
        return Vec::new();
    }
    // its owner changes it meanwhile: what cannot be read now is seen the next time
    let contents = Contents::read(directory.as_fd(), store.layers_fd()).unwrap_or_default();
    let trace = Trace::of(directory);
    let foreign = claimed.into_iter().map(|layer| Foreign {
        blob: layer.blob.clone(),
        trace,
        is_finished: contents
            .layers
            .iter()
            .any(|finished| finished.done.blob.digest == layer.blob),
    });
    foreign.collect()
}

/// Keeps other pulls from claiming anything, until the descriptor is dropped.
pub(super) fn lock_tmp(store: &Store) -> Result<OwnedFd, StoreError> {
    let locked = lock_of_tmp(store, FlockOperation::LockExclusive);
    locked.map_err(|errno| StoreError::access("lock", store.layout().tmp())(errno.into()))
}

/// The same; `None` if somebody is claiming something at this moment.
pub(super) fn try_lock_tmp(store: &Store) -> Result<Option<OwnedFd>, StoreError> {
    match lock_of_tmp(store, FlockOperation::NonBlockingLockExclusive) {
        Ok(lock) => Ok(Some(lock)),
        Err(Errno::WOULDBLOCK) => Ok(None),
        Err(errno) => Err(StoreError::access("lock", store.layout().tmp())(
            errno.into(),
        )),
    }
}

fn lock_of_tmp(store: &Store, operation: FlockOperation) -> Result<OwnedFd, Errno> {
    // locks belong to an open file, so every holder needs one of its own
    let lock = openat(store.tmp_fd(), ".", OPEN_DIRECTORY, Mode::empty())?;
    loop {
        match flock(&lock, operation) {
            Err(Errno::INTR) => {}
            result => return result.map(|()| lock),
        }
    }
}
