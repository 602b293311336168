//! Configs and manifests, byte for byte.

use std::io::{Read, Write};

use fs_err::File;
use rocker_types::Digest;
use rustix::fs::{AtFlags, Mode, OFlags, fsync, mkdirat, openat, renameat, statat, unlinkat};
use rustix::io::Errno;

use super::{Store, StoreError};
use crate::document::digest_of;

/// No config or manifest is larger, so nothing larger is read into memory.
const BLOB_BYTES_MAX: u64 = 16 << 20;

impl Store {
    /// Keeps `bytes` under their digest, on disk for good.
    ///
    /// # Errors
    ///
    /// [`StoreError::BlobTampered`] unless the digest is right, [`StoreError::Access`] if
    /// the kernel refuses.
    pub fn write_blob(&self, digest: &Digest, bytes: &[u8]) -> Result<(), StoreError> {
        check(digest, bytes)?;
        let path = self.layout().blob(digest);
        let failed = |attempt| {
            let path = path.clone();
            move |errno: Errno| StoreError::access(attempt, path)(errno.into())
        };
        let algorithm = digest.algorithm().name();
        match mkdirat(self.blobs_fd(), algorithm, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(failed("create the directory of")(errno)),
        }
        let staging = self.stage()?;
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(staging.fd(), "blob", flags, Mode::RUSR | Mode::WUSR)
            .map_err(failed("create"))?;
        let mut file = File::from_parts(std::fs::File::from(file), staging.path().join("blob"));
        file.write_all(bytes)
            .and_then(|()| file.sync_all())
            .map_err(StoreError::access("write", &path))?;
        renameat(staging.fd(), "blob", self.blobs_fd(), blob_name(digest))
            .map_err(failed("move into place"))?;
        openat(
            self.blobs_fd(),
            algorithm,
            OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .and_then(fsync)
        .map_err(failed("flush"))
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
