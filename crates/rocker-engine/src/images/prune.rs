//! `image prune`: first a plan, then exactly that.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rocker_db::Untagged;
use rocker_types::{DiffId, Digest, ImageRef};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT};

use crate::EngineError;
use crate::crash::{self, CrashPoint};
use crate::engine::Engine;
use crate::images::{ImageSummary, RemovedImage, mount};
use crate::spare;

/// Which images go: those that no container uses and nobody has mounted, of which every word here
/// is true.
pub struct PruneRequest<'a> {
    /// Those with names too.
    pub all: bool,
    /// Only those that this lets through.
    pub wanted: &'a dyn Fn(&ImageSummary) -> bool,
    /// Only those that were not used since, nanoseconds since 1970.
    pub unused_since_ns: Option<i64>,
    /// All but so many of them, those that were used last.
    pub keep_last: Option<usize>,
    /// All but those that were used last and together take no more than so many bytes.
    pub keep_bytes: Option<u64>,
}

impl std::fmt::Debug for PruneRequest<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PruneRequest")
            .field("all", &self.all)
            .finish_non_exhaustive()
    }
}

/// What a prune is going to delete.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PrunePlan {
    /// The images, those first that were not used for the longest time.
    pub images: Vec<PlannedImage>,
    /// Bytes on disk that they have and no other image.
    pub freed_bytes: u64,
    /// What pulls have left that ended early.
    pub unfinished_bytes: u64,
}

/// One image that goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedImage {
    /// Which one.
    pub image: ImageSummary,
    /// When the last container of it was removed, or else when it came; nanoseconds since 1970.
    pub used_ns: i64,
}

impl Engine {
    /// Decides what a prune deletes, and deletes nothing.
    ///
    /// # Errors
    ///
    /// What the databases and the store say.
    pub fn plan_prune(&mut self, request: &PruneRequest<'_>) -> Result<PrunePlan, EngineError> {
        let all = self.images()?;
        let mut candidates = Vec::new();
        for image in &all {
            let is_wanted = image.containers.is_empty()
                && (request.all || image.tags.is_empty())
                && (request.wanted)(image);
            if is_wanted && !self.is_mounted_somewhere(&image.id)? {
                candidates.push(PlannedImage {
                    used_ns: last_used(&self.layout.blob(&image.id), image.pulled_ns),
                    image: image.clone(),
                });
            }
        }
        candidates.sort_by_key(|candidate| std::cmp::Reverse(candidate.used_ns));
        let sizes = self.layer_sizes(&all)?;
        let kept = kept(&candidates, request, &sizes);
        let mut images = candidates.split_off(kept);
        let since = request.unused_since_ns;
        images.retain(|image| since.is_none_or(|since| image.used_ns < since));
        images.reverse();
        let goes: BTreeSet<&Digest> = images.iter().map(|planned| &planned.image.id).collect();
        let layers = |goes_too: bool| {
            let images = all
                .iter()
                .filter(|image| goes.contains(&image.id) == goes_too);
            let layers = images.flat_map(|image| &image.config.rootfs.diff_ids);
            layers.collect::<BTreeSet<&DiffId>>()
        };
        let (gone, stay) = (layers(true), layers(false));
        let freed = gone.difference(&stay).filter_map(|layer| sizes.get(*layer));
        Ok(PrunePlan {
            freed_bytes: freed.sum(),
            unfinished_bytes: self.store()?.unfinished_bytes()?,
            images,
        })
    }

    /// Deletes what was planned. An image that somebody has taken into use meanwhile stays, and so
    /// does one that was given a name.
    ///
    /// # Errors
    ///
    /// What the databases and the store say; what was removed until then is gone.
    pub fn prune_images(&mut self, plan: &PrunePlan) -> Result<RemovedImage, EngineError> {
        let mut removed = RemovedImage::default();
        self.want_sweep()?;
        for PlannedImage { image, .. } in &plan.images {
            if let Some(gone) = self.delete_unused(&image.id, &image.tags)? {
                removed.add(gone);
            }
        }
        crash::point(CrashPoint::RmiAfterRecord);
        removed.unfinished_bytes = self.store()?.remove_unfinished()?;
        removed.freed_bytes = removed.freed_bytes.saturating_add(removed.unfinished_bytes);
        self.sweep()?;
        crash::point(CrashPoint::RmiAfterLayers);
        Ok(removed)
    }

    fn delete_unused(
        &mut self,
        id: &Digest,
        names: &[ImageRef],
    ) -> Result<Option<Untagged>, EngineError> {
        let layout = self.layout.clone();
        let (live, durable) = self.databases()?;
        // while this is held, no container can be made from the image and no name given
        let tx = live.begin()?;
        let now = durable.image(&id.to_string())?;
        let is_as_planned = now.is_some_and(|row| row.tags.iter().all(|tag| names.contains(tag)));
        if !is_as_planned
            || !tx.users_of_image(id)?.is_empty()
            || mount::place_of(&layout, &tx, id)?.is_some()
        {
            return Ok(None);
        }
        let gone = durable.delete_image(id)?;
        spare::keep_image(&layout, durable, id);
        drop(tx);
        Ok(Some(gone))
    }

    fn is_mounted_somewhere(&mut self, id: &Digest) -> Result<bool, EngineError> {
        let layout = self.layout.clone();
        let tx = self.live.begin()?;
        Ok(mount::place_of(&layout, &tx, id)?.is_some())
    }

    /// What the layers of these images take.
    fn layer_sizes(
        &mut self,
        images: &[ImageSummary],
    ) -> Result<BTreeMap<DiffId, u64>, EngineError> {
        let mut sizes = BTreeMap::new();
        for layer in images
            .iter()
            .flat_map(|image| &image.config.rootfs.diff_ids)
        {
            if !sizes.contains_key(layer)
                && let Some(row) = self.durable()?.layer(layer)?
            {
                sizes.insert(layer.clone(), row.size_bytes);
            }
        }
        Ok(sizes)
    }

    /// Notes that a container of the image goes: the modification time of its config in the store. As
    /// long as there is a container, no prune takes the image, so a start need not note anything.
    /// What a power failure takes of it only makes the image seem older.
    pub(crate) fn note_use_of_image(&self, id: &Digest) {
        let times = Timestamps {
            last_access: moment(UTIME_OMIT),
            last_modification: moment(UTIME_NOW),
        };
        let path = self.layout.blob(id);
        if let Err(error) = rustix::fs::utimensat(CWD, &path, &times, AtFlags::SYMLINK_NOFOLLOW) {
            tracing::debug!(image = id.short(), %error, "when it was used is not noted");
        }
    }
}

fn moment(nanoseconds: rustix::fs::Nsecs) -> Timespec {
    Timespec {
        tv_sec: 0,
        tv_nsec: nanoseconds,
    }
}

/// When an image was last used.
fn last_used(config: &Path, pulled_ns: i64) -> i64 {
    use std::os::unix::fs::MetadataExt as _;
    let noted = fs_err::symlink_metadata(config).map_or(i64::MIN, |config| {
        let seconds = config.mtime().saturating_mul(1_000_000_000);
        seconds.saturating_add(config.mtime_nsec())
    });
    noted.max(pulled_ns)
}

/// How many of the candidates, used last first, stay.
fn kept(
    candidates: &[PlannedImage],
    request: &PruneRequest<'_>,
    sizes: &BTreeMap<DiffId, u64>,
) -> usize {
    let by_count = request.keep_last.unwrap_or(0);
    let mut by_bytes = 0;
    if let Some(room) = request.keep_bytes {
        let mut layers = BTreeSet::new();
        let mut taken: u64 = 0;
        for candidate in candidates {
            for layer in &candidate.image.config.rootfs.diff_ids {
                if layers.insert(layer) {
                    taken = taken.saturating_add(sizes.get(layer).copied().unwrap_or(0));
                }
            }
            if taken > room {
                break;
            }
            by_bytes += 1;
        }
    }
    by_count.max(by_bytes).min(candidates.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, installation};

    const EVERYTHING: PruneRequest<'_> = PruneRequest {
        all: true,
        wanted: &|_| true,
        unused_since_ns: None,
        keep_last: None,
        keep_bytes: None,
    };

    fn planned(engine: &mut Engine, request: &PruneRequest<'_>) -> Vec<Digest> {
        let plan = engine.plan_prune(request).unwrap();
        plan.images
            .into_iter()
            .map(|image| image.image.id)
            .collect()
    }

    fn pruned(engine: &mut Engine, request: &PruneRequest<'_>) -> Vec<String> {
        let plan = engine.plan_prune(request).unwrap();
        let mut deleted = engine.prune_images(&plan).unwrap().deleted;
        deleted.sort();
        deleted
    }

    #[test]
    fn a_prune_takes_what_nobody_uses_and_names_only_if_told_to() {
        let (_dir, mut engine) = installation();
        let nameless = testing::image(&mut engine, "a:1");
        let named = testing::image(&mut engine, "a:1");
        let used = testing::image(&mut engine, "b:1");
        let unused = testing::image(&mut engine, "b:1");
        testing::container(&mut engine, "web", Some(&used));
        let without_names = PruneRequest {
            all: false,
            ..EVERYTHING
        };

        let left_out = PruneRequest {
            wanted: &|image| image.id != nameless,
            ..without_names
        };
        assert_eq!(pruned(&mut engine, &left_out), [""; 0]);
        assert_eq!(pruned(&mut engine, &without_names), [nameless.to_string()]);
        let mut expected = [named.to_string(), unused.to_string()];
        expected.sort();
        assert_eq!(pruned(&mut engine, &EVERYTHING), expected);
        let left = engine.images().unwrap();
        assert_eq!(
            left.iter().map(|image| &image.id).collect::<Vec<_>>(),
            [&used]
        );
    }

    #[test]
    fn what_was_taken_into_use_or_named_since_the_plan_stays() {
        let (_dir, mut engine) = installation();
        let ids = ["a:1", "b:1", "c:1"].map(|name| testing::image(&mut engine, name));
        let plan = engine.plan_prune(&EVERYTHING).unwrap();
        assert_eq!(plan.images.len(), 3);

        engine.tag("a:1", &"new:1".parse().unwrap()).unwrap();
        testing::container(&mut engine, "web", Some(&ids[1]));
        let later = testing::image(&mut engine, "later:1");
        let removed = engine.prune_images(&plan).unwrap();

        assert_eq!(removed.deleted, [ids[2].to_string()]);
        let left: BTreeSet<_> = engine.images().unwrap().into_iter().map(|i| i.id).collect();
        let [a, b, _] = ids;
        assert_eq!(left, BTreeSet::from([a, b, later]));
    }

    #[test]
    fn those_that_were_used_last_can_be_kept() {
        let (_dir, mut engine) = installation();
        let mut used_at = |name: &str, seconds: i64| {
            let id = testing::image(&mut engine, name);
            let config = engine.layout.blob(&id);
            fs_err::create_dir_all(config.parent().unwrap()).unwrap();
            fs_err::write(&config, "").unwrap();
            let time =
                std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds.unsigned_abs());
            let file = fs_err::File::options().write(true).open(&config).unwrap();
            file.file().set_modified(time).unwrap();
            id
        };
        let old = used_at("old:1", 100);
        let new = used_at("new:1", 300);
        let middle = used_at("middle:1", 200);
        let keep = |keep_last, unused_since_ns| PruneRequest {
            keep_last,
            unused_since_ns,
            ..EVERYTHING
        };
        let at = |seconds: i64| Some(seconds * 1_000_000_000);

        let all = [old.clone(), middle.clone(), new.clone()];
        assert_eq!(planned(&mut engine, &keep(None, None)), all);
        assert_eq!(planned(&mut engine, &keep(Some(1), None)), all[..2]);
        assert_eq!(planned(&mut engine, &keep(Some(9), None)), []);
        assert_eq!(planned(&mut engine, &keep(None, at(200))), all[..1]);
        assert_eq!(planned(&mut engine, &keep(Some(2), at(250))), all[..1]);
        engine.note_use_of_image(&old);
        assert_eq!(planned(&mut engine, &keep(Some(1), None)), all[1..]);
    }
}
