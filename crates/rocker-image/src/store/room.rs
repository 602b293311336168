//! How much may still be written.

use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::fstatvfs;
use rustix::io::Errno;

use super::LimitExceeded;

/// What a file system has free for all that is unpacked side by side.
#[derive(Debug)]
pub(super) struct Room {
    /// When it was last looked at, and with what was spent until then.
    free_bytes: AtomicU64,
    spent_bytes: AtomicU64,
}

impl Room {
    /// That of the file system with `directory`.
    pub(super) fn of(directory: impl AsFd) -> Result<Self, Errno> {
        let free_bytes = AtomicU64::new(free(directory)?);
        let spent_bytes = AtomicU64::new(0);
        Ok(Self {
            free_bytes,
            spent_bytes,
        })
    }

    /// Looks again, once something was deleted that took room before.
    pub(super) fn look_again(&self, directory: impl AsFd) -> Result<(), Errno> {
        let free = free(directory)?.saturating_add(self.spent_bytes.load(Ordering::Relaxed));
        self.free_bytes.store(free, Ordering::Relaxed);
        Ok(())
    }

    /// What was free, less what was spent since, in bytes.
    pub(super) fn left_bytes(&self) -> u64 {
        let spent = self.spent_bytes.load(Ordering::Relaxed);
        self.free_bytes
            .load(Ordering::Relaxed)
            .saturating_sub(spent)
    }

    /// Counts `bytes` that are about to be written, also if they are too many.
    pub(super) fn spend(&self, bytes: u64, keep_free_percent: u64) -> Result<(), LimitExceeded> {
        let free = self.free_bytes.load(Ordering::Relaxed);
        let allowed = free - free / 100 * keep_free_percent.min(100);
        let before = self.spent_bytes.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) <= allowed {
            return Ok(());
        }
        let object = format!("the content of all layers, more than {allowed} bytes,");
        Err(LimitExceeded {
            limit: "keep_free_percent",
            allowed: keep_free_percent,
            object,
        })
    }

    /// What was written of `bytes` that were spent is deleted again.
    pub(super) fn give_back(&self, bytes: u64) {
        self.spent_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

fn free(directory: impl AsFd) -> Result<u64, Errno> {
    let stat = fstatvfs(directory)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}
