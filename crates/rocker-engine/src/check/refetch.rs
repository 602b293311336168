//! Fetching again what was damaged.

use std::collections::BTreeSet;
use std::path::Path;

use rocker_db::{ContainerRow, DbError, ImageRow, LiveDb, LiveTransaction};
use rocker_image::registry::{self, KnownLayer, RegistryOptions};
use rocker_image::store::{Store, StoreError};
use rocker_types::{Diagnose as _, DiffId, ErrorKind, ImageRef, Platform};
use serde::Deserialize;

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
        if let Some(reason) = self.reason_of_runners(damaged)? {
            return Ok(Err(reason));
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
                    // one that was started meanwhile
                    if let Some(found) = self.reason_of_runners(damaged)? {
                        return Ok(Err(found));
                    }
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
        let live = self.layout.live_db();
        let replace = move |layer: &DiffId, exchange: &mut dyn FnMut() -> _| {
            replace_unless_used(&live, layer, exchange)
        };
        let store = Store::open(&self.layout)?.distrusting(distrusted.clone(), Box::new(replace));
        let pulled = match registry::pull(&store, &pull, request.progress) {
            Ok(pulled) => pulled,
            Err(error) if error.kind() == ErrorKind::Interrupted => {
                return Err(EngineError::Interrupted);
            }
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

    /// Why damaged layers cannot be replaced now.
    fn reason_of_runners(&mut self, layers: &[DiffId]) -> Result<Option<Reason>, EngineError> {
        let runners = runners_of(&self.live.begin()?, layers)?.join(" ");
        Ok((!runners.is_empty()).then(|| {
            (
                format!("container {runners} runs on it"),
                format!("stop it with `rocker stop {runners}`, then repair once more"),
            )
        }))
    }
}

/// What counts of a container's definition.
#[derive(Deserialize)]
struct Mounted {
    layers: Vec<DiffId>,
}

/// Somebody has the layer mounted, or is about to.
#[derive(Debug, thiserror::Error)]
#[error("container {0} runs on it")]
struct RunsOnIt(String);

/// Exchanges a layer while no container can be started; not if one runs on it.
///
/// The time between this and an earlier look is that of a download: somebody may have started a
/// container meanwhile.
fn replace_unless_used(
    live: &Path,
    layer: &DiffId,
    exchange: &mut dyn FnMut() -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let kept = |source: Box<dyn std::error::Error + Send + Sync>| StoreError::Kept {
        layer: layer.clone(),
        source,
    };
    let mut live = LiveDb::open(live).map_err(|error| kept(error.into()))?;
    // a start records what it claims before it mounts anything
    let tx = live.begin().map_err(|error| kept(error.into()))?;
    let runners = runners_of(&tx, std::slice::from_ref(layer));
    let runners = runners.map_err(|error| kept(error.into()))?;
    if !runners.is_empty() {
        return Err(kept(RunsOnIt(runners.join(" ")).into()));
    }
    exchange()
}

/// Names of the containers that run on one of these layers, or are being started: to replace what
/// the kernel has mounted would change files under a program that runs.
fn runners_of(tx: &LiveTransaction<'_>, layers: &[DiffId]) -> Result<Vec<String>, DbError> {
    let runs_on = |row: &ContainerRow| {
        let mounted = serde_json::from_str::<Mounted>(&row.definition);
        mounted.is_ok_and(|mounted| mounted.layers.iter().any(|id| layers.contains(id)))
    };
    let rows = tx.in_use()?.into_iter().filter(runs_on);
    Ok(rows.map(|row| row.name.to_string()).collect())
}

#[cfg(test)]
mod tests {
    use rocker_db::{Intent, IntentKind};

    use super::*;
    use crate::testing::{self, installation};

    #[test]
    fn a_layer_is_not_exchanged_under_a_container_that_is_being_started() {
        let (_dir, mut engine) = installation();
        let layer = DiffId(testing::image(&mut engine, "a:1"));
        let definition = format!(r#"{{"layers":["{layer}"]}}"#);
        let id = testing::container_of(&mut engine, "web", None, &definition);
        let live = engine.layout.live_db();
        let exchanged = || {
            let mut is_exchanged = false;
            let result = replace_unless_used(&live, &layer, &mut || {
                is_exchanged = true;
                Ok(())
            });
            (
                is_exchanged,
                result.map_err(|error| crate::report::chain(&error.into())),
            )
        };

        assert_eq!(exchanged(), (true, Ok(())), "nobody runs on it");
        let tx = engine.live.begin().unwrap();
        let claim = Intent {
            kind: IntentKind::RunDir,
            resource: String::new(),
        };
        tx.intend(&id, &claim).unwrap();
        tx.commit().unwrap();
        let (is_exchanged, result) = exchanged();
        assert!(!is_exchanged);
        assert!(
            result
                .as_ref()
                .is_err_and(|why| why.ends_with("container web runs on it")),
            "{result:?}"
        );
        let tx = engine.live.begin().unwrap();
        tx.release(&id).unwrap();
        tx.commit().unwrap();
        assert_eq!(exchanged(), (true, Ok(())));
    }
}
