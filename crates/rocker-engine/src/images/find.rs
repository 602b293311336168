//! Which image a user means.

use std::ffi::OsStr;

use rocker_db::ImageRow;
use rocker_types::{DiffId, Digest, ImageConfig, ImageRef, Platform};

use crate::EngineError;
use crate::engine::Engine;
use crate::resolve::LocalImage;

/// One image as `images` and `inspect` show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageSummary {
    /// Digest of its config.
    pub id: Digest,
    /// Its names.
    pub tags: Vec<ImageRef>,
    /// `repository@digest` as pulled.
    pub repo_digests: Vec<String>,
    /// Bytes of its layers on disk.
    pub size_bytes: u64,
    /// When it came here, nanoseconds since 1970.
    pub pulled_ns: i64,
    /// Names of the containers made from it.
    pub containers: Vec<String>,
    /// Its config.
    pub config: ImageConfig,
}

impl Engine {
    /// Every image, newest arrival first.
    ///
    /// # Errors
    ///
    /// What the database says.
    pub fn images(&mut self) -> Result<Vec<ImageSummary>, EngineError> {
        let rows = self.durable()?.images()?;
        rows.into_iter().map(|row| self.summary(row)).collect()
    }

    /// The image of this name, id or unique prefix of an id.
    ///
    /// # Errors
    ///
    /// [`EngineError::NoSuchImage`], [`EngineError::AmbiguousImage`].
    pub fn find_image(&mut self, query: &str) -> Result<ImageSummary, EngineError> {
        let row = self.image_row(query)?;
        self.summary(row)
    }

    /// Whether a pull is needed to run `query`: it names no image that is here, or the one
    /// here is for another platform than the one asked for.
    ///
    /// # Errors
    ///
    /// What the database says.
    pub fn has_image(
        &mut self,
        query: &str,
        platform: Option<&Platform>,
    ) -> Result<bool, EngineError> {
        match self.image_row(query) {
            Ok(row) => {
                let config = config(&row)?;
                let found = Platform {
                    os: config.os,
                    architecture: config.architecture,
                    variant: config.variant,
                };
                Ok(platform.is_none_or(|wanted| found.satisfies(wanted)))
            }
            Err(EngineError::NoSuchImage(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn local_image(&mut self, query: &str) -> Result<LocalImage, EngineError> {
        let row = self.image_row(query)?;
        // not every layer of a chain is to be mounted: one may come twice, and one may delete
        // all that is below it
        self.confirm_layers(&row.layers)?;
        let dirs = self.store()?.lower_dirs(&row.layers)?;
        let mounted = |id: &DiffId| {
            dirs.iter()
                .any(|dir| dir.file_name() == Some(OsStr::new(id.hex())))
        };
        let mut layers: Vec<DiffId> = Vec::new();
        for id in row.layers.iter().rev().filter(|id| mounted(id)) {
            if !layers.contains(id) {
                layers.insert(0, id.clone());
            }
        }
        Ok(LocalImage {
            config: config(&row)?,
            id: row.id,
            layers,
        })
    }

    /// Believes layers that a boot before this one may have left half written, or refuses them.
    pub(crate) fn confirm_layers(&mut self, layers: &[DiffId]) -> Result<(), EngineError> {
        let limits = self.limits;
        let store = self.store()?;
        for layer in layers {
            if let Some(source) = store.confirm_layer(layer, &limits)?.into_iter().next() {
                let layer = layer.clone();
                return Err(EngineError::LayerLost { layer, source });
            }
        }
        Ok(())
    }

    /// A name first, as in docker: `beef` may be both an image and the prefix of an id.
    pub(crate) fn image_row(&mut self, query: &str) -> Result<ImageRow, EngineError> {
        let missing = || EngineError::NoSuchImage(query.chars().take(300).collect());
        let by_name = match query.parse::<ImageRef>() {
            Ok(reference) => self.durable()?.image_by_reference(&reference)?,
            Err(_) => None,
        };
        if let Some(row) = by_name {
            return Ok(row);
        }
        let prefix = query.strip_prefix("sha256:").unwrap_or(query);
        let is_prefix = !prefix.is_empty()
            && prefix.len() <= 64
            && prefix
                .bytes()
                .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if !is_prefix {
            return Err(missing());
        }
        let mut rows = self.durable()?.images_by_prefix(prefix)?;
        match rows.len() {
            0 => Err(missing()),
            1 => Ok(rows.remove(0)),
            _ => Err(EngineError::AmbiguousImage {
                query: query.to_owned(),
                candidates: rows.iter().map(|row| row.id.short().to_owned()).collect(),
            }),
        }
    }

    fn summary(&mut self, row: ImageRow) -> Result<ImageSummary, EngineError> {
        Ok(ImageSummary {
            containers: self.live.users_of_image(&row.id)?,
            config: config(&row)?,
            id: row.id,
            tags: row.tags,
            repo_digests: row.repo_digests,
            size_bytes: row.size_bytes,
            pulled_ns: row.pulled_ns,
        })
    }
}

pub(crate) fn config(row: &ImageRow) -> Result<ImageConfig, EngineError> {
    let unreadable = |source| EngineError::ImageConfig {
        image: row.id.short().to_owned(),
        source,
    };
    serde_json::from_str(&row.config).map_err(unreadable)
}
