//! Entries in the place of earlier ones of the same layer.

use rustix::fs::{AtFlags, unlinkat};
use rustix::io::Errno;

use super::place::{Existing, Place};
use super::unpacker::Unpacker;
use crate::store::UnpackError;

impl Unpacker<'_> {
    /// Makes something where another entry may have put something before: the last wins.
    pub(super) fn replacing<T>(
        &mut self,
        place: &Place<'_>,
        attempt: &'static str,
        make: impl Fn(&Place<'_>) -> Result<T, Errno>,
    ) -> Result<T, UnpackError> {
        let mut made = make(place);
        if matches!(made, Err(Errno::EXIST))
            && let Some(existing) = place.inspect()?
        {
            self.clear(place, existing)?;
            made = make(place);
        }
        made.map_err(|error| place.error(attempt, error))
    }

    pub(super) fn clear(
        &mut self,
        place: &Place<'_>,
        existing: Existing,
    ) -> Result<(), UnpackError> {
        self.disk_use.lose();
        match existing {
            Existing::Directory => {
                self.directories.forget(&place.path());
                let bytes = self.attic.take(place)?;
                return self.directories.charge(bytes);
            }
            Existing::Content => {
                let bytes = self.attic.take(place)?;
                return self.directories.charge(bytes);
            }
            // Names may have been resolved through it.
            Existing::Link => self.directories.forget_open(),
            Existing::Whiteout | Existing::Other => {}
        }
        unlinkat(&place.directory, place.leaf, AtFlags::empty())
            .map_err(|error| place.error("replace", error))
    }
}
