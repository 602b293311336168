//! A file becomes images of the store.

use std::collections::HashSet;
use std::io::{self, Read};
use std::path::PathBuf;

use fs_err::File;
use rocker_types::{DiffId, Digest, ImageRef, Platform};

use super::files::{Files, Member};
use super::images::{ArchivedImage, ArchivedLayer, images};
use super::input::Input;
use super::load_error::LoadError;
use crate::policy::Policy;
use crate::store::{
    ChainLayer, Durability, Staging, Store, UnpackLimits, printable, unpack_archived, unpack_layer,
    verify_layer,
};

/// Where images are loaded from.
#[derive(Debug)]
pub enum LoadSource {
    /// A tar, plain or compressed with gzip, zstd, xz or bzip2, on a disk or from a pipe. It
    /// is read from where the file stands.
    Archive(File),
    /// An OCI image layout.
    Directory(PathBuf),
}

/// What to load, and who is told about it.
pub struct LoadRequest<'a> {
    /// Which platform of an index; `None` is the host's.
    pub platform: Option<Platform>,
    /// Which image, by what it is called there; `None` takes all.
    pub only: Option<String>,
    /// Whether archives are let in at all; `None` lets all in.
    pub policy: Option<Policy>,
    /// What the archive and each of its layers may ask for.
    pub limits: UnpackLimits,
    /// Is told of each layer that is about to be read, and how many bytes it has in the
    /// archive.
    pub on_layer: &'a dyn Fn(&DiffId, u64),
    /// Is asked again and again whether to stop.
    pub cancelled: &'a (dyn Fn() -> bool + Sync),
}

impl std::fmt::Debug for LoadRequest<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoadRequest")
            .field("platform", &self.platform)
            .field("only", &self.only)
            .field("policy", &self.policy)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// An image whose layers and config are in the store; what the database is to record.
#[derive(Clone, Debug)]
pub struct LoadedImage {
    /// The digest of its config.
    pub id: Digest,
    /// The config; in the store as blob `id`.
    pub config: Vec<u8>,
    /// What the archive calls it.
    pub names: Vec<ImageRef>,
    /// Its layers, base first.
    pub layers: Vec<LoadedLayer>,
}

/// A layer of a [`LoadedImage`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadedLayer {
    /// The layer's identity in the store.
    pub diff_id: DiffId,
    /// Unpacked size on disk in bytes.
    pub size_bytes: u64,
    /// The blob that it came from and that blob's length, if a manifest named one.
    pub blob: Option<(Digest, u64)>,
}

/// An archive whose documents were read; its layers were not.
pub struct Archive {
    staging: Staging,
    files: Files,
    images: Vec<ArchivedImage>,
}

impl std::fmt::Debug for Archive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Archive")
            .field("images", &self.images.len())
            .finish_non_exhaustive()
    }
}

impl Archive {
    /// Reads which images there are.
    ///
    /// # Errors
    ///
    /// [`LoadError`]; the store is as before then.
    pub fn open(
        store: &Store,
        source: LoadSource,
        request: &LoadRequest<'_>,
    ) -> Result<Self, LoadError> {
        let staging = store.stage()?;
        let files = match source {
            LoadSource::Archive(file) => {
                let input = Input::open(file, &staging, request)?;
                Files::in_tar(input, &request.limits)?
            }
            LoadSource::Directory(path) => Files::in_directory(&path)?,
        };
        if let Some(policy) = &request.policy {
            policy.check(files.entry())?;
        }
        let mut images = images(&files, request.platform.as_ref(), &request.limits)?;
        if let Some(only) = &request.only {
            images = vec![the_one(images, only)?];
        }
        Ok(Self {
            staging,
            files,
            images,
        })
    }

    /// The names that [`unpack`](Self::unpack) gives back, each with its image's id.
    pub fn names(&self) -> impl Iterator<Item = (&ImageRef, &Digest)> {
        self.images
            .iter()
            .flat_map(|image| image.names.iter().zip(std::iter::repeat(&image.id)))
    }

    /// Takes the images out. Every digest that the archive names is checked, also those of
    /// layers that the store has already.
    ///
    /// # Errors
    ///
    /// [`LoadError`]; the store has at most layers and blobs more that nobody needs then.
    pub fn unpack(
        self,
        store: &Store,
        request: &LoadRequest<'_>,
    ) -> Result<Vec<LoadedImage>, LoadError> {
        let mut loader = Loader {
            store,
            staging: self.staging,
            files: self.files,
            request,
            seen: HashSet::new(),
        };
        let images = self.images.into_iter().map(|image| loader.load(image));
        let loaded = images.collect::<Result<Vec<_>, _>>()?;
        // on disk before anybody remembers them, and the disk is waited for once
        store.flush()?;
        Ok(loaded)
    }
}

/// Takes all images out of an archive, whatever they are called there.
///
/// # Errors
///
/// As [`Archive::open`] and [`Archive::unpack`].
pub fn load(
    store: &Store,
    source: LoadSource,
    request: &LoadRequest<'_>,
) -> Result<Vec<LoadedImage>, LoadError> {
    Archive::open(store, source, request)?.unpack(store, request)
}

/// The image that is called `name`, with the one name that is meant.
fn the_one(images: Vec<ArchivedImage>, name: &str) -> Result<ArchivedImage, LoadError> {
    let wanted = name.parse::<ImageRef>().ok();
    let meant = |image: &ArchivedImage| {
        let is_wanted = |known: &&ImageRef| Some(*known) == wanted.as_ref();
        let by_name = image.names.iter().find(is_wanted);
        let by_label = image.labels.iter().find(|(label, _)| label == name);
        match (by_name, by_label) {
            (Some(name), _) => Some(Some(name.clone())),
            (None, Some((_, name))) => Some(name.clone()),
            (None, None) => None,
        }
    };
    let labels = images.iter().flat_map(|image| &image.labels);
    let names = images.iter().flat_map(|image| &image.names);
    let there = labels
        .map(|(label, _)| label.clone())
        .chain(names.map(ImageRef::familiar))
        .map(|name| printable(name.as_bytes()))
        .collect();
    let mut found = images.into_iter().filter_map(|image| {
        let name = meant(&image)?;
        Some((image, name))
    });
    let Some((mut image, meant)) = found.next() else {
        let name = printable(name.as_bytes());
        return Err(LoadError::NoSuchName { name, there });
    };
    if let Some((other, _)) = found.find(|(other, _)| other.id != image.id) {
        return Err(LoadError::AmbiguousName {
            name: printable(name.as_bytes()),
            digests: [image.listed_as, other.listed_as],
        });
    }
    image.names = meant.into_iter().collect();
    Ok(image)
}

struct Loader<'a> {
    store: &'a Store,
    staging: Staging,
    files: Files,
    request: &'a LoadRequest<'a>,
    /// Files of the archive that turned out to be the layer which they should be.
    seen: HashSet<(String, DiffId)>,
}

impl Loader<'_> {
    fn load(&mut self, image: ArchivedImage) -> Result<LoadedImage, LoadError> {
        let mut chain = Vec::with_capacity(image.layers.len());
        let mut staged = HashSet::new();
        for layer in &image.layers {
            if self
                .seen
                .insert((layer.name.clone(), layer.diff_id.clone()))
            {
                let is_here = staged.contains(&layer.diff_id)
                    || self
                        .store
                        .has_sound_layer(&layer.diff_id, &self.request.limits)?;
                if !is_here {
                    staged.insert(layer.diff_id.clone());
                    chain.push(ChainLayer::Staged(self.unpack(layer)?));
                    continue;
                }
                self.verify(layer)?;
            }
            chain.push(ChainLayer::Present(layer.diff_id.clone()));
        }
        if self.store.read_blob(&image.id).is_err() {
            self.store
                .place_blob(&image.id, &image.config, Durability::AtFlush)?;
        }
        let committed =
            self.store
                .commit_unless(chain, Durability::AtFlush, self.request.cancelled)?;
        let layers = image.layers.into_iter().zip(committed);
        let layers = layers.map(|(layer, committed)| LoadedLayer {
            diff_id: committed.diff_id,
            size_bytes: committed.size_bytes,
            blob: layer.blob.map(|blob| (blob.blob, blob.size_bytes)),
        });
        Ok(LoadedImage {
            layers: layers.collect(),
            id: image.id,
            config: image.config,
            names: image.names,
        })
    }

    fn unpack(&self, layer: &ArchivedLayer) -> Result<crate::store::StagedLayer, LoadError> {
        let (member, limits) = (self.reader(layer)?, &self.request.limits);
        let unpacked = match &layer.blob {
            Some(blob) => unpack_layer(&self.staging, member, blob, limits, &|_| ()),
            None => unpack_archived(&self.staging, member, &layer.diff_id, limits),
        };
        unpacked.map_err(|source| self.failure(layer, source))
    }

    fn verify(&self, layer: &ArchivedLayer) -> Result<(), LoadError> {
        let member = self.reader(layer)?;
        let blob = layer.blob.as_ref();
        let verified = verify_layer(member, &layer.diff_id, blob, &self.request.limits);
        verified.map_err(|source| self.failure(layer, source))
    }

    fn reader(&self, layer: &ArchivedLayer) -> Result<Wanted<'_>, LoadError> {
        Ok(Wanted {
            member: self.open(layer)?,
            cancelled: self.request.cancelled,
        })
    }

    fn failure(&self, layer: &ArchivedLayer, source: crate::store::UnpackError) -> LoadError {
        if (self.request.cancelled)() {
            return LoadError::Cancelled;
        }
        LoadError::Layer {
            name: printable(layer.name.as_bytes()),
            source: Box::new(source),
        }
    }

    fn open(&self, layer: &ArchivedLayer) -> Result<Member, LoadError> {
        let member = self.files.open(&layer.name)?;
        let member = member.ok_or_else(|| LoadError::Missing {
            name: printable(layer.name.as_bytes()),
            by: "an image",
        })?;
        (self.request.on_layer)(&layer.diff_id, member.size());
        Ok(member)
    }
}

/// A layer's file, for as long as somebody wants it.
struct Wanted<'a> {
    member: Member,
    cancelled: &'a (dyn Fn() -> bool + Sync),
}

impl Read for Wanted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match (self.cancelled)() {
            true => Err(io::Error::other("interrupted")),
            false => self.member.read(buffer),
        }
    }
}
