//! The archive once more: its digest, and what it unpacks to.

use std::io;
use std::os::fd::AsFd;

use rocker_types::DiffId;

use super::LayerFault;
use super::compare::Comparison;
use crate::store::StagedLayer;
use crate::store::archive::{ArchiveReader, EntryKind};
use crate::store::merged::Lower;
use crate::store::recipe::{Skeleton, TarError};
use crate::store::record::{Record, decode};
use crate::store::settle::settle;
use crate::store::unpack::Unpacker;
use crate::store::{Store, StoreError, UnpackError, UnpackLimits};

impl Store {
    pub(super) fn compare_exactly(
        &self,
        layer: &DiffId,
        record: &Record,
        limits: &UnpackLimits,
    ) -> Result<Vec<LayerFault>, StoreError> {
        // The digest covers the recipe's headers too: with it they are as true as the content.
        let content = match self.write_tar(layer, &mut io::sink()) {
            Ok(_) => None,
            Err(TarError::NoRecipe { .. } | TarError::Recipe { .. }) => {
                return Ok(vec![LayerFault::Recipe]);
            }
            Err(TarError::FileChanged { .. } | TarError::Changed { .. }) => {
                Some(LayerFault::Content)
            }
            Err(TarError::Store(StoreError::NoLayer { .. })) => {
                return Ok(vec![LayerFault::Missing]);
            }
            Err(TarError::Store(error)) => Some(unreadable(error)?),
            Err(TarError::Output { source }) => {
                return Err(StoreError::access("read", self.layer_dir(layer))(source));
            }
        };
        let Ok(skeleton) = self.skeleton(layer) else {
            return Ok(vec![LayerFault::Recipe]);
        };
        // it is here already, and its files become holes: what this machine takes from strangers
        // and how full its disk is does not matter
        let limits = UnpackLimits {
            entries: u64::MAX,
            unpacked_bytes: u64::MAX,
            keep_free_percent: 0,
            ..*limits
        };
        let expected = match self.unpack_skeleton(layer, skeleton, &limits) {
            Ok(expected) => expected,
            // it unpacked once, so what is wrong is the recipe
            Err(UnpackError::Archive { .. } | UnpackError::Entry { .. }) => {
                return Ok(content.into_iter().chain([LayerFault::Recipe]).collect());
            }
            Err(error) => return Err(refused(self, layer, error)),
        };
        match self.differences(layer, record, &expected) {
            Ok(faults) if faults.is_empty() => Ok(content.into_iter().collect()),
            Ok(faults) => Ok(faults),
            // what is known already does not go with what cannot be found out
            Err(error) => content.map_or(Err(error), |content| Ok(vec![content])),
        }
    }

    /// The layer as it should be, but for the content of its files, which are all holes.
    fn unpack_skeleton(
        &self,
        layer: &DiffId,
        skeleton: Skeleton,
        limits: &UnpackLimits,
    ) -> Result<StagedLayer, UnpackError> {
        let directory = self.stage()?.new_layer()?;
        let mut unpacker = Unpacker::new(directory.root()?, directory.attic()?, limits)?;
        let mut archive = ArchiveReader::new(skeleton, limits);
        while let Some(mut entry) = archive.next()? {
            if let EntryKind::File { size } | EntryKind::SparseFile { size, .. } = entry.kind
                && size > 0
            {
                let extents = Vec::new();
                entry.kind = EntryKind::SparseFile { size, extents };
            }
            unpacker.add(entry, &mut archive)?;
        }
        let (unpacked, _) = unpacker.finish()?;
        Ok(directory.into_layer(layer.clone(), unpacked, None, limits.keep_free_percent))
    }

    fn differences(
        &self,
        layer: &DiffId,
        record: &Record,
        expected: &StagedLayer,
    ) -> Result<Vec<LayerFault>, StoreError> {
        let mut lowers = Vec::with_capacity(record.base.len());
        for below in &record.base {
            match self.open_layer(below) {
                Ok(root) => lowers.push(Lower {
                    layer: below.clone(),
                    root,
                }),
                // the image that it was made for is gone, and with it what it took from there
                Err(StoreError::NoLayer { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let is_complete = lowers.len() == record.base.len();
        if is_complete {
            settle(expected, &lowers, &|| false)?;
        }
        let actual = self.open_layer(layer)?;
        let mut comparison = Comparison::new(expected.directory.fd(), actual.as_fd());
        if !is_complete {
            let taken = record.copied.iter().map(|link| link.path.as_str());
            comparison.leave_out(taken.chain(record.inherited()).filter_map(decode));
        }
        let compared = comparison.run().and_then(|()| match is_complete {
            true => comparison.contents(record.copied.iter().map(|link| link.path.as_str())),
            false => Ok(()),
        });
        let unreadable = match compared {
            Ok(()) => None,
            Err(errno) => {
                let failed = StoreError::access("compare", self.layer_dir(layer));
                Some(unreadable(failed(errno.into()))?)
            }
        };
        let mut faults = comparison.into_faults();
        if faults.is_empty() {
            faults.extend(unreadable);
        }
        Ok(faults)
    }
}

/// The fault that kept us from reading the layer's own files; the error itself if it is none.
fn unreadable(error: StoreError) -> Result<LayerFault, StoreError> {
    if let StoreError::Access { source, .. } = &error
        && let Some(fault) = LayerFault::of_error(source)
    {
        return Ok(fault);
    }
    Err(error)
}

/// What kept us from unpacking, in the store's own words.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "all others are of one kind: the layer cannot be compared"
)]
fn refused(store: &Store, layer: &DiffId, error: UnpackError) -> StoreError {
    match error {
        UnpackError::Staging { source } => source,
        UnpackError::Limit { source } => StoreError::TooLarge {
            layer: layer.clone(),
            source,
        },
        error => StoreError::access("compare", store.layer_dir(layer))(io::Error::other(error)),
    }
}
