//! `save`: images become a file.

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use rocker_db::ImageRow;
use rocker_image::exchange::{self, ArchiveFormat, NewDirectory, OnLayer, SavedImage, SavedName};
use rocker_types::{ImageRef, Layout};
use rustix::fs::rename;
use rustix::io::Errno;

use crate::EngineError;
use crate::crash::{self, CrashPoint};
use crate::engine::{Engine, new_id};
use crate::images::FoundBy;

/// How a directory is called while it is written; a random word follows.
const UNFINISHED: &str = ".rocker-save-";

impl Engine {
    /// Writes images to `output` as one tar.
    ///
    /// # Errors
    ///
    /// [`EngineError::Save`].
    pub fn save(
        &mut self,
        images: &[SavedImage],
        format: ArchiveFormat,
        on_layer: OnLayer<'_>,
        output: &mut dyn Write,
    ) -> Result<(), EngineError> {
        // no sweep takes a layer away while it is read
        let using = crate::sweep::using_images(&self.layout)?;
        let saved = exchange::save(self.store()?, images, format, on_layer, output);
        drop(using);
        saved.map_err(|error| EngineError::Save(Box::new(error)))
    }

    /// Writes images as an OCI image layout to `directory`, which must not be there or be
    /// empty. It has its name when it is complete.
    ///
    /// # Errors
    ///
    /// [`EngineError::Save`], and [`EngineError::File`] if the directory cannot be made.
    pub fn save_directory(
        &mut self,
        images: &[SavedImage],
        on_layer: OnLayer<'_>,
        directory: &Path,
    ) -> Result<(), EngineError> {
        let directory = absolute(directory)?;
        let refuse = |errno: Errno| EngineError::file("create", &directory)(errno.into());
        // said before gigabytes are written, though only the rename decides
        if has_entries(&directory) {
            return Err(refuse(Errno::NOTEMPTY));
        }
        self.save_beside(&directory, images, on_layer, |_, errno| Err(refuse(errno)))
    }

    /// Writes a layout and gives it the name `directory`; what to do with it where that cannot be
    /// given to it is for `refused` to say.
    fn save_beside(
        &mut self,
        directory: &Path,
        images: &[SavedImage],
        on_layer: OnLayer<'_>,
        refused: impl FnOnce(&NewDirectory, Errno) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        let above = directory.parent().unwrap_or(Path::new("/")).to_owned();
        self.save_below(&above, images, on_layer, |new| {
            // succeeds on an empty directory alone
            if let Err(errno) = rename(new.path(), directory) {
                return refused(new, errno);
            }
            let synced = fs_err::File::open(&above).and_then(|above| above.sync_all());
            synced.map_err(EngineError::file("flush", &above))
        })
    }

    /// As [`save_directory`](Self::save_directory), but adds the images to a layout that is there.
    ///
    /// # Errors
    ///
    /// As [`save_directory`](Self::save_directory); the layout has the images that it had then.
    pub fn add_to_directory(
        &mut self,
        images: &[SavedImage],
        on_layer: OnLayer<'_>,
        directory: &Path,
    ) -> Result<(), EngineError> {
        let directory = absolute(directory)?;
        let failed = |error| EngineError::Save(Box::new(error));
        let check = || exchange::check_layout(&directory).map_err(failed);
        let append = |new: &NewDirectory| exchange::append_layout(new, &directory).map_err(failed);
        if has_entries(&directory) {
            check()?;
            return self.save_below(&directory, images, on_layer, append);
        }
        self.save_beside(&directory, images, on_layer, |new, errno| match errno {
            // another one who writes the first image there was faster
            Errno::NOTEMPTY | Errno::EXIST => check().and_then(|()| append(new)),
            errno => Err(EngineError::file("create", &directory)(errno.into())),
        })
    }

    /// Writes a layout to a new directory in `above` and hands it to `finish`; whatever is left
    /// there afterwards goes.
    fn save_below(
        &mut self,
        above: &Path,
        images: &[SavedImage],
        on_layer: OnLayer<'_>,
        finish: impl FnOnce(&NewDirectory) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        let using = crate::sweep::using_images(&self.layout)?;
        let word = new_id()?.short().to_owned();
        let temporary = above.join(format!("{UNFINISHED}{word}"));
        self.want_sweep()?;
        let note = Note::write(&self.layout, &word, &temporary)?;
        crash::point(CrashPoint::SaveAfterNote);
        let new = NewDirectory::create(&temporary);
        let new = new.map_err(EngineError::file("create", &temporary))?;
        let saved = exchange::save_directory(self.store()?, images, on_layer, &new)
            .map_err(|error| EngineError::Save(Box::new(error)))
            .and_then(|()| {
                crash::point(CrashPoint::SaveAfterLayers);
                finish(&new)
            });
        if fs_err::symlink_metadata(&temporary).is_ok()
            && let Err(error) = self.remove_tree(&temporary)
        {
            tracing::debug!(%error, "a part of the image stays");
        }
        let erased = note.erase();
        drop(using);
        let swept = self.sweep();
        saved.and(erased).and(swept)
    }

    /// Removes the directories whose `save` was killed. The caller is alone with the images, so
    /// none is being written now. They are where the user wanted them: one that cannot be removed,
    /// on a disk that is gone, stays for later and is in nobody's way.
    pub(crate) fn sweep_saves(&self) -> Result<(), EngineError> {
        let Ok(entries) = fs_err::read_dir(notes(&self.layout)) else {
            return Ok(());
        };
        for entry in entries.filter_map(Result::ok) {
            let note = Note(entry.path());
            let removed = match note.read() {
                Some(unfinished) => self.remove_tree(&unfinished),
                None => Ok(()),
            };
            if let Err(error) = removed.and_then(|()| note.erase()) {
                tracing::debug!(%error, "what a killed save has left stays");
            }
        }
        Ok(())
    }

    /// The image that `query` means, to be called something else in an archive, or nothing.
    ///
    /// # Errors
    ///
    /// [`EngineError::NoSuchImage`], [`EngineError::AmbiguousImage`].
    pub fn one_to_save(
        &mut self,
        query: &str,
        name: Option<SavedName>,
    ) -> Result<Vec<SavedImage>, EngineError> {
        let row = self.image_row(query)?;
        Ok(vec![SavedImage {
            id: row.id,
            layers: row.layers,
            names: name.into_iter().collect(),
        }])
    }

    /// The images to be saved, each once. One that is asked for by name has that name in the
    /// archive, one that is asked for by its id has none; a name without a tag asks for all of
    /// its tags.
    ///
    /// # Errors
    ///
    /// As [`one_to_save`](Self::one_to_save).
    pub fn images_to_save(&mut self, queries: &[String]) -> Result<Vec<SavedImage>, EngineError> {
        let mut images: Vec<SavedImage> = Vec::new();
        let mut meant = Vec::new();
        for query in queries {
            meant.extend(self.meant(query)?);
        }
        for (row, name) in meant {
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
            let name = name.map(SavedName::from);
            if let Some(name) = name.filter(|name| !image.names.contains(name)) {
                image.names.push(name);
            }
        }
        Ok(images)
    }

    /// The images that `query` means, by which name.
    fn meant(&mut self, query: &str) -> Result<Vec<(ImageRow, Option<ImageRef>)>, EngineError> {
        if ImageRef::is_bare(query) {
            let found = self.tagged(query)?;
            if !found.is_empty() {
                let named = found.into_iter().map(|(tag, row)| (row, Some(tag)));
                return Ok(named.collect());
            }
        }
        let (row, found_by) = self.image_meant(query)?;
        let name = match found_by {
            FoundBy::Name(name) => Some(name).filter(|name| row.tags.contains(name)),
            FoundBy::Id => None,
        };
        Ok(vec![(row, name)])
    }
}

/// The whole path; of a link what it leads to, if that is there.
fn absolute(directory: &Path) -> Result<PathBuf, EngineError> {
    let found = match fs_err::canonicalize(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => std::path::absolute(directory),
        found => found,
    };
    found.map_err(EngineError::file("find", directory))
}

fn has_entries(directory: &Path) -> bool {
    fs_err::read_dir(directory).is_ok_and(|mut entries| entries.next().is_some())
}

/// Where notes about unfinished directories are.
fn notes(layout: &Layout) -> PathBuf {
    layout.runroot().join("saves")
}

/// A file that says which directory is being written, for who comes after a kill.
struct Note(PathBuf);

impl Note {
    fn write(layout: &Layout, word: &str, directory: &Path) -> Result<Self, EngineError> {
        let (all, note) = (notes(layout), Self(notes(layout).join(word)));
        fs_err::create_dir_all(&all).map_err(EngineError::file("make", &all))?;
        // under its name at once, and whole: a note that was cut short names no directory
        fs_err::write(&note.0, directory.as_os_str().as_bytes())
            .map_err(EngineError::file("write", &note.0))?;
        Ok(note)
    }

    /// The directory, if it is called as we call ours.
    fn read(&self) -> Option<PathBuf> {
        let path = PathBuf::from(OsString::from_vec(fs_err::read(&self.0).ok()?));
        let word = self.0.file_name()?.to_str()?;
        let expected = format!("{UNFINISHED}{word}");
        (path.is_absolute() && path.file_name() == Some(OsStr::new(&expected))).then_some(path)
    }

    fn erase(self) -> Result<(), EngineError> {
        fs_err::remove_file(&self.0).map_err(EngineError::file("remove", &self.0))
    }
}
