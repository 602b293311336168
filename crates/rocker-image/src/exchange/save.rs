//! Images of the store become a file.

use std::io::{self, Write};
use std::path::PathBuf;

use rocker_types::{Diagnose, DiffId, Digest, ErrorKind, ImageRef};

use super::directory::NewDirectory;
use super::output::{write_directory, write_tar};
use super::plan::Plan;
use crate::store::{Store, StoreError, TarError, io_hint, io_kind};

/// What the archive tells others about its images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArchiveFormat {
    /// Docker's list and that of the OCI image layout, as docker writes it since version 25.
    Docker,
    /// That of the OCI image layout alone.
    Oci,
}

/// An image to save.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedImage {
    /// The digest of its config.
    pub id: Digest,
    /// Its layers, base first.
    pub layers: Vec<DiffId>,
    /// What it shall be called in the archive.
    pub names: Vec<SavedName>,
}

/// What an image is called in an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedName {
    /// Its full name, which is what whoever loads the archive calls it; `None` leaves that to them.
    pub full: Option<ImageRef>,
    /// What the list of the OCI image layout calls it, by which others find it there: whatever
    /// the user likes.
    pub label: String,
}

/// The label is the tag, as docker writes it.
impl From<ImageRef> for SavedName {
    fn from(name: ImageRef) -> Self {
        Self {
            label: name.tag().unwrap_or("latest").to_owned(),
            full: Some(name),
        }
    }
}

/// Why images could not be saved. What was written until then is no archive.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// A layer's tar could not be made or written.
    #[error("cannot save layer {layer}")]
    Layer {
        /// Which one.
        layer: DiffId,
        /// Why.
        source: Box<TarError>,
    },
    /// A config could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A document could not be made.
    #[error("cannot make {what}")]
    Document {
        /// Which one.
        what: &'static str,
        /// Why.
        source: serde_json::Error,
    },
    /// The archive could not be written.
    #[error("cannot write the archive")]
    Output {
        /// What the receiver said.
        source: io::Error,
    },
    /// The directory is there and takes no image.
    #[error("{path:?} is no OCI image layout to add to")]
    NotALayout {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: super::append::NotALayout,
    },
    /// The directory is there, and somebody else is at work in it.
    #[error("{path:?} is locked by another process")]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// A file of a directory could not be written.
    #[error("cannot write {path:?}")]
    File {
        /// Which one.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

impl SaveError {
    pub(super) fn layer(layer: &DiffId) -> impl FnOnce(TarError) -> Self {
        let layer = layer.clone();
        |error| match error {
            TarError::Output { source } => Self::Output { source },
            source @ (TarError::NoRecipe { .. }
            | TarError::Recipe { .. }
            | TarError::FileChanged { .. }
            | TarError::Changed { .. }
            | TarError::Store(_)) => Self::Layer {
                layer,
                source: Box::new(source),
            },
        }
    }
}

impl Diagnose for SaveError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Layer { source, .. } => source.kind(),
            Self::Store(error) => error.kind(),
            Self::Document { .. } => ErrorKind::Internal,
            Self::NotALayout { .. } | Self::Locked { .. } => ErrorKind::Conflict,
            Self::Output { source } | Self::File { source, .. } => io_kind(source),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Layer { source, .. } => source.hint(),
            Self::Store(error) => error.hint(),
            Self::Locked { .. } => Some("try again when that is done".to_owned()),
            Self::NotALayout { .. } => Some("name a directory that is not there yet".to_owned()),
            Self::Document { .. } | Self::Output { .. } => None,
            Self::File { source, .. } => io_hint(source),
        }
    }
}

/// Is told of each layer that is about to be written, and how many bytes it has.
pub type OnLayer<'a> = &'a dyn Fn(&DiffId, u64);

/// Writes `images` to `output` as one tar. The same images make the same bytes.
///
/// Layers are uncompressed, so that their digests are the diff ids, and a layer that several
/// images share is in the archive once.
///
/// # Errors
///
/// [`SaveError`].
pub fn save(
    store: &Store,
    images: &[SavedImage],
    format: ArchiveFormat,
    on_layer: OnLayer<'_>,
    output: &mut dyn Write,
) -> Result<(), SaveError> {
    write_tar(store, &Plan::new(store, images, format)?, on_layer, output)
}

/// Writes `images` to `directory` as an OCI image layout, and flushes it to disk.
///
/// # Errors
///
/// [`SaveError`]; whatever was written is left for the caller to remove.
pub fn save_directory(
    store: &Store,
    images: &[SavedImage],
    on_layer: OnLayer<'_>,
    directory: &NewDirectory,
) -> Result<(), SaveError> {
    let plan = Plan::new(store, images, ArchiveFormat::Oci)?;
    write_directory(store, &plan, on_layer, directory)
}
