//! What nobody owns, and volumes.

use rocker_db::OwnerLock;
use rocker_types::{ContainerId, DiffId, VolumeName};

use super::{CheckReport, CheckStatus, Repair};
use crate::EngineError;
use crate::engine::Engine;
use crate::spare::names_in;
use crate::sweep::IMAGES_LOCK;

const REPAIR: &str = "run `rocker system check --repair`";

impl Engine {
    /// What dead owners and interrupted pulls left, if it is still there.
    pub(super) fn check_leftovers(&mut self, report: &mut CheckReport) -> Result<(), EngineError> {
        let mut orphans = Vec::new();
        for id in self.live.owned_containers()? {
            if !OwnerLock::is_held(&self.layout.container_lock(&id)) {
                orphans.push(format!("container {} has no owner", id.short()));
            }
        }
        orphans.extend(
            self.orphaned_layers()?
                .iter()
                .map(|id| format!("layer {id} belongs to no image")),
        );
        report.add("leftovers", &orphans, REPAIR);
        for (path, lost) in crate::spare::lost(&self.layout) {
            let (detail, cure) = lost.tell(&path);
            report.fail("lost", detail, Some(cure));
        }
        self.check_directories(report)
    }

    /// Layers that neither an image has nor a pull that may go on; none while somebody works on
    /// images.
    fn orphaned_layers(&mut self) -> Result<Vec<DiffId>, EngineError> {
        let lock = self.layout.locks().join(IMAGES_LOCK);
        let Some(alone) = OwnerLock::try_alone(&lock)? else {
            return Ok(Vec::new());
        };
        let layers = self.unclaimed_layers()?;
        drop(alone);
        Ok(layers)
    }

    /// Directories of containers that no row knows. They may hold what somebody wants, so they
    /// are told of and stay.
    fn check_directories(&mut self, report: &mut CheckReport) -> Result<(), EngineError> {
        let found = names_in(&self.layout.containers());
        let rows = self.live.containers()?;
        let kept = self.durable()?.kept_containers()?;
        for id in found.iter().filter_map(|id| id.parse::<ContainerId>().ok()) {
            if rows.iter().any(|row| row.id == id) || kept.iter().any(|kept| kept.id == id) {
                continue;
            }
            let path = self.layout.container(&id);
            let detail = format!("{} belongs to no container", path.display());
            report.line("leftovers", CheckStatus::Warn, detail);
            if let Some(line) = report.lines.last_mut() {
                line.cure = Some(format!(
                    "look for what you need in it, then: rm -r {}",
                    path.display()
                ));
            }
        }
        Ok(())
    }

    /// Volumes without a directory, and the reverse.
    pub(super) fn check_volumes(
        &mut self,
        repair: Repair,
        report: &mut CheckReport,
    ) -> Result<(), EngineError> {
        // listed before the rows are read: a row is there before its directory is
        let found = names_in(&self.layout.volumes());
        let rows = self.durable()?.volumes()?;
        let mut unknown: Vec<VolumeName> = Vec::new();
        for name in found {
            let is_new = |name: &VolumeName| !rows.iter().any(|row| row.name == *name);
            let is_volume =
                |name: &VolumeName| self.layout.volume(name).join(crate::VOLUME_DATA).is_dir();
            unknown.extend(name.parse().ok().filter(is_new).filter(is_volume));
        }
        for name in &unknown {
            self.tell_volume(name, "no row knows it", repair, report);
        }
        if repair == Repair::Yes && !unknown.is_empty() {
            self.adopt_volumes()?;
        }
        for row in rows {
            let directory = self.layout.volume(&row.name).join(crate::VOLUME_DATA);
            if directory.is_dir() || self.durable()?.volume(&row.name)?.is_none() {
                continue;
            }
            let name = row.name.clone();
            if repair == Repair::Yes {
                self.ensure_volume(row)?;
            }
            let detail = "its directory is missing; a new one is empty";
            self.tell_volume(&name, detail, repair, report);
        }
        Ok(())
    }

    fn tell_volume(
        &self,
        name: &VolumeName,
        detail: &str,
        repair: Repair,
        report: &mut CheckReport,
    ) {
        let what = format!("volume {name}");
        match repair {
            Repair::Yes => report.line(&what, CheckStatus::Mended, detail),
            Repair::No => report.fail(&what, detail, Some(REPAIR.to_owned())),
        }
    }
}
