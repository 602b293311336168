//! `load`: a file becomes images.

use std::collections::BTreeSet;

use rocker_db::{DurableDb, LayerRow, NamedBy, NewImage};
use rocker_image::exchange::{Archive, LoadRequest, LoadSource, LoadedImage};
use rocker_types::{Digest, ImageRef};

use crate::EngineError;
use crate::clock::now_ns;
use crate::crash::{self, CrashPoint};
use crate::engine::Engine;
use crate::spare;

/// What to do about names that other images have, and that were not given by an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TakenNames {
    /// Nothing is loaded.
    Refuse,
    /// The archive's images get them.
    Take,
}

/// What came out of an archive.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The images.
    pub images: Vec<LoadedImage>,
    /// Names that meant other images before, and the ids of those.
    pub moved: Vec<(ImageRef, Digest)>,
}

impl Engine {
    /// Takes the images out of an archive and gives them the names they have there. All are
    /// visible at once, or none.
    ///
    /// What an archive calls its images is a stranger's word. A name that another archive gave
    /// moves on, as a newer build of one image takes the older one's place; one that the user
    /// gave by a pull, a tag, a commit or an import does not, unless `taken` says so. The name by
    /// which the request asks for an image is the user's own.
    ///
    /// # Errors
    ///
    /// [`EngineError::Load`] and [`EngineError::NamesTaken`]; the store is as before then.
    pub fn load(
        &mut self,
        source: LoadSource,
        request: &LoadRequest<'_>,
        taken: TakenNames,
    ) -> Result<Loaded, EngineError> {
        self.making_layers(|engine| {
            engine.want_sweep()?;
            let failed = |error| EngineError::Load(Box::new(error));
            let archive = Archive::open(engine.store()?, source, request).map_err(failed)?;
            let by = named_by(request, archive.names());
            let taken = match by {
                NamedBy::User => TakenNames::Take,
                NamedBy::Archive => taken,
            };
            moved_names(engine.durable()?, archive.names(), taken)?;
            let images = archive.unpack(engine.store()?, request).map_err(failed)?;
            crash::point(CrashPoint::LoadAfterCommit);
            let moved = engine.record_loaded(&images, taken, by)?;
            crash::point(CrashPoint::LoadAfterRecord);
            Ok(Loaded { images, moved })
        })
    }

    fn record_loaded(
        &mut self,
        images: &[LoadedImage],
        taken: TakenNames,
        by: NamedBy,
    ) -> Result<Vec<(ImageRef, Digest)>, EngineError> {
        let layers: Vec<Vec<LayerRow>> = images.iter().map(layer_rows).collect();
        let configs: Vec<_> = images
            .iter()
            .map(|image| String::from_utf8_lossy(&image.config))
            .collect();
        let mut new = Vec::new();
        for (image, (layers, config)) in images.iter().zip(layers.iter().zip(&configs)) {
            let named = |reference: Option<_>| NewImage {
                id: &image.id,
                config,
                manifest_digest: None,
                layers,
                reference,
                repo_digest: None,
                pulled_ns: now_ns(),
            };
            let names = image.names.iter().filter(|name| name.tag().is_some());
            let names: Vec<&ImageRef> = names.collect();
            match names.as_slice() {
                [] => new.push(named(None)),
                names => new.extend(names.iter().map(|name| named(Some(*name)))),
            }
        }
        let layout = self.layout.clone();
        let (live, durable) = self.databases()?;
        // `rmi` counts an image's names while it holds this
        let tx = live.begin()?;
        let names = images
            .iter()
            .flat_map(|image| image.names.iter().zip(std::iter::repeat(&image.id)));
        let moved = moved_names(durable, names, taken)?;
        let mut changed: BTreeSet<Digest> = moved.iter().map(|(_, id)| id.clone()).collect();
        match by {
            NamedBy::User => durable.record_images(&new)?,
            NamedBy::Archive => durable.record_archived(&new)?,
        }
        changed.extend(images.iter().map(|image| image.id.clone()));
        for id in &changed {
            spare::keep_image(&layout, durable, id);
        }
        drop(tx);
        Ok(moved)
    }
}

/// Who says these names: the user, who asked for the image by the only one, or the archive.
fn named_by<'a>(
    request: &LoadRequest<'_>,
    mut names: impl Iterator<Item = (&'a ImageRef, &'a Digest)>,
) -> NamedBy {
    let asked: Option<ImageRef> = request.only.as_ref().and_then(|only| only.parse().ok());
    match (names.next(), names.next()) {
        (Some((name, _)), None) if asked.as_ref() == Some(name) => NamedBy::User,
        _ => NamedBy::Archive,
    }
}

/// Which of these names mean other images so far.
fn moved_names<'a>(
    durable: &DurableDb,
    names: impl Iterator<Item = (&'a ImageRef, &'a Digest)>,
    taken: TakenNames,
) -> Result<Vec<(ImageRef, Digest)>, EngineError> {
    let (mut moved, mut refused) = (Vec::new(), Vec::new());
    for (name, id) in names {
        match durable.holder(name)? {
            Some((holder, by)) if holder != *id => {
                if by == NamedBy::User && taken == TakenNames::Refuse {
                    refused.push(format!("{} ({})", name.familiar(), holder.short()));
                }
                moved.push((name.clone(), holder));
            }
            Some(_) | None => {}
        }
    }
    match refused.is_empty() {
        true => Ok(moved),
        false => Err(EngineError::NamesTaken(refused)),
    }
}

fn layer_rows(image: &LoadedImage) -> Vec<LayerRow> {
    let rows = image.layers.iter().map(|layer| LayerRow {
        diff_id: layer.diff_id.clone(),
        size_bytes: layer.size_bytes,
        blob: layer.blob.clone(),
        disk_bytes: None,
    });
    rows.collect()
}
