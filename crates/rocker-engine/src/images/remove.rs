//! `rmi`.

use rocker_db::{ImageRow, Untagged};
use rocker_types::ImageRef;

use crate::EngineError;
use crate::crash::{self, CrashPoint};
use crate::engine::Engine;
use crate::images::{FoundBy, mount};
use crate::spare;

/// What `rmi` did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RemovedImage {
    /// Names that are gone.
    pub untagged: Vec<String>,
    /// Digests of image and layers that are gone, the image first.
    pub deleted: Vec<String>,
    /// Bytes on disk that are free again.
    pub freed_bytes: u64,
    /// Those of them that pulls had left which ended early.
    pub unfinished_bytes: u64,
}

/// What a removal does not stop for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RmiForce {
    /// An image that is asked for by its id has several names: all go.
    pub names: bool,
    /// It is mounted: that ends.
    pub mounts: bool,
}

impl RemovedImage {
    pub(super) fn add(&mut self, gone: Untagged) {
        let layers = gone.orphaned_layers.iter().rev().map(ToString::to_string);
        self.untagged.extend(gone.untagged);
        self.deleted
            .extend(gone.deleted.iter().map(ToString::to_string).chain(layers));
        self.freed_bytes += gone.freed_bytes;
    }
}

impl Engine {
    /// Takes a name away, and the image with its last one; an id takes the image with all its
    /// names if that is one, or by `force`. A digest counts as a name if somebody asked for the image
    /// by it and there is no tag of that repository.
    ///
    /// # Errors
    ///
    /// [`EngineError::ImageInUse`], [`EngineError::ImageMounted`], [`EngineError::ImageHasNames`],
    /// [`EngineError::NoSuchImage`].
    pub fn remove_image(
        &mut self,
        query: &str,
        force: RmiForce,
    ) -> Result<RemovedImage, EngineError> {
        let (row, found_by) = self.image_meant(query)?;
        let image_id = row.id.clone();
        self.wait_for_outgoing(|row| row.image_id.as_ref() == Some(&image_id))?;
        self.want_sweep()?;
        let gone = self.untag(query, (&row, &found_by), force)?;
        crash::point(CrashPoint::RmiAfterRecord);
        self.sweep_after_images()?;
        crash::point(CrashPoint::RmiAfterLayers);
        let mut removed = RemovedImage::default();
        removed.add(gone);
        Ok(removed)
    }

    /// Decides and records what goes. `found` is what `query` meant a moment ago: another
    /// rocker may have taken names away since, so what counts is read again under the lock.
    fn untag(
        &mut self,
        query: &str,
        (found, found_by): (&ImageRow, &FoundBy),
        force: RmiForce,
    ) -> Result<Untagged, EngineError> {
        let named = match found_by {
            FoundBy::Name(name) => Some(name),
            FoundBy::Id => None,
        };
        let layout = self.layout.clone();
        let (live, durable) = self.databases()?;
        // while this is held, no container can be made from the image and no name given
        let tx = live.begin()?;
        let now = durable
            .image(&found.id.to_string())?
            .filter(|now| named.is_none_or(|name| is_name_of(name, now)))
            .ok_or_else(|| EngineError::NoSuchImage(query.to_owned()))?;
        let names = now.names();
        if named.is_none() && names.len() > 1 && !force.names {
            let names = names.iter().map(ImageRef::familiar).collect();
            return Err(EngineError::ImageHasNames {
                image: now.id.short().to_owned(),
                names,
            });
        }
        let stays = named.is_some_and(|name| !now.names_without(name).is_empty());
        let users = tx.users_of_image(&now.id)?;
        if !stays && !users.is_empty() {
            return Err(EngineError::ImageInUse {
                image: query.to_owned(),
                users,
            });
        }
        if !stays {
            let stands = match force.mounts {
                true => mount::place_elsewhere(&layout, &tx, &now.id)?,
                false => mount::place_of(&layout, &tx, &now.id)?,
            };
            if let Some(path) = stands {
                let image = query.to_owned();
                return Err(EngineError::ImageMounted { image, path });
            }
            if force.mounts {
                // only now: a mount that is gone does not come back with the transaction
                mount::unmount_all(&layout, &tx, &now.id)?;
            }
        }
        let gone = match named {
            Some(reference) => durable.untag(reference)?,
            None => durable.delete_image(&now.id)?,
        };
        spare::keep_image(&layout, durable, &now.id);
        tx.commit()?;
        Ok(gone)
    }
}

/// Whether the image is called so, or was pulled by this digest.
fn is_name_of(name: &ImageRef, image: &ImageRow) -> bool {
    let is_pulled = |digest| {
        image
            .repo_digests
            .contains(&name.familiar_with_digest(digest))
    };
    image.tags.contains(name) || name.digest().is_some_and(is_pulled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, installation};

    #[test]
    fn names_are_counted_when_they_go_not_when_they_were_looked_up() {
        let (_dir, mut engine) = installation();
        let id = testing::image(&mut engine, "a:1");
        let b: ImageRef = "b:1".parse().unwrap();
        engine.tag("a:1", &b).unwrap();
        testing::container(&mut engine, "web", Some(&id));

        let (seen, found_by) = engine.image_meant("b:1").unwrap();
        engine.remove_image("a:1", RmiForce::default()).unwrap();
        let last = engine.untag("b:1", (&seen, &found_by), RmiForce::default());

        assert!(
            matches!(last, Err(EngineError::ImageInUse { .. })),
            "{last:?}"
        );
        assert_eq!(engine.image_row("b:1").unwrap().tags, [b]);
    }

    #[test]
    fn a_digest_that_somebody_asked_for_keeps_the_image_until_it_goes_too() {
        let (_dir, mut engine) = installation();
        let id = testing::image(&mut engine, "a.example/x:1");
        let digest = rocker_types::Digest::from_sha256([7; 32]);
        let asked = |name: &str| -> ImageRef { format!("{name}@{digest}").parse().unwrap() };
        let pull = |engine: &mut Engine, name: &ImageRef| {
            let row = engine.image_row(&id.to_string()).unwrap();
            engine
                .record_image(&rocker_db::NewImage {
                    id: &id,
                    config: &row.config,
                    manifest_digest: None,
                    layers: &[],
                    reference: Some(name),
                    repo_digest: Some(&name.familiar_with_digest(&digest)),
                    pulled_ns: 1,
                })
                .unwrap();
        };
        let [a, b] = ["a.example/x", "b.example/x"].map(asked);
        pull(&mut engine, &"a.example/x:1".parse().unwrap());
        pull(&mut engine, &a);
        pull(&mut engine, &b);
        let remove = |engine: &mut Engine, name: &str| {
            engine
                .remove_image(name, RmiForce::default())
                .map(|gone| gone.deleted.len())
        };

        let by_id = remove(&mut engine, &id.to_string());
        assert!(
            matches!(by_id, Err(EngineError::ImageHasNames { .. })),
            "{by_id:?}"
        );
        assert_eq!(remove(&mut engine, "a.example/x:1").unwrap(), 0);
        engine
            .tag(&id.to_string(), &"mine:1".parse().unwrap())
            .unwrap();
        assert_eq!(remove(&mut engine, "mine:1").unwrap(), 0);
        assert_eq!(
            remove(&mut engine, &b.familiar()).unwrap(),
            1,
            "a went with its tag"
        );
    }

    #[test]
    fn a_name_that_means_another_image_by_now_is_left_alone() {
        let (_dir, mut engine) = installation();
        testing::image(&mut engine, "a:1");
        let (seen, found_by) = engine.image_meant("a:1").unwrap();
        let newer = testing::image(&mut engine, "a:1");

        let gone = engine.untag("a:1", (&seen, &found_by), RmiForce::default());

        assert!(matches!(gone, Err(EngineError::NoSuchImage(_))), "{gone:?}");
        assert_eq!(engine.image_row("a:1").unwrap().id, newer);
    }
}
