//! Fetching again what was damaged.

use std::collections::BTreeSet;

use rocker_db::{ContainerRow, DbError, DurableDb, ImageRow, LiveDb, LiveTransaction};
use rocker_image::registry::{self, KnownLayer, RegistryOptions};
use rocker_image::store::{Store, StoreError};
use rocker_types::{Diagnose as _, DiffId, ErrorKind, ImageRef, Layout, Platform};

use super::CheckRequest;
use super::images::name;
use crate::EngineError;
use crate::engine::Engine;
use crate::images::place_of;
use crate::spare::layers_in;

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
        if let Some(reason) = self.reason_of_users(damaged)? {
            return Ok(Err(reason));
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
                    // one that was started or mounted meanwhile
                    if let Some(found) = self.reason_of_users(damaged)? {
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
        let layout = self.layout.clone();
        let replace = move |layer: &DiffId, exchange: &mut dyn FnMut() -> _| {
            replace_unless_used(&layout, layer, exchange)
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

    /// Why damaged layers cannot be replaced now: a container runs on one, or an image that has one
    /// is mounted.
    fn reason_of_users(&mut self, layers: &[DiffId]) -> Result<Option<Reason>, EngineError> {
        let layout = self.layout.clone();
        let (live, durable) = self.databases()?;
        let tx = live.begin()?;
        let runners = runners_of(&tx, layers)?.join(" ");
        if !runners.is_empty() {
            return Ok(Some((
                format!("container {runners} runs on it"),
                format!("stop it with `rocker stop {runners}`, then repair once more"),
            )));
        }
        let mounted = mount_of(&layout, &tx, durable, layers)?;
        Ok(mounted.map(|error| (error.to_string(), error.hint().unwrap_or_default())))
    }
}

/// Somebody has the layer mounted, or is about to.
#[derive(Debug, thiserror::Error)]
#[error("container {0} runs on it")]
struct RunsOnIt(String);

/// Exchanges a layer while no container can be started and no image be mounted; not if one has it.
///
/// The time between this and an earlier look is that of a download: somebody may have started or
/// mounted one meanwhile.
fn replace_unless_used(
    layout: &Layout,
    layer: &DiffId,
    exchange: &mut dyn FnMut() -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let kept = |source: Box<dyn std::error::Error + Send + Sync>| StoreError::Kept {
        layer: layer.clone(),
        source,
    };
    let open = || {
        Ok((
            LiveDb::open(&layout.live_db())?,
            DurableDb::open(&layout.db())?,
        ))
    };
    let (mut live, durable) = open().map_err(|error: DbError| kept(error.into()))?;
    // a start records what it claims before it mounts anything, and so does a mount
    let tx = live.begin().map_err(|error| kept(error.into()))?;
    let layers = std::slice::from_ref(layer);
    let runners = runners_of(&tx, layers).map_err(|error| kept(error.into()))?;
    if !runners.is_empty() {
        return Err(kept(RunsOnIt(runners.join(" ")).into()));
    }
    match mount_of(layout, &tx, &durable, layers) {
        Ok(None) => exchange(),
        Ok(Some(error)) | Err(error) => Err(kept(error.into())),
    }
}

/// What to say of the first image that has one of these layers and is mounted.
fn mount_of(
    layout: &Layout,
    tx: &LiveTransaction<'_>,
    durable: &DurableDb,
    layers: &[DiffId],
) -> Result<Option<EngineError>, EngineError> {
    if tx.image_mounts()?.is_empty() {
        return Ok(None);
    }
    for image in durable.images()? {
        let has_one = image.layers.iter().any(|layer| layers.contains(layer));
        if has_one && let Some(path) = place_of(layout, tx, &image.id)? {
            let image = name(&image);
            return Ok(Some(EngineError::ImageMounted { image, path }));
        }
    }
    Ok(None)
}

/// Names of the containers that run on one of these layers, or are being started: to replace what
/// the kernel has mounted would change files under a program that runs.
fn runners_of(tx: &LiveTransaction<'_>, layers: &[DiffId]) -> Result<Vec<String>, DbError> {
    let runs_on = |row: &ContainerRow| {
        let mounted = layers_in(&row.definition);
        mounted.iter().any(|id| layers.contains(id))
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
        let layout = engine.layout.clone();
        let exchanged = || {
            let mut is_exchanged = false;
            let result = replace_unless_used(&layout, &layer, &mut || {
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
