//! Where content goes that later entries of its own layer replace.

use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags, mkdirat, openat, renameat};
use rustix::io::Errno;

use super::{Move, RecipeWriter};
use crate::store::UnpackError;
use crate::store::unpack::Place;

/// What a layer's stream has and its directory has not any more.
///
/// The directory is made when something is to be kept in it.
pub(crate) struct Attic {
    parent: OwnedFd,
    name: String,
    directory: Option<OwnedFd>,
    moves: Vec<Move>,
    files: u64,
}

impl Attic {
    /// Will be the directory `name` in `parent`.
    pub(in crate::store) fn new(parent: OwnedFd, name: String) -> Self {
        Self {
            parent,
            name,
            directory: None,
            moves: Vec::new(),
            files: 0,
        }
    }

    /// The recipe names one more file.
    pub(crate) fn count_file(&mut self) {
        self.files += 1;
    }

    /// Takes what is at `place` away, with everything below it. Returns the bytes of memory
    /// that it takes to remember that.
    pub(crate) fn take(&mut self, place: &Place<'_>) -> Result<usize, UnpackError> {
        let failed = |errno| place.error("set aside", errno);
        let attic = match self.directory.take() {
            Some(attic) => attic,
            None => self.make().map_err(failed)?,
        };
        let attic = self.directory.insert(attic);
        let number = self.moves.len().to_string();
        renameat(&place.directory, place.leaf, &*attic, number).map_err(failed)?;
        let path = place.path();
        let bytes = size_of::<Move>() + path.len();
        self.moves.push(Move {
            files: self.files,
            path,
        });
        Ok(bytes)
    }

    /// Completes the recipe with what was set aside.
    pub(in crate::store) fn finish(self, recipe: RecipeWriter) -> Result<(), UnpackError> {
        let finished = recipe.finish(&self.moves);
        finished.map_err(|source| UnpackError::Recipe { source })
    }

    fn make(&self) -> Result<OwnedFd, Errno> {
        mkdirat(&self.parent, &self.name, Mode::RWXU)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        openat(&self.parent, &self.name, flags, Mode::empty())
    }
}
