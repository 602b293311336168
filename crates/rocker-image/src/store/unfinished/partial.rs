//! The start of a blob, on disk as it came.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use rocker_types::Digest;
use rustix::fs::{AtFlags, Mode, OFlags, fstat, openat, unlinkat};
use rustix::io::{Errno, pread, pwrite};

use super::{BLOB, name_of};
use crate::store::staging::Staging;

/// The bytes of a blob from its first one on, as many as have come. Never flushed: whatever a
/// crash of the machine makes of them, the blob's digest is computed from them again.
#[derive(Debug)]
pub(crate) struct PartialBlob {
    staging: Staging,
    name: String,
    file: std::os::fd::OwnedFd,
    /// How much of it an earlier pull left.
    bytes: u64,
    /// Whether the disk took everything so far.
    is_whole: AtomicBool,
}

impl PartialBlob {
    /// An empty file for the blob `digest` in `staging`.
    pub(super) fn create(staging: &Staging, digest: &Digest) -> Result<Self, Errno> {
        Self::open(
            staging,
            &name_of(BLOB, digest),
            OFlags::CREATE | OFlags::EXCL,
            0,
        )
    }

    /// The file that an earlier pull left with `bytes` of content.
    pub(super) fn reopen(staging: &Staging, name: &str, bytes: u64) -> Result<Self, Errno> {
        Self::open(staging, name, OFlags::empty(), bytes)
    }

    fn open(staging: &Staging, name: &str, how: OFlags, bytes: u64) -> Result<Self, Errno> {
        let flags = how | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(Self {
            file: openat(staging.fd(), name, flags, Mode::RUSR | Mode::WUSR)?,
            staging: staging.clone(),
            name: name.to_owned(),
            bytes,
            is_whole: AtomicBool::new(true),
        })
    }

    /// The directory that it is in.
    pub(super) fn staging(&self) -> &Staging {
        &self.staging
    }

    /// How many bytes there were when it was opened.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Writes `bytes`, which begin at `offset`, the end of the file. Whether they are all there
    /// now: once the disk refused some, nothing more is written.
    pub(crate) fn append(&self, bytes: &[u8], offset: u64) -> bool {
        if !self.is_whole.load(Ordering::Relaxed) {
            return false;
        }
        let mut written = 0;
        while written < bytes.len() {
            match pwrite(&self.file, &bytes[written..], offset + written as u64) {
                Ok(0) => break,
                Ok(more) => written += more,
                Err(Errno::INTR) => {}
                Err(errno) => {
                    tracing::debug!(blob = self.name, %errno, "cannot keep more of it");
                    break;
                }
            }
        }
        let is_whole = written == bytes.len();
        self.is_whole.store(is_whole, Ordering::Relaxed);
        is_whole
    }

    /// Has it keep what it has, and no more.
    pub(super) fn stop_growing(&self) {
        self.is_whole.store(false, Ordering::Relaxed);
    }

    /// Reads what is at `offset`, at most as much as fits.
    pub(crate) fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        loop {
            match pread(&self.file, &mut *buffer, offset) {
                Err(Errno::INTR) => {}
                result => return Ok(result?),
            }
        }
    }

    /// Takes the file's name away: nobody needs it any more, or what it has is wrong.
    pub(crate) fn remove(&self) {
        // what cannot be removed goes with the staging directory
        let _gone = unlinkat(self.staging.fd(), &self.name, AtFlags::empty());
    }
}

impl Drop for PartialBlob {
    /// A file without a byte is of no use to anybody.
    fn drop(&mut self) {
        if fstat(&self.file).is_ok_and(|stat| stat.st_size == 0 && stat.st_nlink > 0) {
            self.remove();
        }
    }
}
