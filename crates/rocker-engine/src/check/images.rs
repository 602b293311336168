//! Images: their documents, their rows and their layers.

use std::collections::BTreeMap;

use rocker_db::{ImageRow, LayerRow, NewImage};
use rocker_image::store::{Depth, LayerFault, StoreError};
use rocker_types::{DiffId, Digest, ImageRef};

use super::refetch::Reason;
use super::{CheckReport, CheckRequest, CheckStatus, Repair};
use crate::EngineError;
use crate::engine::Engine;

/// What is wrong with an image itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    Config,
    Manifest,
    Rows,
}

impl Flaw {
    fn words(self) -> &'static str {
        match self {
            Self::Config => "its config is missing or damaged",
            Self::Manifest => "its manifest is missing or damaged",
            Self::Rows => "the database has lost which layers it has",
        }
    }
}

/// Damaged layers, and what is wrong with each.
pub(super) type Faults = BTreeMap<DiffId, Vec<LayerFault>>;

/// What came of the check of one image.
struct Checked {
    flaws: Vec<Flaw>,
    /// Those that could not be put right.
    left: Vec<Flaw>,
    /// Why.
    reason: Option<Reason>,
}

impl Engine {
    pub(super) fn check_images(
        &mut self,
        request: &CheckRequest<'_>,
        report: &mut CheckReport,
    ) -> Result<(), EngineError> {
        // no sweep takes a layer away while it is read
        let using = crate::sweep::using_images(&self.layout)?;
        let images = self.durable()?.images()?;
        let before = report.lines.len();
        let faults = self.faults(request, report)?;
        let reasons = self.check_each(&images, &faults, request, report)?;
        for (layer, found) in &faults {
            let users: Vec<&ImageRow> = images
                .iter()
                .filter(|image| image.layers.contains(layer))
                .collect();
            let is_left = request.repair == Repair::No
                || !self
                    .faults_of(layer, request.depth)
                    .is_ok_and(|faults| faults.is_empty());
            let detail = words(found, &users);
            tell(
                report,
                &format!("layer {}", layer.0.short()),
                &detail,
                is_left,
                || {
                    users
                        .first()
                        .and_then(|image| cure(request.repair, image, reasons.get(&image.id)))
                },
            );
        }
        if report.lines.len() == before {
            let depth = match request.depth {
                Depth::Sample => "whole, by their names, sizes and times",
                Depth::Exact => "whole, byte for byte",
            };
            report.line("layers", CheckStatus::Ok, depth);
        }
        drop(using);
        Ok(())
    }

    /// Checks each image for itself; why what is left of its flaws could not be put right.
    fn check_each(
        &mut self,
        images: &[ImageRow],
        faults: &Faults,
        request: &CheckRequest<'_>,
        report: &mut CheckReport,
    ) -> Result<BTreeMap<Digest, Reason>, EngineError> {
        let mut reasons = BTreeMap::new();
        for image in images {
            let Checked {
                flaws,
                left,
                reason,
            } = match self.check_image(image, faults, request) {
                Ok(checked) => checked,
                Err(EngineError::Interrupted) => return Err(EngineError::Interrupted),
                Err(error) => {
                    report.fail_with(&format!("image {}", name(image)), &error);
                    continue;
                }
            };
            reasons.extend(reason.map(|reason| (image.id.clone(), reason)));
            for flaw in flaws {
                let is_left = left.contains(&flaw);
                tell(
                    report,
                    &format!("image {}", name(image)),
                    flaw.words(),
                    is_left,
                    || cure(request.repair, image, reasons.get(&image.id)),
                );
            }
        }
        Ok(reasons)
    }

    fn check_image(
        &mut self,
        image: &ImageRow,
        faults: &Faults,
        request: &CheckRequest<'_>,
    ) -> Result<Checked, EngineError> {
        let flaws = self.flaws(image)?;
        let (left, reason) = match request.repair {
            Repair::No => (flaws.clone(), None),
            Repair::Yes => self.mend(image, &flaws, faults, request)?,
        };
        Ok(Checked {
            flaws,
            left,
            reason,
        })
    }

    fn faults(
        &mut self,
        request: &CheckRequest<'_>,
        report: &mut CheckReport,
    ) -> Result<Faults, EngineError> {
        let mut faults = Faults::new();
        for layer in self.durable()?.layers()? {
            if (request.cancelled)() {
                return Err(EngineError::Interrupted);
            }
            match self.faults_of(&layer, request.depth) {
                Ok(found) if found.is_empty() => {}
                Ok(found) => drop(faults.insert(layer, found)),
                Err(error) => report.fail_with(&format!("layer {}", layer.0.short()), &error),
            }
        }
        Ok(faults)
    }

    pub(super) fn faults_of(
        &mut self,
        layer: &DiffId,
        depth: Depth,
    ) -> Result<Vec<LayerFault>, EngineError> {
        let limits = self.limits;
        Ok(self.store()?.inspect_layer(layer, depth, &limits)?)
    }

    fn flaws(&mut self, image: &ImageRow) -> Result<Vec<Flaw>, EngineError> {
        let mut flaws = Vec::new();
        if !self.has_good_blob(&image.id)? {
            flaws.push(Flaw::Config);
        }
        if let Some(manifest) = &image.manifest_digest
            && !self.has_good_blob(manifest)?
        {
            flaws.push(Flaw::Manifest);
        }
        let config = crate::images::config(image)?;
        if config.rootfs.diff_ids != image.layers {
            flaws.push(Flaw::Rows);
        }
        Ok(flaws)
    }

    fn has_good_blob(&mut self, digest: &Digest) -> Result<bool, EngineError> {
        match self.store()?.read_blob(digest) {
            Ok(_) => Ok(true),
            Err(StoreError::NoBlob { .. } | StoreError::BlobTampered { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Puts right what it can; the flaws that are left, and why.
    fn mend(
        &mut self,
        image: &ImageRow,
        flaws: &[Flaw],
        faults: &Faults,
        request: &CheckRequest<'_>,
    ) -> Result<(Vec<Flaw>, Option<Reason>), EngineError> {
        if flaws.contains(&Flaw::Config) {
            // the row has its text, and whether that is true its digest says
            if let Err(error) = self.store()?.write_blob(&image.id, image.config.as_bytes()) {
                tracing::debug!(%error, "a config cannot be written again");
            }
        }
        if flaws.contains(&Flaw::Rows) {
            self.record_layers_again(image)?;
        }
        let mut damaged = Vec::new();
        for layer in faults.keys().filter(|layer| image.layers.contains(layer)) {
            // another image that has it may have been mended before
            if !self.faults_of(layer, request.depth)?.is_empty() {
                damaged.push(layer.clone());
            }
        }
        let left = self.flaws(image)?;
        if damaged.is_empty() && left.is_empty() {
            return Ok((left, None));
        }
        let reason = self.refetch(image, &damaged, request)?.err();
        Ok((self.flaws(image)?, reason))
    }

    /// From the config, if all its layers are there.
    fn record_layers_again(&mut self, image: &ImageRow) -> Result<(), EngineError> {
        let config = crate::images::config(image)?;
        let store = self.store()?;
        let rows = config.rootfs.diff_ids.iter().map(|layer| {
            Some(LayerRow {
                diff_id: layer.clone(),
                size_bytes: store.layer_size(layer).ok()?,
                blob: None,
                disk_bytes: None,
            })
        });
        let Some(layers) = rows.collect::<Option<Vec<_>>>() else {
            return Ok(());
        };
        self.record_image(&NewImage {
            id: &image.id,
            config: &image.config,
            manifest_digest: None,
            layers: &layers,
            reference: None,
            repo_digest: None,
            pulled_ns: image.pulled_ns,
        })
    }
}

/// How a person knows an image.
pub(super) fn name(image: &ImageRow) -> String {
    let named = image.tags.first().map(ImageRef::familiar);
    named.unwrap_or_else(|| image.id.short().to_owned())
}

fn words(faults: &[LayerFault], users: &[&ImageRow]) -> String {
    let first = faults.first().map(ToString::to_string).unwrap_or_default();
    let more = match faults.len() {
        0 | 1 => String::new(),
        count => format!(", and {} more", count - 1),
    };
    let users: Vec<_> = users.iter().map(|image| name(image)).collect();
    match users.as_slice() {
        [] => format!("{first}{more}"),
        users => format!("{first}{more}; it is of {}", users.join(", ")),
    }
}

fn tell(
    report: &mut CheckReport,
    what: &str,
    detail: &str,
    is_left: bool,
    cure: impl FnOnce() -> Option<String>,
) {
    match is_left {
        true => report.fail(what, detail, cure()),
        false => report.line(what, CheckStatus::Mended, format!("{detail}: put right")),
    }
}

fn cure(repair: Repair, image: &ImageRow, reason: Option<&Reason>) -> Option<String> {
    match (repair, reason) {
        (Repair::No, _) if image.repo_digests.is_empty() => Some(format!(
            "it came from no registry: remove it with `rocker rmi {}`, and load or import it again",
            name(image)
        )),
        (Repair::No, _) => Some("run `rocker system check --repair`: it is fetched again".into()),
        (Repair::Yes, Some((why, cure))) => Some(format!("{why}: {cure}")),
        (Repair::Yes, None) => None,
    }
}
