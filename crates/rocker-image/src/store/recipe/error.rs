//! Why a layer's tar cannot be written.

use std::io;
use std::path::PathBuf;

use rocker_types::{Diagnose, DiffId, ErrorKind};

use crate::store::StoreError;
use crate::store::kernel::{io_hint, io_kind};

/// Why the tar of a layer could not be written again. What was written until then is useless.
#[derive(Debug, thiserror::Error)]
pub enum TarError {
    /// The layer was unpacked by a rocker that did not write recipes.
    #[error("layer {layer} has no recipe for its archive")]
    NoRecipe {
        /// The layer.
        layer: DiffId,
    },
    /// The recipe is no recipe, or not whole.
    #[error("recipe {path:?} is damaged")]
    Recipe {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: io::Error,
    },
    /// A file of the layer is not there any more, or not as long as it was.
    #[error("file {path:?} of layer {layer} was changed on disk")]
    FileChanged {
        /// The layer.
        layer: DiffId,
        /// The file, escaped.
        path: String,
        /// What reading it said.
        source: io::Error,
    },
    /// Everything was there, but with other content.
    #[error("files of layer {layer} were changed on disk: its archive would be {actual}")]
    Changed {
        /// The layer.
        layer: DiffId,
        /// The digest of what was written.
        actual: DiffId,
    },
    /// The bytes could not be handed on.
    #[error("cannot write the archive")]
    Output {
        /// What the receiver said.
        source: io::Error,
    },
    /// The store could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Diagnose for TarError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NoRecipe { .. } => ErrorKind::Unsupported,
            Self::Recipe { .. } | Self::FileChanged { .. } | Self::Changed { .. } => {
                ErrorKind::Tampered
            }
            Self::Output { source } => io_kind(source),
            Self::Store(error) => error.kind(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NoRecipe { .. }
            | Self::Recipe { .. }
            | Self::FileChanged { .. }
            | Self::Changed { .. } => {
                Some("remove every image that has the layer, and pull them again".into())
            }
            Self::Output { source } => io_hint(source),
            Self::Store(error) => error.hint(),
        }
    }
}
