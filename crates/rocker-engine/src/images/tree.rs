//! `image tree` and `image diff`: what images are made of, and how they differ.

use std::collections::BTreeSet;

use rocker_image::store::Change;
use rocker_types::{DiffId, Digest, ImageRef};

use super::ImageSummary;
use crate::EngineError;
use crate::engine::Engine;

/// An image and its layers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageTree {
    /// The image.
    pub image: ImageSummary,
    /// Base first.
    pub layers: Vec<TreeLayer>,
}

/// One layer of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeLayer {
    /// Which one.
    pub id: DiffId,
    /// Bytes of its files.
    pub size_bytes: u64,
    /// Names of the images of which it is the topmost.
    pub top_of: Vec<String>,
    /// How many other images have it.
    pub shared_with: usize,
}

impl Engine {
    /// An image's layers, and which of them others have too.
    ///
    /// # Errors
    ///
    /// [`EngineError::NoSuchImage`], [`EngineError::AmbiguousImage`].
    pub fn image_tree(&mut self, query: &str) -> Result<ImageTree, EngineError> {
        let row = self.image_row(query)?;
        let pairs = self.durable()?.layers_of_images()?;
        let all = self.durable()?.images()?;
        let mut layers = Vec::with_capacity(row.layers.len());
        for id in &row.layers {
            let users = pairs.iter().filter(|(_, layer)| layer == id);
            let users: BTreeSet<&Digest> = users.map(|(image, _)| image).collect();
            let is_top = |image: &&rocker_db::ImageRow| image.layers.last() == Some(id);
            let top_of = all.iter().filter(is_top).flat_map(|image| &image.tags);
            layers.push(TreeLayer {
                id: id.clone(),
                size_bytes: self
                    .durable()?
                    .layer(id)?
                    .map_or(0, |layer| layer.size_bytes),
                top_of: top_of.map(ImageRef::canonical).collect(),
                shared_with: users.len().saturating_sub(1),
            });
        }
        Ok(ImageTree {
            image: self.find_image(query)?,
            layers,
        })
    }

    /// What makes an image of `base`, or of its own layers but the topmost.
    ///
    /// # Errors
    ///
    /// [`EngineError::NoSuchImage`], [`EngineError::AmbiguousImage`], [`EngineError::Store`].
    pub fn image_changes(
        &mut self,
        query: &str,
        base: Option<&str>,
    ) -> Result<Vec<Change>, EngineError> {
        // no sweep takes a layer away while it is read
        let using = crate::sweep::using_images(&self.layout)?;
        let to = self.image_row(query)?.layers;
        let from = match base {
            Some(base) => self.image_row(base)?.layers,
            None => to
                .split_last()
                .map_or_else(Vec::new, |(_, below)| below.to_vec()),
        };
        self.confirm_layers(&from)?;
        self.confirm_layers(&to)?;
        let changes = self.store()?.diff_images(&from, &to)?;
        drop(using);
        Ok(changes)
    }
}
