//! The stream of a layer without the content of its files.

use std::io::{self, BufRead, Read};

use rocker_types::DiffId;

use super::TarError;
use super::read::{RecipeReader, Step};
use crate::store::Store;

/// What stands for the content of files.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// The archive that a layer was unpacked from, with zeros where files have their content: it
/// says what the layer should be like, and nothing of the layer's directory is read for it.
pub(in crate::store) struct Skeleton {
    recipe: RecipeReader,
    part: Part,
}

/// What is left of the current step.
enum Part {
    Literal(u64),
    Content(u64),
    End,
}

impl Store {
    /// # Errors
    ///
    /// [`TarError::NoRecipe`], or [`TarError::Recipe`] if it cannot be read.
    pub(in crate::store) fn skeleton(&self, layer: &DiffId) -> Result<Skeleton, TarError> {
        let (file, header) = self.open_recipe(layer)?;
        let path = file.path().to_owned();
        let (recipe, _) = RecipeReader::open(file, &header)
            .map_err(|source| TarError::Recipe { path, source })?;
        let part = Part::Literal(0);
        Ok(Skeleton { recipe, part })
    }
}

impl BufRead for Skeleton {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while matches!(self.part, Part::Literal(0) | Part::Content(0)) {
            self.part = match self.recipe.next()? {
                Step::Literal(length) => Part::Literal(length),
                Step::Run(run) => Part::Content(run.length),
                Step::File(_) => Part::Content(0),
                Step::End => Part::End,
            };
        }
        match self.part {
            Part::Literal(left) => self.recipe.literal(left),
            Part::Content(left) => {
                let length = usize::try_from(left).unwrap_or(usize::MAX);
                Ok(&ZEROS[..length.min(ZEROS.len())])
            }
            Part::End => Ok(&[]),
        }
    }

    fn consume(&mut self, bytes: usize) {
        match &mut self.part {
            Part::Literal(left) => {
                *left = left.saturating_sub(bytes as u64);
                self.recipe.consume(bytes);
            }
            Part::Content(left) => *left = left.saturating_sub(bytes as u64),
            Part::End => {}
        }
    }
}

impl Read for Skeleton {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let length = available.len().min(buffer.len());
        buffer[..length].copy_from_slice(&available[..length]);
        self.consume(length);
        Ok(length)
    }
}
