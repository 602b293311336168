//! Fetching again what was damaged.

use std::collections::BTreeSet;

use rocker_db::ImageRow;
use rocker_image::registry::{self, KnownLayer, RegistryOptions};
use rocker_image::store::Store;
use rocker_types::{Diagnose as _, DiffId, ImageRef, Platform};

use super::CheckRequest;
use super::images::name;
use crate::EngineError;
use crate::engine::Engine;
use crate::images::place_of;

/// Why an image could not be mended, and what to do.
pub(super) type Reason = (String, String);

impl Engine {
    /// Fetches an image once more, by the digest it was pulled with: of its layers those that are
    /// `damaged`, which are replaced.
    pub(super) fn refetch(
        &mut self,
        image: &ImageRow,
        damaged: &[DiffId],
        request: &CheckRequest<'_>,
    ) -> Result<Result<(), Reason>, EngineError> {
        let users = self.runners_of(damaged)?;
        if !users.is_empty() {
            let users = users.join(" ");
            return Ok(Err((
                format!("container {users} runs on it"),
                format!("stop it with `rocker stop {users}`, then repair once more"),
            )));
        }
        if let Some(error) = self.mounted_on(damaged)? {
            let cure = error.hint().unwrap_or_default();
            return Ok(Err((error.to_string(), cure)));
        }
        let references = image
            .repo_digests
            .iter()
            .filter_map(|name| name.parse().ok());
        let references: Vec<ImageRef> = references.collect();
        let mut reason = (
            "it came from no registry".to_owned(),
            format!(
                "remove it with `rocker rmi {}`, and load or import it again",
                name(image)
            ),
        );
        for reference in references {
            match self.refetch_from(&reference, image, damaged, request)? {
                Ok(()) => return Ok(Ok(())),
                Err(why) => {
                    let cure = "try again when the registry can be reached".to_owned();
                    reason = (
                        format!("cannot fetch {}: {why}", reference.familiar()),
                        cure,
                    );
                }
            }
        }
        Ok(Err(reason))
    }

    fn refetch_from(
        &mut self,
        reference: &ImageRef,
        image: &ImageRow,
        damaged: &[DiffId],
        request: &CheckRequest<'_>,
    ) -> Result<Result<(), String>, EngineError> {
        let places = match (request.places)(reference) {
            Ok(places) => places,
            Err(why) => return Ok(Err(why)),
        };
        let config = crate::images::config(image)?;
        let mut known = Vec::new();
        for layer in &image.layers {
            known.extend(self.durable()?.layer(layer)?);
        }
        let distrusted: BTreeSet<DiffId> = damaged.iter().cloned().collect();
        let known_layers = |id: &DiffId| {
            let row = known.iter().find(|row| row.diff_id == *id)?;
            (!distrusted.contains(id)).then(|| KnownLayer {
                blob: row.blob.clone(),
                size_bytes: row.size_bytes,
            })
        };
        let pull = registry::PullRequest {
            reference: reference.clone(),
            platform: Some(Platform {
                os: config.os,
                architecture: config.architecture,
                variant: config.variant,
            }),
            registry: RegistryOptions::default(),
            instead: places,
            limits: self.limits,
            known_layers: &known_layers,
            cancelled: request.cancelled,
        };
        self.want_sweep()?;
        let store = Store::open(&self.layout)?.distrusting(distrusted.clone());
        let pulled = match registry::pull(&store, &pull, request.progress) {
            Ok(pulled) => pulled,
            Err(error) => {
                let error = EngineError::Pull(Box::new(error));
                return Ok(Err(crate::report::chain(&error)));
            }
        };
        if pulled.image_id != image.id {
            return Ok(Err(
                "the registry has another image under this digest".to_owned()
            ));
        }
        Ok(Ok(()))
    }

    /// Why these layers cannot be replaced: an image that has one is mounted.
    fn mounted_on(&mut self, layers: &[DiffId]) -> Result<Option<EngineError>, EngineError> {
        let images = self.durable()?.images()?;
        let layout = self.layout.clone();
        let tx = self.live.begin()?;
        for image in images {
            let has_one = image.layers.iter().any(|layer| layers.contains(layer));
            if has_one && let Some(path) = place_of(&layout, &tx, &image.id)? {
                let image = name(&image);
                return Ok(Some(EngineError::ImageMounted { image, path }));
            }
        }
        Ok(None)
    }

    /// Names of the containers that run on one of these layers: to replace what the kernel has
    /// mounted would change files under a program that runs.
    fn runners_of(&mut self, layers: &[DiffId]) -> Result<Vec<String>, EngineError> {
        let mut runners = Vec::new();
        for row in self.live.containers()? {
            if row.state.status.is_active()
                && let Ok(definition) = self.definition(&row)
                && definition.layers.iter().any(|layer| layers.contains(layer))
            {
                runners.push(row.name.to_string());
            }
        }
        Ok(runners)
    }
}
