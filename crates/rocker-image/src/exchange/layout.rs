//! The images of an OCI image layout.

use rocker_types::{Algorithm, Digest, Platform};

use super::INDEX;
use super::files::Files;
use super::images::{ArchivedImage, ArchivedLayer, ConfigBudget, Part, document, parse_name, read};
use super::load_error::LoadError;
use super::plan::blob_path;
use crate::document::{
    Compression, Descriptor, Document, DocumentLimits, IndexEntry, Manifest, digest_of, nearest,
    parse_config, verify,
};
use crate::store::{ExpectedLayer, UnpackLimits, printable};

/// Every image of the layout's index. Of those that are called the same, or nothing, and differ
/// in their platforms, the one for `platform` or else for the host.
pub(super) fn layout_images(
    files: &Files,
    index: Vec<u8>,
    platform: Option<&Platform>,
    limits: &UnpackLimits,
) -> Result<Vec<ArchivedImage>, LoadError> {
    let digest = digest_of(Algorithm::Sha256, &index);
    let index = Document::parse(index, None, digest, &limits.documents);
    let index = match index.map_err(document(INDEX))? {
        Document::Index(index) => index,
        Document::Manifest(_) => return Err(LoadError::NotImages),
    };
    let layout = Layout {
        files,
        platform,
        limits: &limits.documents,
    };
    let mut budget = ConfigBudget::new(limits);
    let mut images: Vec<(Digest, ArchivedImage)> = Vec::new();
    // labels may be those of the platforms, among which the user chooses
    let called = |entry| match called(entry) {
        (None, Some(_)) if platform.is_some() => (None, None),
        called => called,
    };
    let mut names: Vec<_> = index.entries.iter().map(called).collect();
    names.sort_unstable();
    names.dedup();
    for called_so in names {
        let (name, _) = called_so;
        let group = index.entries.iter();
        let group = group.filter(|entry| called(entry) == called_so);
        for entry in layout.choose(group.cloned().collect())? {
            let (manifest, promised) = layout.resolve(&entry)?;
            let name = name.map(parse_name).transpose()?.flatten();
            let known = images.iter_mut().find(|(id, _)| *id == manifest.digest);
            match known {
                Some((_, image)) => image.call(name, entry.label),
                None => {
                    let mut image = layout.image(&manifest, promised.as_ref())?;
                    budget.take(&image)?;
                    image.call(name, entry.label);
                    images.push((manifest.digest, image));
                }
            }
        }
    }
    if images.is_empty() {
        return Err(LoadError::Empty { list: INDEX });
    }
    Ok(images.into_iter().map(|(_, image)| image).collect())
}

/// The full name of an entry, or else what image-spec calls it.
fn called(entry: &IndexEntry) -> (Option<&str>, Option<&str>) {
    match entry.name.as_deref() {
        Some(name) => (Some(name), None),
        None => (None, entry.label.as_deref()),
    }
}

struct Layout<'a> {
    files: &'a Files,
    platform: Option<&'a Platform>,
    limits: &'a DocumentLimits,
}

impl Layout<'_> {
    fn wanted(&self) -> Platform {
        self.platform.cloned().unwrap_or_else(Platform::host)
    }

    /// Which entries of one name to load.
    fn choose(&self, group: Vec<IndexEntry>) -> Result<Vec<IndexEntry>, LoadError> {
        let first = group.first().and_then(|entry| entry.platform.clone());
        let differ = first.is_some()
            && group.iter().all(|entry| entry.platform.is_some())
            && group.iter().any(|entry| entry.platform != first);
        if !differ {
            return Ok(group);
        }
        let chosen = nearest(&group, &self.wanted()).map_err(document(INDEX))?;
        Ok(vec![chosen.clone()])
    }

    /// Follows nested indexes down to the manifest for the platform, and says for which
    /// platform it must be.
    fn resolve(&self, entry: &IndexEntry) -> Result<(Manifest, Option<Platform>), LoadError> {
        let mut descriptor = entry.descriptor.clone();
        let mut promised = self.platform.or(entry.platform.as_ref()).cloned();
        for _ in 0..=self.limits.index_depth {
            match self.document(&descriptor)? {
                Document::Manifest(manifest) => return Ok((manifest, promised)),
                Document::Index(index) => {
                    let wanted = self.wanted();
                    let name = blob_path(&descriptor.digest);
                    let entry = index.choose(&wanted).map_err(document(&name))?;
                    promised = Some(entry.platform.clone().unwrap_or(wanted));
                    descriptor = entry.descriptor.clone();
                }
            }
        }
        Err(document(INDEX)(self.limits.too_many_indexes()))
    }

    fn document(&self, descriptor: &Descriptor) -> Result<Document, LoadError> {
        let name = blob_path(&descriptor.digest);
        let bytes = self.blob("manifest", descriptor, Part::Manifest)?;
        let announced = Some(descriptor.media_type.as_str());
        Document::parse(bytes, announced, descriptor.digest.clone(), self.limits)
            .map_err(document(&name))
    }

    fn blob(
        &self,
        what: &'static str,
        descriptor: &Descriptor,
        part: Part,
    ) -> Result<Vec<u8>, LoadError> {
        let name = blob_path(&descriptor.digest);
        let bytes =
            read(self.files, &name, part, self.limits)?.ok_or_else(|| LoadError::Missing {
                name: printable(name.as_bytes()),
                by: INDEX,
            })?;
        verify(what, &bytes, &descriptor.digest, Some(descriptor.size)).map_err(document(&name))?;
        Ok(bytes)
    }

    fn image(
        &self,
        manifest: &Manifest,
        promised: Option<&Platform>,
    ) -> Result<ArchivedImage, LoadError> {
        let config = self.blob("config", &manifest.config, Part::Config)?;
        let name = blob_path(&manifest.config.digest);
        let parsed =
            parse_config(&config, manifest, promised, self.limits).map_err(document(&name))?;
        let layers = manifest.layers.iter().zip(parsed.rootfs.diff_ids);
        let layers = layers.map(|(layer, diff_id)| ArchivedLayer {
            name: blob_path(&layer.digest),
            blob: Some(ExpectedLayer {
                blob: layer.digest.clone(),
                size_bytes: layer.size,
                compression: layer.compression().unwrap_or(Compression::None),
                diff_id: diff_id.clone(),
            }),
            diff_id,
        });
        Ok(ArchivedImage {
            id: manifest.config.digest.clone(),
            listed_as: manifest.digest.clone(),
            layers: layers.collect(),
            names: Vec::new(),
            labels: Vec::new(),
            config,
        })
    }
}
