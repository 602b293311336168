//! `rmi` and `tag`.

use rocker_db::Untagged;
use rocker_types::{Digest, ImageRef};

use crate::EngineError;
use crate::crash::{self, CrashPoint};
use crate::engine::Engine;

/// What `rmi` did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RemovedImage {
    /// Names that are gone.
    pub untagged: Vec<String>,
    /// Digests of image and layers that are gone, the image first.
    pub deleted: Vec<String>,
}

impl Engine {
    /// Takes a name away, and the image with its last one; an id takes the image with all its
    /// names if that is one, or with `force`.
    ///
    /// # Errors
    ///
    /// [`EngineError::ImageInUse`], [`EngineError::ImageHasNames`],
    /// [`EngineError::NoSuchImage`].
    pub fn remove_image(&mut self, query: &str, force: bool) -> Result<RemovedImage, EngineError> {
        let row = self.image_row(query)?;
        let image_id = row.id.clone();
        let named: Option<ImageRef> = query.parse().ok().filter(|reference: &ImageRef| {
            row.tags.contains(reference)
                || reference.digest().is_some_and(|d| {
                    row.repo_digests
                        .contains(&reference.familiar_with_digest(d))
                })
        });
        if named.is_none() && row.tags.len() > 1 && !force {
            let names = row.tags.iter().map(ImageRef::familiar).collect();
            return Err(EngineError::ImageHasNames {
                image: row.id.short().to_owned(),
                names,
            });
        }
        let last_name = named.as_ref().is_none_or(|_| row.tags.len() <= 1);
        self.wait_for_outgoing(|row| row.image_id.as_ref() == Some(&image_id))?;
        self.want_sweep()?;
        let gone = self.untag(query, &row.id, named.as_ref(), last_name)?;
        crash::point(CrashPoint::RmiAfterRecord);
        self.sweep()?;
        crash::point(CrashPoint::RmiAfterLayers);
        if let Some(id) = &gone.deleted {
            let manifest = row.manifest_digest.clone();
            let store = self.store()?;
            for blob in std::iter::once(id).chain(manifest.as_ref()) {
                store.remove_blob(blob)?;
            }
        }
        let layers = gone.orphaned_layers.iter().rev().map(ToString::to_string);
        let deleted = gone
            .deleted
            .iter()
            .map(ToString::to_string)
            .chain(layers)
            .collect();
        Ok(RemovedImage {
            untagged: gone.untagged,
            deleted,
        })
    }

    fn untag(
        &mut self,
        query: &str,
        id: &Digest,
        named: Option<&ImageRef>,
        last_name: bool,
    ) -> Result<Untagged, EngineError> {
        let (live, durable) = self.databases()?;
        // while this is held, no container can be made from the image
        let tx = live.begin()?;
        let users = tx.users_of_image(id)?;
        if last_name && !users.is_empty() {
            return Err(EngineError::ImageInUse {
                image: query.to_owned(),
                users,
            });
        }
        let gone = match named {
            Some(reference) => durable.untag(reference)?,
            None => durable.delete_image(id)?,
        };
        drop(tx);
        Ok(gone)
    }

    /// Gives an image one more name.
    ///
    /// # Errors
    ///
    /// [`EngineError::NoSuchImage`].
    pub fn tag(&mut self, query: &str, name: &ImageRef) -> Result<(), EngineError> {
        let row = self.image_row(query)?;
        Ok(self.durable()?.tag(name, &row.id)?)
    }
}
