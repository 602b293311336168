//! Images: their documents, their rows and their layers.

use std::collections::BTreeMap;

use rocker_db::ImageRow;
use rocker_image::store::{Depth, LayerFault, StoreError, is_content};
use rocker_types::{DiffId, Digest, ImageRef};

use super::refetch::Reason;
use super::{CheckReport, CheckRequest, CheckStatus, Repair};
use crate::EngineError;
use crate::engine::Engine;

/// What is wrong with an image itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    ConfigText,
    Config,
    Manifest,
    Rows,
    Names,
}

impl Flaw {
    fn words(self) -> &'static str {
        match self {
            Self::ConfigText => "the database has another config of it",
            Self::Config => "its config is missing or damaged",
            Self::Manifest => "its manifest is missing or damaged",
            Self::Rows => "the database has lost which layers it has",
            Self::Names => "the database has lost names of it",
        }
    }
}

/// Damaged layers, and what is wrong with each.
pub(super) type Faults = BTreeMap<DiffId, Vec<LayerFault>>;

/// Puts something right that is recorded of an image.
type Restore = fn(&mut Engine, &ImageRow) -> Result<(), EngineError>;

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
        let blob = self.good_blob(&image.id)?;
        let is_true = match &blob {
            Some(blob) => String::from_utf8_lossy(blob) == image.config,
            None => is_content(&image.id, image.config.as_bytes()),
        };
        if !is_true {
            flaws.push(Flaw::ConfigText);
        }
        if blob.is_none() {
            flaws.push(Flaw::Config);
        }
        if let Some(manifest) = &image.manifest_digest
            && self.good_blob(manifest)?.is_none()
        {
            flaws.push(Flaw::Manifest);
        }
        // which layers it has, an untrue config cannot tell
        if is_true && crate::images::config(image)?.rootfs.diff_ids != image.layers {
            flaws.push(Flaw::Rows);
        }
        if self.lost_names(&image.id)?.is_some() {
            flaws.push(Flaw::Names);
        }
        Ok(flaws)
    }

    /// `None` for one that is missing or damaged.
    pub(super) fn good_blob(&mut self, digest: &Digest) -> Result<Option<Vec<u8>>, EngineError> {
        match self.store()?.read_blob(digest) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(StoreError::NoBlob { .. } | StoreError::BlobTampered { .. }) => Ok(None),
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
        if flaws.contains(&Flaw::Names) {
            self.restore_names(image)?;
        }
        let Some((image, left)) = self.mend_rows(image)? else {
            // somebody has removed it
            return Ok((Vec::new(), None));
        };
        let mut damaged = Vec::new();
        for layer in faults.keys().filter(|layer| image.layers.contains(layer)) {
            // another image that has it may have been mended before
            if !self.faults_of(layer, request.depth)?.is_empty() {
                damaged.push(layer.clone());
            }
        }
        if damaged.is_empty() && left.is_empty() {
            return Ok((left, None));
        }
        let reason = self.refetch(&image, &damaged, request)?.err();
        let mended = self.mend_rows(&image)?;
        Ok((mended.map_or_else(Vec::new, |(_, left)| left), reason))
    }

    /// Puts right what is recorded of an image, as far as its config is there; how it is recorded
    /// then, and the flaws that are left.
    fn mend_rows(
        &mut self,
        image: &ImageRow,
    ) -> Result<Option<(ImageRow, Vec<Flaw>)>, EngineError> {
        let id = image.id.to_string();
        for (flaw, restore) in [
            // first, because an untrue config has other layers
            (Flaw::ConfigText, Self::restore_config as Restore),
            (Flaw::Rows, Self::restore_layers),
        ] {
            let Some(now) = self.durable()?.image(&id)? else {
                return Ok(None);
            };
            if self.flaws(&now)?.contains(&flaw) {
                restore(self, &now)?;
            }
        }
        let Some(now) = self.durable()?.image(&id)? else {
            return Ok(None);
        };
        let left = self.flaws(&now)?;
        Ok(Some((now, left)))
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
