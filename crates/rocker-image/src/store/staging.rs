//! Private places below `tmp/`, and what becomes of them when their owner dies.
//!
//! A staging directory has a random name and its owner holds a flock on it. The kernel
//! releases the lock with the last descriptor, however the owner ends, so a directory that
//! can be locked is an orphan and may be deleted by anybody.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use fs_err::File;
use rocker_types::DiffId;
use rustix::fs::{
    AtFlags, Dir, FlockOperation, Mode, OFlags, flock, fstat, mkdirat, openat, statat, unlinkat,
};
use rustix::io::Errno;
use rustix::path::Arg;
use rustix::rand::{GetRandomFlags, getrandom};

use super::recipe::{ATTIC, Attic, RECIPE, RecipeWriter};
use super::record::VerifiedBlob;
use super::remove::remove_tree;
use super::room::Room;
use super::root::OPEN_DIRECTORY;
use super::staged::StagedLayer;
use super::unfinished::{forget_done, is_of_use, renounce};
use super::unpack::Unpacked;
use super::usage::usage_at;
use super::windows::Windows;
use super::{LimitExceeded, StoreError};

/// How the name of a layer's directory begins.
pub(super) const LAYER: &str = "layer-";

/// A private directory below `tmp/` where layers are unpacked until they are committed.
///
/// It lives as long as one of its clones or one of its layers, and takes what was not
/// committed with it. If its owner dies, [`Store::sweep`](super::Store::sweep) removes it, but
/// for what a later pull can use.
#[derive(Clone)]
pub struct Staging(Arc<StagingDirectory>);

struct StagingDirectory {
    tmp: OwnedFd,
    path: PathBuf,
    name: String,
    directory: OwnedFd,
    layers: AtomicU32,
    /// Whether what a later pull can use stays when the owner goes.
    keeps: AtomicBool,
    /// All layers share it, since they are unpacked side by side.
    room: Room,
    windows: Windows,
}

impl fmt::Debug for Staging {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Staging").field(&self.0.path).finish()
    }
}

impl Staging {
    /// Makes and locks a directory with a name that nobody has.
    pub(super) fn new(tmp: BorrowedFd<'_>, tmp_path: &Path) -> Result<Self, StoreError> {
        loop {
            let name = random_name().map_err(|errno| {
                StoreError::access("name a directory in", tmp_path)(errno.into())
            })?;
            let path = tmp_path.join(&name);
            let failed = |attempt| {
                let path = path.clone();
                move |errno: Errno| StoreError::access(attempt, path)(errno.into())
            };
            match mkdirat(tmp, &name, Mode::RWXU) {
                Err(Errno::EXIST) => continue,
                result => result.map_err(failed("create directory"))?,
            }
            // Whoever looks around may be faster than our lock; then the directory is his to
            // remove, and the next one has another name.
            let directory = match lock_new(tmp, &name) {
                Ok(Some(directory)) => directory,
                Ok(None) => continue,
                Err(errno) => {
                    // best effort: an empty one is the next sweep's
                    let _ = unlinkat(tmp, &name, AtFlags::REMOVEDIR);
                    return Err(failed("lock")(errno));
                }
            };
            let tmp = tmp
                .try_clone_to_owned()
                .map_err(StoreError::access("keep open", tmp_path))?;
            return Self::of_orphan(tmp, tmp_path, name, directory, 0);
        }
    }

    /// The directory `name` of `tmp`, which is open and locked by us as `directory`. Its next
    /// layer gets the number `next_layer`.
    pub(super) fn of_orphan(
        tmp: OwnedFd,
        tmp_path: &Path,
        name: String,
        directory: OwnedFd,
        next_layer: u32,
    ) -> Result<Self, StoreError> {
        let path = tmp_path.join(&name);
        let room = Room::of(&directory).map_err(|errno| {
            StoreError::access("ask for the free space of", &path)(errno.into())
        })?;
        Ok(Self(Arc::new(StagingDirectory {
            tmp,
            path,
            name,
            directory,
            layers: AtomicU32::new(next_layer),
            keeps: AtomicBool::new(false),
            room,
            windows: Windows::new(),
        })))
    }

    /// Says whether what a later pull can use shall stay when the last owner goes.
    pub(super) fn set_keeps(&self, keeps: bool) {
        self.0.keeps.store(keeps, Ordering::Relaxed);
    }

    pub(super) fn keeps(&self) -> bool {
        self.0.keeps.load(Ordering::Relaxed)
    }

    /// How much may still be written here.
    pub(super) fn room(&self) -> &Room {
        &self.0.room
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.0.directory.as_fd()
    }

    pub(super) fn path(&self) -> &Path {
        &self.0.path
    }

    pub(super) fn name(&self) -> &str {
        &self.0.name
    }

    pub(super) fn windows(&self) -> &Windows {
        &self.0.windows
    }

    /// An empty file of this name, to be written and read.
    pub(crate) fn create_file(&self, name: &str) -> Result<File, StoreError> {
        let path = self.0.path.join(name);
        let flags =
            OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(self.fd(), name, flags, Mode::RUSR | Mode::WUSR)
            .map_err(|errno| StoreError::access("create", &path)(errno.into()))?;
        Ok(File::from_parts(std::fs::File::from(file), path))
    }

    /// An empty file that goes with whoever has it open, however that one ends.
    pub(crate) fn create_nameless_file(&self) -> Result<File, StoreError> {
        const NAME: &str = "nameless";
        let file = self.create_file(NAME)?;
        unlinkat(self.fd(), NAME, AtFlags::empty())
            .map_err(|errno| StoreError::access("remove", file.path())(errno.into()))?;
        Ok(file)
    }

    /// An empty directory for one more layer.
    pub(super) fn new_layer(&self) -> Result<LayerDirectory, StoreError> {
        let name = format!("{LAYER}{}", self.0.layers.fetch_add(1, Ordering::Relaxed));
        mkdirat(self.fd(), &name, Mode::RWXU).map_err(|errno| {
            StoreError::access("create directory", self.0.path.join(&name))(errno.into())
        })?;
        self.open_layer(name, false)
    }

    /// The directory of a layer that was finished before this staging was ours.
    pub(super) fn finished_layer(&self, name: &str) -> Result<LayerDirectory, StoreError> {
        self.open_layer(name.to_owned(), true)
    }

    fn open_layer(&self, name: String, is_done: bool) -> Result<LayerDirectory, StoreError> {
        let directory =
            openat(self.fd(), &name, OPEN_DIRECTORY, Mode::empty()).map_err(|errno| {
                StoreError::access("open directory", self.0.path.join(&name))(errno.into())
            })?;
        Ok(LayerDirectory {
            staging: self.clone(),
            name,
            directory,
            spent_bytes: AtomicU64::new(0),
            is_done,
            is_committed: false,
        })
    }

    /// Removes everything now and says if that fails.
    pub(super) fn remove(self) -> Result<(), StoreError> {
        let removed = self.0.remove();
        removed.map_err(StoreError::access("remove", self.path()))
    }
}

/// Locks the directory that we made a moment ago; `None` if somebody else was faster.
fn lock_new(tmp: BorrowedFd<'_>, name: &str) -> Result<Option<OwnedFd>, Errno> {
    let directory = match openat(tmp, name, OPEN_DIRECTORY, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(None),
        result => result?,
    };
    match flock(&directory, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => return Ok(None),
        result => result?,
    }
    Ok(Some(directory).filter(|directory| is_at(tmp, name, directory)))
}

impl StagingDirectory {
    fn has_something_of_use(&self) -> bool {
        let Ok(entries) = Dir::read_from(&self.directory) else {
            return false;
        };
        let mut entries = entries.filter_map(Result::ok);
        entries.any(|entry| is_of_use(entry.file_name().to_bytes()))
    }

    fn remove(&self) -> io::Result<()> {
        renounce(self.directory.as_fd())?;
        remove_tree(self.tmp.as_fd(), self.name.as_bytes())
    }
}

impl Drop for StagingDirectory {
    fn drop(&mut self) {
        if *self.keeps.get_mut() && self.has_something_of_use() {
            return;
        }
        // What cannot be removed now is removed by the next sweep.
        self.remove().unwrap_or_default();
    }
}

/// Where one layer is unpacked; removed with its content unless it is committed, or noted to be
/// whole and kept for a later pull.
#[derive(Debug)]
pub(super) struct LayerDirectory {
    pub(super) staging: Staging,
    name: String,
    directory: OwnedFd,
    /// What was spent of the room for all.
    spent_bytes: AtomicU64,
    /// Whether there is a note that the layer is whole.
    pub(super) is_done: bool,
    pub(super) is_committed: bool,
}

impl LayerDirectory {
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    pub(super) fn path(&self) -> PathBuf {
        self.staging.path().join(&self.name)
    }

    /// Its name in the staging directory.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Counts `bytes` of the layer that are about to be written.
    pub(super) fn spend(&self, bytes: u64, keep_free_percent: u64) -> Result<(), LimitExceeded> {
        self.spent_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.staging.room().spend(bytes, keep_free_percent)
    }

    /// A second descriptor of the directory.
    pub(super) fn root(&self) -> Result<OwnedFd, StoreError> {
        self.directory
            .try_clone()
            .map_err(StoreError::access("keep open", self.path()))
    }

    /// Where content goes that the layer's own archive replaces.
    pub(super) fn attic(&self) -> Result<Attic, StoreError> {
        let parent = self.staging.fd().try_clone_to_owned();
        let parent = parent.map_err(StoreError::access("keep open", self.staging.path()))?;
        Ok(Attic::new(parent, self.attic_name()))
    }

    /// Where it is written down how the layer's archive was made.
    pub(super) fn recipe(&self) -> Result<RecipeWriter, StoreError> {
        let file = self.staging.create_file(&self.recipe_name())?;
        let path = file.path().to_owned();
        RecipeWriter::new(file).map_err(StoreError::access("write", path))
    }

    pub(super) fn attic_name(&self) -> String {
        format!("{}{ATTIC}", self.name)
    }

    /// Whether anything was set aside.
    pub(super) fn has_attic(&self) -> bool {
        let found = statat(
            self.staging.fd(),
            self.attic_name(),
            AtFlags::SYMLINK_NOFOLLOW,
        );
        found.is_ok()
    }

    pub(super) fn recipe_name(&self) -> String {
        format!("{}{RECIPE}", self.name)
    }

    /// What the layer takes on disk with what lies beside it. Its own part is measured unless it
    /// was counted; that is done by whoever unpacked it, beside those who unpack others.
    pub(super) fn disk_bytes(&self, counted: Option<u64>) -> Option<u64> {
        let usage = |name: &str| usage_at(self.staging.fd(), name).ok();
        let own = counted.or_else(|| usage(&self.name))?;
        Some(own + usage(&self.recipe_name())? + usage(&self.attic_name())?)
    }

    pub(super) fn into_layer(
        self,
        diff_id: DiffId,
        unpacked: Unpacked,
        blob: Option<VerifiedBlob>,
        keep_free_percent: u64,
    ) -> StagedLayer {
        StagedLayer {
            directory: self,
            diff_id,
            unpacked,
            blob,
            keep_free_percent,
        }
    }
}

impl Drop for LayerDirectory {
    fn drop(&mut self) {
        let is_kept = self.is_done && self.staging.keeps();
        // whoever sees the note while half of the layer is gone would believe it
        if !self.is_committed && !is_kept && forget_done(&self.staging, &self.name).is_ok() {
            let parts = [&self.name, &self.recipe_name(), &self.attic_name()];
            let removed = parts.map(|name| remove_tree(self.staging.fd(), name.as_bytes()));
            if removed.iter().all(Result::is_ok) {
                let spent = *self.spent_bytes.get_mut();
                self.staging.room().give_back(spent);
            }
        }
    }
}

/// Whether there may be staging directories. One system call.
pub(super) fn is_there(tmp: BorrowedFd<'_>, tmp_path: &Path) -> Result<bool, StoreError> {
    let stat = fstat(tmp).map_err(|errno| StoreError::access("inspect", tmp_path)(errno.into()))?;
    // A directory without subdirectories has two links: its name and its own ".".
    // File systems that do not count say 1.
    Ok(stat.st_nlink != 2)
}

/// Whether `directory` is still what `name` leads to.
pub(super) fn is_at(parent: BorrowedFd<'_>, name: impl Arg, directory: &OwnedFd) -> bool {
    match (
        statat(parent, name, AtFlags::SYMLINK_NOFOLLOW),
        fstat(directory),
    ) {
        (Ok(named), Ok(open)) => (named.st_dev, named.st_ino) == (open.st_dev, open.st_ino),
        _ => false,
    }
}

fn random_name() -> Result<String, Errno> {
    let mut bytes = [0u8; 8];
    getrandom(&mut bytes, GetRandomFlags::empty())?;
    Ok(format!("{:016x}", u64::from_ne_bytes(bytes)))
}
