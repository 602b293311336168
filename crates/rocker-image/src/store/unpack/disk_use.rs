//! What a layer takes on disk, counted while it is made.

use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, Stat, fstat, statat};
use rustix::io::Errno;

use super::place::Place;
use crate::store::UnpackError;
use crate::store::usage::blocks;

/// From this length on a file may have more blocks while it is open than afterwards: XFS
/// allocates ahead of whoever writes at the end.
const ALLOCATED_AHEAD_BYTES: i64 = 64 << 10;

/// Bytes on disk, as long as every entry only adds to them.
#[derive(Debug)]
pub(super) struct DiskUse(Option<u64>);

impl DiskUse {
    pub(super) fn new() -> Self {
        Self(Some(0))
    }

    /// An entry replaced another: somebody has to look in the end.
    pub(super) fn lose(&mut self) {
        self.0 = None;
    }

    /// Counts a file that is complete.
    pub(super) fn add_file(&mut self, file: OwnedFd, place: &Place<'_>) -> Result<(), UnpackError> {
        let stat = fstat(&file).map_err(|error| place.error("inspect", error))?;
        if stat.st_size < ALLOCATED_AHEAD_BYTES {
            self.add(&stat);
            return Ok(());
        }
        drop(file);
        self.add_named(place)
    }

    /// Counts what is at `place`.
    pub(super) fn add_named(&mut self, place: &Place<'_>) -> Result<(), UnpackError> {
        let stat = statat(&place.directory, place.leaf, AtFlags::SYMLINK_NOFOLLOW);
        self.add(&stat.map_err(|error: Errno| place.error("inspect", error))?);
        Ok(())
    }

    fn add(&mut self, stat: &Stat) {
        self.0 = self.0.map(|bytes| bytes.saturating_add(blocks(stat)));
    }

    /// With the bytes that directories take; `None` if nobody can say.
    pub(super) fn finish(self, directories: u64) -> Option<u64> {
        self.0.map(|bytes| bytes.saturating_add(directories))
    }
}
