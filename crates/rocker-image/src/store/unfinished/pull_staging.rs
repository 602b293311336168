//! Where one pull works, with everything that earlier ones left for it.

use std::collections::HashMap;
use std::ffi::CString;
use std::sync::Arc;

use rocker_types::{DiffId, Digest};

use super::claims::{Wants, release};
use super::contents::{FinishedLayer, StartedBlob};
use super::orphans::Orphan;
use super::partial::PartialBlob;
use crate::store::remove::remove_tree;
use crate::store::staged::StagedLayer;
use crate::store::staging::Staging;
use crate::store::{ExpectedLayer, Store, StoreError};

/// A smaller blob is not worth a file: asking for the rest costs as much as asking for all.
const SMALLEST: u64 = 64 << 10;

/// Blobs are kept while they are unpacked if the disk has this many times the size of all of them
/// free: what they unpack to needs room as well.
const ROOM: u64 = 6;

/// The staging directories of one pull: one of its own, and those of pulls that ended early.
#[derive(Debug)]
pub(crate) struct PullStaging {
    /// The first one is new, and gets what is new.
    all: Vec<Place>,
    finished: Vec<StagedLayer>,
    started: HashMap<Digest, PartialBlob>,
    /// Whether the disk has room for blobs beside what they unpack to.
    keeps_blobs: bool,
    /// What nobody needs of what was taken over.
    rubbish: Vec<(Staging, CString)>,
}

/// A directory that is ours until we end.
#[derive(Clone, Debug)]
struct Place {
    staging: Staging,
    /// Of a directory that another pull left, what belongs to our image; the rest is for the next
    /// pull of another one.
    ours: Option<Vec<String>>,
}

impl PullStaging {
    /// Nothing yet; [`claim`](Self::claim) makes a place.
    pub(crate) fn new() -> Self {
        Self {
            all: Vec::new(),
            finished: Vec::new(),
            started: HashMap::new(),
            keeps_blobs: false,
            rubbish: Vec::new(),
        }
    }

    /// Sees that there is a place.
    pub(super) fn begin(&mut self, store: &Store) -> Result<(), StoreError> {
        if self.all.is_empty() {
            let staging = store.stage()?;
            staging.set_keeps(true);
            let ours = None;
            self.all.push(Place { staging, ours });
        }
        Ok(())
    }

    /// Our directories.
    pub(super) fn places(&self) -> impl Iterator<Item = &Staging> {
        self.all.iter().map(|place| &place.staging)
    }

    /// Their names.
    pub(super) fn names(&self) -> Vec<String> {
        self.places()
            .map(|staging| staging.name().to_owned())
            .collect()
    }

    /// Makes an orphan ours, if it has anything for us.
    pub(super) fn take_over(&mut self, orphan: Orphan, wants: Wants<'_>) -> Result<(), StoreError> {
        let (chain, wanted) = (wants.chain, wants.layers);
        let is_wanted = |layer: &FinishedLayer| {
            !layer.is_stored
                && layer.done.fits_on(&below(chain, &layer.done.diff_id))
                && wanted.iter().any(|wanted| is_of(layer, wanted))
        };
        let is_begun = |blob: &StartedBlob| wanted.iter().any(|wanted| wanted.blob == blob.digest);
        let contents = &orphan.contents;
        // once the image is recorded, nobody needs to be told that its layers are in the store
        let is_ours =
            |layer: &FinishedLayer| layer.is_stored && chain.contains(&layer.done.diff_id);
        let layers = contents.layers.iter();
        let layers = layers.filter(|layer| is_wanted(layer) || is_ours(layer));
        let blobs = contents.blobs.iter().filter(|blob| is_begun(blob));
        let ours: Vec<String> = layers
            .flat_map(FinishedLayer::names)
            .chain(blobs.map(|blob| blob.name.clone()))
            .collect();
        if ours.is_empty() {
            return Ok(());
        }
        let (staging, contents) = orphan.into_staging()?;
        staging.set_keeps(true);
        let rubbish = contents.rubbish.into_iter();
        self.rubbish
            .extend(rubbish.map(|name| (staging.clone(), name)));
        for layer in contents.layers.into_iter().filter(is_wanted) {
            let Some(unpacked) = layer.done.unpacked() else {
                continue;
            };
            let directory = staging.finished_layer(&layer.name)?;
            let (id, blob) = (layer.done.diff_id, layer.done.blob);
            let layer =
                directory.into_layer(id, unpacked, Some(blob), wants.limits.keep_free_percent);
            self.finished.push(layer);
        }
        for blob in contents.blobs.into_iter().filter(is_begun) {
            let known = self.started.get(&blob.digest);
            if known.is_none_or(|known| known.bytes() < blob.bytes)
                && let Ok(partial) = PartialBlob::reopen(&staging, &blob.name, blob.bytes)
            {
                self.started.insert(blob.digest, partial);
            }
        }
        let ours = Some(ours);
        self.all.push(Place { staging, ours });
        Ok(())
    }

    /// Deletes what was taken over and is of use to nobody, then looks whether the disk has room
    /// for the blobs of `layers`, which are still to be unpacked, by us or by others.
    pub(super) fn make_room<'a>(&mut self, layers: impl Iterator<Item = &'a ExpectedLayer>) {
        let is_more_free = !self.rubbish.is_empty();
        for (staging, name) in self.rubbish.drain(..) {
            if let Err(error) = remove_tree(staging.fd(), name.to_bytes()) {
                // the sweep will say so, unless it can
                tracing::debug!(?staging, ?name, %error, "cannot delete what a pull left");
            }
        }
        let Some(Place { staging, .. }) = self.all.first() else {
            return;
        };
        if is_more_free && let Err(errno) = staging.room().look_again(staging.fd()) {
            tracing::debug!(?staging, %errno, "cannot see what is free");
        }
        let sizes = layers.map(|layer| layer.size_bytes);
        let needed = sizes.fold(0, u64::saturating_add).saturating_mul(ROOM);
        self.keeps_blobs = needed <= staging.room().left_bytes();
    }

    /// Where layers are unpacked to.
    pub(crate) fn staging(&self) -> Staging {
        self.all[0].staging.clone()
    }

    /// Where the layer is, or will be: others look there for how far it has come.
    pub(super) fn place_of(&self, wanted: &ExpectedLayer) -> Staging {
        let mut finished = self.finished.iter();
        let finished = finished.find(|layer| *layer.diff_id() == wanted.diff_id);
        let started = || self.started.get(&wanted.blob).map(PartialBlob::staging);
        let place = finished.map(StagedLayer::staging).or_else(started);
        place.map_or_else(|| self.staging(), Staging::clone)
    }

    /// The layer, if an earlier pull had finished it.
    pub(crate) fn take_finished(&mut self, wanted: &ExpectedLayer) -> Option<StagedLayer> {
        let is_wanted = |layer: &StagedLayer| {
            let blob = layer.blob.as_ref();
            *layer.diff_id() == wanted.diff_id
                && blob.is_some_and(|blob| {
                    blob.digest == wanted.blob && blob.size_bytes == wanted.size_bytes
                })
        };
        let position = self.finished.iter().position(is_wanted)?;
        Some(self.finished.swap_remove(position))
    }

    /// Where the blob's bytes go while they are unpacked, with those that an earlier pull got;
    /// `None` if the blob is too small, the disk too full, or somebody has the file.
    pub(crate) fn take_blob(&mut self, wanted: &ExpectedLayer) -> Option<Arc<PartialBlob>> {
        let started = self.started.remove(&wanted.blob);
        // a damaged file, or a manifest that gives one blob two sizes
        match started.filter(|started| started.bytes() <= wanted.size_bytes) {
            Some(started) => {
                if !self.keeps_blobs {
                    started.stop_growing();
                }
                Some(Arc::new(started))
            }
            None => self.new_blob(wanted),
        }
    }

    /// The same without anything that an earlier pull got.
    pub(crate) fn new_blob(&self, wanted: &ExpectedLayer) -> Option<Arc<PartialBlob>> {
        if wanted.size_bytes < SMALLEST || !self.keeps_blobs {
            return None;
        }
        let blob = PartialBlob::create(&self.all[0].staging, &wanted.blob);
        let blob = blob.inspect_err(|errno| tracing::debug!(%errno, "cannot keep a blob"));
        blob.ok().map(Arc::new)
    }

    /// All of it, for when the image is complete or not worth another attempt.
    pub(crate) fn leftovers(&self) -> Leftovers {
        Leftovers(self.all.clone())
    }
}

/// What the staging directories of a pull still have once its image is complete. Dropped, it takes
/// that along, but leaves what belongs to other images; until then, and if this process is killed,
/// layers of the image that nobody recorded yet are safe from sweeps.
#[derive(Debug, Default)]
#[must_use = "dropped before the image is recorded, it leaves its layers to the next sweep"]
pub struct Leftovers(Vec<Place>);

impl Leftovers {
    /// Lets other pulls have the layers of this one, which are in the store by now.
    pub(crate) fn release(&self) {
        self.0.iter().for_each(|place| release(&place.staging));
    }

    /// Leaves everything to the next pull of the image.
    pub fn keep(mut self) {
        self.0.clear();
    }
}

impl Drop for Leftovers {
    fn drop(&mut self) {
        for Place { staging, ours } in &self.0 {
            let Some(ours) = ours else {
                staging.set_keeps(false);
                continue;
            };
            for name in ours {
                // The note about a layer comes before the layer: should it stay, so must that. What
                // cannot be removed now waits for the sweep.
                if remove_tree(staging.fd(), name.as_bytes()).is_err() {
                    break;
                }
            }
            release(staging);
        }
    }
}

fn is_of(layer: &FinishedLayer, wanted: &ExpectedLayer) -> bool {
    let done = &layer.done;
    done.diff_id == wanted.diff_id
        && done.blob.digest == wanted.blob
        && done.blob.size_bytes == wanted.size_bytes
}

/// The layers below `layer`, each where it first occurs.
fn below(chain: &[DiffId], layer: &DiffId) -> Vec<DiffId> {
    let mut below: Vec<DiffId> = Vec::new();
    for id in chain.iter().take_while(|id| *id != layer) {
        if !below.contains(id) {
            below.push(id.clone());
        }
    }
    below
}

#[cfg(test)]
mod tests {
    use rocker_types::{Algorithm, Layout};

    use super::*;
    use crate::document::{Compression, digest_of};
    use crate::store::UnpackLimits;
    use crate::store::room::Room;

    #[test]
    fn blobs_are_kept_where_there_is_room_for_all_that_is_unpacked_beside_them() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::open(&Layout::new(root.path(), root.path())).unwrap();
        let free = Room::of(store.tmp_fd()).unwrap().left_bytes();
        let layers = [1, 2, 3].map(|n| ExpectedLayer {
            blob: digest_of(Algorithm::Sha256, &[n]),
            size_bytes: free / ROOM / 2,
            compression: Compression::Gzip,
            diff_id: DiffId(digest_of(Algorithm::Sha256, &[n])),
        });
        for (layers, is_kept) in [(&layers[..1], true), (&layers[..], false)] {
            let mut staging = PullStaging::new();
            let wants = Wants {
                chain: &[],
                layers,
                limits: &UnpackLimits::default(),
            };
            staging.claim(&store, wants).unwrap();

            let blob = staging.take_blob(&layers[0]);

            assert_eq!(blob.is_some(), is_kept, "{} layers", layers.len());
            drop(staging.leftovers());
        }
    }
}
