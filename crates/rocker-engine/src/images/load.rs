//! `load`: a file becomes images.

use rocker_db::{LayerRow, NewImage};
use rocker_image::exchange::{self, LoadRequest, LoadSource, LoadedImage};
use rocker_types::ImageRef;

use crate::EngineError;
use crate::clock::now_ns;
use crate::crash::{self, CrashPoint};
use crate::engine::Engine;
use crate::spare;

impl Engine {
    /// Takes the images out of an archive and gives them the names they have there. All are
    /// visible at once, or none.
    ///
    /// # Errors
    ///
    /// [`EngineError::Load`]; the store is as before then.
    pub fn load(
        &mut self,
        source: LoadSource,
        request: &LoadRequest<'_>,
    ) -> Result<Vec<LoadedImage>, EngineError> {
        self.making_layers(|engine| {
            engine.want_sweep()?;
            let images = exchange::load(engine.store()?, source, request)
                .map_err(|error| EngineError::Load(Box::new(error)))?;
            crash::point(CrashPoint::LoadAfterCommit);
            engine.record_loaded(&images)?;
            crash::point(CrashPoint::LoadAfterRecord);
            Ok(images)
        })
    }

    fn record_loaded(&mut self, images: &[LoadedImage]) -> Result<(), EngineError> {
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
        let names = images.iter().flat_map(|image| &image.names);
        let mut changed = spare::holders(durable, names)?;
        durable.record_images(&new)?;
        changed.extend(images.iter().map(|image| image.id.clone()));
        for id in &changed {
            spare::keep_image(&layout, durable, id);
        }
        drop(tx);
        Ok(())
    }
}

fn layer_rows(image: &LoadedImage) -> Vec<LayerRow> {
    let rows = image.layers.iter().map(|layer| LayerRow {
        diff_id: layer.diff_id.clone(),
        size_bytes: layer.size_bytes,
        blob: layer.blob.clone(),
    });
    rows.collect()
}
