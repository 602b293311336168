//! Configs and manifests, byte for byte.

use std::collections::BTreeSet;
use std::io::{Read, Write};

use fs_err::File;
use rocker_types::Digest;
use rustix::fs::{AtFlags, Mode, OFlags, fsync, mkdirat, openat, renameat, statat, unlinkat};
use rustix::io::Errno;

use super::staging::Staging;
use super::{Durability, Store, StoreError};
use crate::document::digest_of;

/// No config or manifest is larger, so nothing larger is read into memory.
const BLOB_BYTES_MAX: u64 = 16 << 20;

/// Blobs that are written, but not in the store yet.
#[derive(Debug)]
pub(crate) struct StagedBlobs {
    staging: Staging,
    digests: Vec<Digest>,
    durability: Durability,
}

impl Store {
    /// Keeps `bytes` under their digest, on disk for good.
    ///
    /// # Errors
    ///
    /// [`StoreError::BlobTampered`] unless the digest is right, [`StoreError::Access`] if
    /// the kernel refuses.
    pub fn write_blob(&self, digest: &Digest, bytes: &[u8]) -> Result<(), StoreError> {
        self.place_blob(digest, bytes, Durability::AtCommit)
    }

    /// As [`write_blob`](Self::write_blob), but leaves it to `durability` whether the blob is on
    /// disk when this returns.
    ///
    /// # Errors
    ///
    /// Those of [`write_blob`](Self::write_blob).
    pub fn place_blob(
        &self,
        digest: &Digest,
        bytes: &[u8],
        durability: Durability,
    ) -> Result<(), StoreError> {
        self.commit_blobs(self.stage_blobs(&[(digest, bytes)], durability)?)
    }

    /// Writes blobs and, unless `durability` says otherwise, waits until they are on disk, but gives
    /// them no name yet.
    ///
    /// # Errors
    ///
    /// As [`write_blob`](Self::write_blob).
    pub(crate) fn stage_blobs(
        &self,
        blobs: &[(&Digest, &[u8])],
        durability: Durability,
    ) -> Result<StagedBlobs, StoreError> {
        let staging = self.stage()?;
        for (digest, bytes) in blobs {
            check(digest, bytes)?;
            let path = staging.path().join(digest.hex());
            let flags = OFlags::WRONLY
                | OFlags::CREATE
                | OFlags::TRUNC
                | OFlags::NOFOLLOW
                | OFlags::CLOEXEC;
            let file = openat(staging.fd(), digest.hex(), flags, Mode::RUSR | Mode::WUSR)
                .map_err(|errno| StoreError::access("create", &path)(errno.into()))?;
            let mut file = File::from_parts(std::fs::File::from(file), path.as_path());
            file.write_all(bytes)
                .and_then(|()| match durability {
                    Durability::AtCommit => file.sync_all(),
                    Durability::Eventual | Durability::AtFlush => Ok(()),
                })
                .map_err(StoreError::access("write", self.layout().blob(digest)))?;
        }
        let digests = blobs.iter().map(|(digest, _)| (*digest).clone()).collect();
        Ok(StagedBlobs {
            staging,
            digests,
            durability,
        })
    }

    /// Gives blobs their names.
    ///
    /// # Errors
    ///
    /// [`StoreError::Access`] if the kernel refuses.
    pub(crate) fn commit_blobs(&self, blobs: StagedBlobs) -> Result<(), StoreError> {
        let StagedBlobs {
            staging,
            digests,
            durability,
        } = blobs;
        let mut directories = BTreeSet::new();
        for digest in &digests {
            let failed = |attempt| {
                let path = self.layout().blob(digest);
                move |errno: Errno| StoreError::access(attempt, path)(errno.into())
            };
            let algorithm = digest.algorithm().name();
            if directories.insert(algorithm) {
                match mkdirat(self.blobs_fd(), algorithm, Mode::RWXU) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(errno) => return Err(failed("create the directory of")(errno)),
                }
            }
            renameat(
                staging.fd(),
                digest.hex(),
                self.blobs_fd(),
                blob_name(digest),
            )
            .map_err(failed("move into place"))?;
        }
        if durability != Durability::AtCommit {
            return Ok(());
        }
        for algorithm in directories {
            let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
            openat(self.blobs_fd(), algorithm, flags, Mode::empty())
                .and_then(fsync)
                .map_err(|errno| {
                    let path = self.layout().blobs().join(algorithm);
                    StoreError::access("flush", path)(errno.into())
                })?;
        }
        Ok(())
    }

    /// The bytes behind a digest, verified.
    ///
    /// # Errors
    ///
    /// [`StoreError::NoBlob`] if there are none, [`StoreError::BlobTampered`] if they were
    /// changed, [`StoreError::Access`] if they cannot be read.
    pub fn read_blob(&self, digest: &Digest) -> Result<Vec<u8>, StoreError> {
        let path = self.layout().blob(digest);
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = match openat(self.blobs_fd(), blob_name(digest), flags, Mode::empty()) {
            Ok(file) => File::from_parts(std::fs::File::from(file), path.as_path()),
            Err(Errno::NOENT) => {
                return Err(StoreError::NoBlob {
                    blob: digest.clone(),
                });
            }
            Err(errno) => return Err(StoreError::access("open", path)(errno.into())),
        };
        let mut bytes = Vec::new();
        file.take(BLOB_BYTES_MAX)
            .read_to_end(&mut bytes)
            .map_err(StoreError::access("read", path))?;
        check(digest, &bytes)?;
        Ok(bytes)
    }

    /// Whether there are bytes under this digest.
    #[must_use]
    pub fn has_blob(&self, digest: &Digest) -> bool {
        statat(
            self.blobs_fd(),
            blob_name(digest),
            AtFlags::SYMLINK_NOFOLLOW,
        )
        .is_ok()
    }

    /// Removes a blob; one that is not there is removed already.
    ///
    /// # Errors
    ///
    /// [`StoreError::Access`] if the kernel refuses.
    pub fn remove_blob(&self, digest: &Digest) -> Result<(), StoreError> {
        match unlinkat(self.blobs_fd(), blob_name(digest), AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(StoreError::access("remove", self.layout().blob(digest))(
                errno.into(),
            )),
        }
    }
}

fn blob_name(digest: &Digest) -> String {
    format!("{}/{}", digest.algorithm().name(), digest.hex())
}

/// Whether these are the bytes behind a digest.
#[must_use]
pub fn is_content(digest: &Digest, bytes: &[u8]) -> bool {
    check(digest, bytes).is_ok()
}

fn check(digest: &Digest, bytes: &[u8]) -> Result<(), StoreError> {
    let actual = digest_of(digest.algorithm(), bytes);
    if actual == *digest {
        Ok(())
    } else {
        Err(StoreError::BlobTampered {
            blob: digest.clone(),
            actual,
        })
    }
}
