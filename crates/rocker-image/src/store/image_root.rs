//! Whose root directory an image's root directory is.

use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;

use rocker_types::{DiffId, Layout};
use rustix::fs::{CWD, Mode, OFlags, openat};

use super::StoreError;
use super::record::Record;

/// The directory of the layer that says what the root directory of an image is like: owner
/// and mode. `None` if none of `chain`, base first, says so; then it belongs to root and has
/// mode 0755.
///
/// Most archives have no entry for their own root, so that the topmost layer's directory
/// says nothing about the image.
///
/// # Errors
///
/// [`StoreError::Access`] or [`StoreError::NoLayer`] if a layer is not there,
/// [`StoreError::Record`] if what the store knows about it is damaged.
pub fn root_layer(layout: &Layout, chain: &[DiffId]) -> Result<Option<PathBuf>, StoreError> {
    let attributes = chain.iter().rev().map(|layer| {
        let path = layout.layer(layer);
        let found = fs_err::symlink_metadata(&path).map_err(StoreError::access("look at", path))?;
        let mode = found.permissions().mode();
        Ok::<_, StoreError>((mode, found.uid(), found.gid()))
    });
    let mut attributes = attributes.collect::<Result<Vec<_>, _>>()?;
    attributes.dedup();
    if let ([_], Some(top)) = (attributes.as_slice(), chain.last()) {
        // Nearly always, and nobody needs to read records to choose between equals.
        return Ok(Some(layout.layer(top)));
    }
    let (path, flags) = (
        layout.layers(),
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
    );
    let layers = openat(CWD, &path, flags, Mode::empty())
        .map_err(|errno| StoreError::access("open directory", path)(errno.into()))?;
    for layer in chain.iter().rev() {
        if Record::load_at(layers.as_fd(), &layout.layers(), layer)?.has_own_root() {
            return Ok(Some(layout.layer(layer)));
        }
    }
    Ok(None)
}
