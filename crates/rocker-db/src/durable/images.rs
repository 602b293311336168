//! Images, their layers and their names.

use rocker_types::{DiffId, Digest, ImageRef};
use rusqlite::{Connection, OptionalExtension, params};

use super::names::{NamedBy, set_repo_digest, set_tag};
use super::{DurableDb, count_change, note_image};
use crate::DbError;
use crate::live::{parse, strings};

/// A layer and what it takes on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerRow {
    /// Its identity.
    pub diff_id: DiffId,
    /// Bytes on disk when it was unpacked.
    pub size_bytes: u64,
    /// The compressed blob that it came from and that blob's length; `None` for an import.
    pub blob: Option<(Digest, u64)>,
    /// What it takes on disk with all that belongs to it, if that was measured.
    pub disk_bytes: Option<u64>,
}

/// What a finished pull or import records.
#[derive(Clone, Copy, Debug)]
pub struct NewImage<'a> {
    /// Digest of the config.
    pub id: &'a Digest,
    /// The config's JSON.
    pub config: &'a str,
    /// Digest of the manifest, `None` for an import.
    pub manifest_digest: Option<&'a Digest>,
    /// Its layers, base first; the directories exist. Empty for those that it is recorded with.
    pub layers: &'a [LayerRow],
    /// The name to give it; with a digest, that it was asked for by `repo_digest`.
    pub reference: Option<&'a ImageRef>,
    /// `repository@digest` as the registry calls it.
    pub repo_digest: Option<&'a str>,
    /// Nanoseconds since 1970.
    pub pulled_ns: i64,
}

/// An image as the database remembers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageRow {
    /// Digest of the config.
    pub id: Digest,
    /// The config's JSON.
    pub config: String,
    /// Digest of the manifest, `None` for an import.
    pub manifest_digest: Option<Digest>,
    /// Bytes of all its layers on disk.
    pub size_bytes: u64,
    /// When it came here, nanoseconds since 1970.
    pub pulled_ns: i64,
    /// Its layers, base first.
    pub layers: Vec<DiffId>,
    /// Its names in canonical spelling, sorted.
    pub tags: Vec<ImageRef>,
    /// Those of its names that an archive chose.
    pub archived_tags: Vec<ImageRef>,
    /// `repository@digest`, sorted.
    pub repo_digests: Vec<String>,
    /// Those of them by which somebody asked for the image.
    pub asked_digests: Vec<ImageRef>,
}

impl DurableDb {
    /// Records an image, its layers and its name in one transaction: visible as a whole or
    /// not at all. A name that meant another image means this one from then on. What is recorded
    /// already of its config and its layers is written over: its id says what they are.
    ///
    /// # Errors
    ///
    /// [`DbError::Query`].
    pub fn record_image(&mut self, new: &NewImage<'_>) -> Result<(), DbError> {
        self.record_images(std::slice::from_ref(new))
    }

    /// Records several images, or one with several names, in one transaction.
    ///
    /// # Errors
    ///
    /// [`DbError::Query`].
    pub fn record_images(&mut self, new: &[NewImage<'_>]) -> Result<(), DbError> {
        self.record(new, |_| NamedBy::User)
    }

    /// The same for images out of an archive, which chose their names.
    ///
    /// # Errors
    ///
    /// [`DbError::Query`].
    pub fn record_archived(&mut self, new: &[NewImage<'_>]) -> Result<(), DbError> {
        self.record(new, |_| NamedBy::Archive)
    }

    /// The same for images that come back: each name by whom it was given before.
    ///
    /// # Errors
    ///
    /// [`DbError::Query`].
    pub fn record_again(
        &mut self,
        new: &[NewImage<'_>],
        archived: &[ImageRef],
    ) -> Result<(), DbError> {
        self.record(new, |new| {
            match new.reference.is_some_and(|name| archived.contains(name)) {
                true => NamedBy::Archive,
                false => NamedBy::User,
            }
        })
    }

    fn record(
        &mut self,
        new: &[NewImage<'_>],
        by: impl Fn(&NewImage<'_>) -> NamedBy,
    ) -> Result<(), DbError> {
        let tx = self.begin()?;
        count_change(&tx)?;
        new.iter().try_for_each(|new| insert(&tx, new, by(new)))?;
        tx.commit().map_err(DbError::query("record an image"))
    }

    /// Finds the image that `reference` names: by tag, or by the digest it was pulled with.
    ///
    /// # Errors
    ///
    /// [`DbError::Query`] and [`DbError::Corrupt`].
    pub fn image_by_reference(&self, reference: &ImageRef) -> Result<Option<ImageRow>, DbError> {
        let found = match reference.digest() {
            Some(digest) => {
                let name = reference.familiar_with_digest(digest);
                strings(
                    &self.db,
                    "SELECT image_id FROM repo_digests WHERE reference = ?1",
                    &[&name],
                )?
            }
            None => strings(
                &self.db,
                "SELECT image_id FROM tags WHERE reference = ?1",
                &[&reference.canonical()],
            )?,
        };
        found.first().map_or(Ok(None), |id| self.image(id))
    }

    /// Images whose id starts with `prefix` (hex digits, `sha256:` left out).
    ///
    /// # Errors
    ///
    /// [`DbError::Query`] and [`DbError::Corrupt`].
    pub fn images_by_prefix(&self, prefix: &str) -> Result<Vec<ImageRow>, DbError> {
        let sql = "SELECT id FROM images WHERE substr(id, 1, length(?1)) = ?1 ORDER BY id";
        let ids = strings(&self.db, sql, &[&format!("sha256:{prefix}")])?;
        ids.iter()
            .filter_map(|id| self.image(id).transpose())
            .collect()
    }

    /// Every image, newest arrival first.
    ///
    /// # Errors
    ///
    /// [`DbError::Query`] and [`DbError::Corrupt`].
    pub fn images(&self) -> Result<Vec<ImageRow>, DbError> {
        let ids = strings(
            &self.db,
            "SELECT id FROM images ORDER BY pulled_ns DESC, id",
            &[],
        )?;
        ids.iter()
            .filter_map(|id| self.image(id).transpose())
            .collect()
    }

    /// The id of every image.
    ///
    /// # Errors
    ///
    /// [`DbError::Query`] and [`DbError::Corrupt`].
    pub fn image_ids(&self) -> Result<Vec<Digest>, DbError> {
        let ids = strings(&self.db, "SELECT id FROM images ORDER BY id", &[])?;
        ids.into_iter().map(|id| parse("an image id", id)).collect()
    }

    /// The image with this id.
    ///
    /// # Errors
    ///
    /// [`DbError::Query`] and [`DbError::Corrupt`].
    pub fn image(&self, id: &str) -> Result<Option<ImageRow>, DbError> {
        image(&self.db, id)
    }

    /// Layers that are recorded.
    ///
    /// # Errors
    ///
    /// [`DbError::Query`] and [`DbError::Corrupt`].
    pub fn layers(&self) -> Result<Vec<DiffId>, DbError> {
        let ids = strings(&self.db, "SELECT diff_id FROM layers ORDER BY diff_id", &[])?;
        ids.into_iter().map(|id| parse("a diff id", id)).collect()
    }

    /// What is recorded of a layer.
    ///
    /// # Errors
    ///
    /// [`DbError::Query`] and [`DbError::Corrupt`].
    pub fn layer(&self, id: &DiffId) -> Result<Option<LayerRow>, DbError> {
        let unsigned = |bytes: i64| u64::try_from(bytes).unwrap_or(0);
        let found = self
            .db
            .query_row(
                "SELECT size_bytes, blob_digest, blob_size, disk_bytes FROM layers WHERE diff_id = ?1",
                [id.to_string()],
                |row| {
                    Ok((
                        row.get::<_, i64>(0)?,
                        row.get::<_, Option<String>>(1)?,
                        row.get::<_, Option<i64>>(2)?,
                        row.get::<_, Option<i64>>(3)?,
                    ))
                },
            )
            .optional()
            .map_err(DbError::query("read a layer"))?;
        let Some((size, blob, blob_size, disk)) = found else {
            return Ok(None);
        };
        let blob = blob
            .map(|digest| parse("a digest", digest))
            .transpose()?
            .zip(blob_size.map(unsigned));
        Ok(Some(LayerRow {
            diff_id: id.clone(),
            size_bytes: unsigned(size),
            blob,
            disk_bytes: disk.map(unsigned),
        }))
    }
}

pub(super) fn image(db: &Connection, id: &str) -> Result<Option<ImageRow>, DbError> {
    let failed = DbError::query("read an image");
    let sql = "SELECT config, manifest_digest, size_bytes, pulled_ns FROM images WHERE id = ?1";
    let found = db
        .query_row(sql, [id], |row| {
            Ok((
                row.get::<_, String>(0)?,
                row.get::<_, Option<String>>(1)?,
                row.get::<_, i64>(2)?,
                row.get::<_, i64>(3)?,
            ))
        })
        .optional()
        .map_err(failed)?;
    let Some((config, manifest, size, pulled_ns)) = found else {
        return Ok(None);
    };
    let sql = "SELECT diff_id FROM image_layers WHERE image_id = ?1 ORDER BY position";
    let layers = strings(db, sql, &[&id])?.into_iter();
    let layers = layers.map(|id| parse("a diff id", id));
    let (tags, archived_tags) = marked(
        db,
        "SELECT reference, archived FROM tags WHERE image_id = ?1 ORDER BY reference",
        id,
    )?;
    let (repo_digests, asked_digests) = marked(
        db,
        "SELECT reference, asked FROM repo_digests WHERE image_id = ?1 ORDER BY reference",
        id,
    )?;
    let references = |names: Vec<String>| {
        let names = names.into_iter().map(|name| parse("a reference", name));
        names.collect::<Result<Vec<ImageRef>, _>>()
    };
    Ok(Some(ImageRow {
        id: parse("an image id", id.to_owned())?,
        config,
        manifest_digest: manifest
            .map(|digest| parse("a digest", digest))
            .transpose()?,
        size_bytes: u64::try_from(size).unwrap_or(0),
        pulled_ns,
        layers: layers.collect::<Result<_, _>>()?,
        tags: references(tags)?,
        archived_tags: references(archived_tags)?,
        repo_digests,
        asked_digests: references(asked_digests)?,
    }))
}

/// The names of an image that `sql` selects, and those of them that have a mark.
fn marked(db: &Connection, sql: &str, id: &str) -> Result<(Vec<String>, Vec<String>), DbError> {
    let failed = DbError::query("read names of an image");
    let mut statement = db.prepare(sql).map_err(&failed)?;
    let rows = statement
        .query_map([id], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, bool>(1)?))
        })
        .map_err(&failed)?;
    let (mut names, mut marked) = (Vec::new(), Vec::new());
    for row in rows {
        let (name, has_mark) = row.map_err(&failed)?;
        marked.extend(has_mark.then(|| name.clone()));
        names.push(name);
    }
    Ok((names, marked))
}

fn insert(tx: &Connection, new: &NewImage<'_>, by: NamedBy) -> Result<(), DbError> {
    let failed = DbError::query("record an image");
    let id = new.id.to_string();
    let total: u64 = new.layers.iter().map(|layer| layer.size_bytes).sum();
    let signed = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    tx.execute(
        "INSERT INTO images(id, config, manifest_digest, size_bytes, pulled_ns) VALUES(?1, ?2, ?3, ?4, ?5)
         ON CONFLICT(id) DO UPDATE SET config = excluded.config,
             manifest_digest = coalesce(excluded.manifest_digest, manifest_digest),
             size_bytes = iif(?6, excluded.size_bytes, size_bytes)",
        params![id, new.config, new.manifest_digest.map(ToString::to_string), signed(total), new.pulled_ns,
            !new.layers.is_empty()],
    )
    .map_err(&failed)?;
    for (position, layer) in (0_u32..).zip(new.layers) {
        let diff_id = layer.diff_id.to_string();
        let (blob, blob_size) = layer
            .blob
            .as_ref()
            .map(|(digest, size)| (digest.to_string(), signed(*size)))
            .unzip();
        tx.execute(
            "INSERT OR IGNORE INTO layers(diff_id, size_bytes, blob_digest, blob_size, disk_bytes) VALUES(?1, ?2, ?3, ?4, ?5)",
            params![diff_id, signed(layer.size_bytes), blob, blob_size, layer.disk_bytes.map(signed)],
        )
        .map_err(&failed)?;
        tx.execute(
            "INSERT INTO image_layers(image_id, position, diff_id) VALUES(?1, ?2, ?3)
             ON CONFLICT(image_id, position) DO UPDATE SET diff_id = excluded.diff_id",
            params![id, position, diff_id],
        )
        .map_err(&failed)?;
    }
    if let Some(count) = u32::try_from(new.layers.len())
        .ok()
        .filter(|count| *count > 0)
    {
        tx.execute(
            "DELETE FROM image_layers WHERE image_id = ?1 AND position >= ?2",
            params![id, count],
        )
        .map_err(&failed)?;
    }
    note_image(tx, &id)?;
    // whoever asks for a digest wants that image under no other name
    let name = new
        .reference
        .filter(|reference| reference.digest().is_none());
    if let Some(reference) = name {
        set_tag(tx, reference, new.id, by)?;
    }
    if let Some(repo_digest) = new.repo_digest {
        let is_asked = new.reference.is_some_and(|name| name.digest().is_some());
        set_repo_digest(tx, (repo_digest, is_asked), &id)?;
    }
    Ok(())
}
