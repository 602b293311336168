//! Whether a layer on disk is still what it was when it was unpacked.
//!
//! The recipe of a layer says what its archive was, so what the layer should be like need not be
//! remembered a second time: the archive's own headers say it.

mod compare;
mod exact;
mod sample;

use std::io;

use rocker_types::DiffId;
use rustix::io::Errno;

use self::sample::Look;
use super::record::Record;
use super::{Store, StoreError, UnpackLimits};

/// How closely to look at a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// At kind, size, owner, mode and time of whatever the archive names, and at the times of
    /// directories, which tell of files that came and went. No content is read.
    Sample,
    /// At everything: the archive is made again and its digest compared, and every name of the
    /// layer is compared with what the archive unpacks to, extended attributes included.
    Exact,
}

/// What is wrong with a layer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LayerFault {
    /// Its directory is not there.
    #[error("its directory is missing")]
    Missing,
    /// What was written down about it is missing or unreadable.
    #[error("its record is missing or damaged")]
    Record,
    /// How its archive is made is missing or unreadable, so that nobody can tell more.
    #[error("its recipe is missing or damaged")]
    Recipe,
    /// Something in it is not as it was.
    #[error("{path:?} {what}")]
    Changed {
        /// What, escaped.
        path: String,
        /// In which way.
        what: &'static str,
    },
    /// Its files have other content.
    #[error("its content was changed")]
    Content,
    /// The disk does not give its files back.
    #[error("its files cannot be read: {}", io::Error::from_raw_os_error(*errno))]
    Unreadable {
        /// The kernel's number for it.
        errno: i32,
    },
}

impl LayerFault {
    /// What an error tells of the files that it is about; `None` if it may pass, or is about
    /// something else.
    fn of_error(error: &io::Error) -> Option<Self> {
        match Errno::from_io_error(error)? {
            errno @ (Errno::IO | Errno::UCLEAN | Errno::BADMSG) => Some(Self::Unreadable {
                errno: errno.raw_os_error(),
            }),
            // something else is where a directory should be
            Errno::NOTDIR | Errno::LOOP | Errno::NOENT => Some(Self::Content),
            _ => None,
        }
    }
}

impl Store {
    /// What is wrong with a layer, a few findings at most; nothing if it is whole. The layer is
    /// only read; an exact look writes below `tmp/` and takes that away again.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the layer cannot be looked at.
    pub fn inspect_layer(
        &self,
        layer: &DiffId,
        depth: Depth,
        limits: &UnpackLimits,
    ) -> Result<Vec<LayerFault>, StoreError> {
        let is_doubtful = depth == Depth::Sample && self.is_doubtful(layer)?;
        self.look_at(layer, limits, |record| match depth {
            Depth::Sample if is_doubtful => self.could_be_whole(layer, record, limits),
            Depth::Sample => self.looks_whole(layer, record, limits, Look::Stat),
            Depth::Exact => false,
        })
    }

    /// Reads all of a layer that was perhaps not written as a whole. Nothing is written where the
    /// archive's headers alone say how it should be.
    pub(super) fn inspect_doubtful(
        &self,
        layer: &DiffId,
        limits: &UnpackLimits,
    ) -> Result<Vec<LayerFault>, StoreError> {
        self.look_at(layer, limits, |record| {
            self.could_be_whole(layer, record, limits)
        })
    }

    /// Whether nothing is missing in a layer that only a failure can have changed.
    fn could_be_whole(&self, layer: &DiffId, record: &Record, limits: &UnpackLimits) -> bool {
        self.looks_whole(layer, record, limits, Look::Everything)
            && self.write_tar(layer, &mut io::sink()).is_ok()
    }

    /// Looks exactly unless `is_whole` finds that it need not.
    fn look_at(
        &self,
        layer: &DiffId,
        limits: &UnpackLimits,
        is_whole: impl Fn(&Record) -> bool,
    ) -> Result<Vec<LayerFault>, StoreError> {
        if !self.has_layer(layer) {
            return Ok(vec![LayerFault::Missing]);
        }
        let record = match Record::load(self, layer) {
            Ok(record) => record,
            // another process has just removed it
            Err(StoreError::NoLayer { .. }) => return Ok(vec![LayerFault::Missing]),
            Err(error) if error.is_of_record() => return Ok(vec![LayerFault::Record]),
            Err(error) => return Err(error),
        };
        // A sample may err on the side of suspicion: a name that leads through a link is not
        // followed. Before anything is said, the layer is looked at exactly.
        match is_whole(&record) {
            true => Ok(Vec::new()),
            false => self.compare_exactly(layer, &record, limits),
        }
    }
}
