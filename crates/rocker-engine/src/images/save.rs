//! `save`: images become a file.

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;

use rocker_image::exchange::{self, ArchiveFormat, SavedImage};
use rocker_types::ImageRef;
use rustix::fs::rename;

use crate::EngineError;
use crate::engine::Engine;

impl Engine {
    /// Writes images to `output` as one tar. One that is asked for by name has that name in
    /// the archive, one that is asked for by its id has none.
    ///
    /// # Errors
    ///
    /// [`EngineError::NoSuchImage`], [`EngineError::AmbiguousImage`] before anything is
    /// written, and [`EngineError::Save`].
    pub fn save(
        &mut self,
        queries: &[String],
        format: ArchiveFormat,
        output: &mut dyn Write,
    ) -> Result<(), EngineError> {
        // no sweep takes a layer away while it is read
        let using = crate::sweep::using_images(&self.layout)?;
        let images = self.wanted_images(queries)?;
        let saved = exchange::save(self.store()?, &images, format, output);
        drop(using);
        saved.map_err(|error| EngineError::Save(Box::new(error)))
    }

    /// Writes images as an OCI image layout to `directory`, which must not be there or be
    /// empty. It has its name when it is complete.
    ///
    /// # Errors
    ///
    /// As [`save`](Self::save), and [`EngineError::File`] if the directory cannot be made.
    pub fn save_directory(
        &mut self,
        queries: &[String],
        directory: &Path,
    ) -> Result<(), EngineError> {
        let using = crate::sweep::using_images(&self.layout)?;
        let images = self.wanted_images(queries)?;
        let directory =
            std::path::absolute(directory).map_err(EngineError::file("find", directory))?;
        let directory = directory.as_path();
        let mut name = OsString::from(".");
        name.push(directory.file_name().unwrap_or_default());
        name.push(format!(".{}", std::process::id()));
        let temporary = directory.with_file_name(name);
        fs_err::create_dir(&temporary).map_err(EngineError::file("create", &temporary))?;
        let saved = exchange::save_directory(self.store()?, &images, &temporary)
            .map_err(|error| EngineError::Save(Box::new(error)))
            .and_then(|()| {
                // succeeds on an empty directory alone
                let renamed = rename(&temporary, directory);
                renamed.map_err(|errno| EngineError::file("create", directory)(errno.into()))
            });
        drop(using);
        if saved.is_err()
            && let Err(error) = self.remove_tree(&temporary)
        {
            tracing::debug!(%error, "a part of the image stays");
        }
        saved
    }

    /// The images, each once, with the names that they were asked for by.
    fn wanted_images(&mut self, queries: &[String]) -> Result<Vec<SavedImage>, EngineError> {
        let mut images: Vec<SavedImage> = Vec::new();
        for query in queries {
            let row = self.image_row(query)?;
            let name = query.parse::<ImageRef>().ok();
            let name = name.filter(|name| row.tags.contains(name));
            let known = images.iter_mut().find(|image| image.id == row.id);
            let image = match known {
                Some(image) => image,
                None => {
                    images.push(SavedImage {
                        id: row.id,
                        layers: row.layers,
                        names: Vec::new(),
                    });
                    let Some(image) = images.last_mut() else {
                        continue;
                    };
                    image
                }
            };
            if let Some(name) = name.filter(|name| !image.names.contains(name)) {
                image.names.push(name);
            }
        }
        Ok(images)
    }
}
