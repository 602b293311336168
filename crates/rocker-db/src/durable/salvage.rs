//! What can still be read of a damaged database.

use std::collections::BTreeMap;

use rocker_types::{DiffId, Digest, ImageRef};
use rusqlite::Row;

use super::containers::from_row;
use super::{DurableContainer, DurableDb, ImageRow, LayerRow, VolumeRow};
use crate::live::parse;

/// The rows that are whole. Indexes are not asked: they may be what is damaged.
#[derive(Debug, Default)]
pub struct Salvage {
    /// The number of changes; `None` if it is lost.
    pub generation: Option<i64>,
    /// Images, with as much of their layers and names as there is.
    pub images: Vec<ImageRow>,
    /// Layers.
    pub layers: Vec<LayerRow>,
    /// Kept containers.
    pub containers: Vec<DurableContainer>,
    /// Volumes.
    pub volumes: Vec<VolumeRow>,
}

impl DurableDb {
    /// Reads whatever rows are whole, each by itself.
    #[must_use]
    pub fn salvage(&self) -> Salvage {
        let mut images = self.scan(
            "SELECT id, config, manifest_digest, size_bytes, pulled_ns FROM images NOT INDEXED",
            image,
        );
        let mut layers: Vec<((String, i64), DiffId)> = self.scan(
            "SELECT image_id, position, diff_id FROM image_layers NOT INDEXED",
            |row| {
                let place: (String, i64) = (row.get(0).ok()?, row.get(1).ok()?);
                Some((place, row.get::<_, String>(2).ok()?.parse::<DiffId>().ok()?))
            },
        );
        layers.sort_by(|(one, _), (other, _)| one.cmp(other));
        let mut layers_of: BTreeMap<String, Vec<DiffId>> = BTreeMap::new();
        for ((image, _), layer) in layers {
            layers_of.entry(image).or_default().push(layer);
        }
        let mut tags = self.names("tags");
        let mut repo_digests = self.names("repo_digests");
        for image in &mut images {
            let id = image.id.to_string();
            let tags = tags.remove(&id).unwrap_or_default().into_iter();
            image.tags = tags
                .filter_map(|name| name.parse::<ImageRef>().ok())
                .collect();
            image.layers = layers_of.remove(&id).unwrap_or_default();
            image.repo_digests = repo_digests.remove(&id).unwrap_or_default();
        }
        let generation = "SELECT value FROM meta NOT INDEXED WHERE key = 'generation'";
        Salvage {
            generation: self.scan(generation, |row| row.get(0).ok()).pop(),
            images,
            layers: self.scan(
                "SELECT diff_id, size_bytes, blob_digest, blob_size FROM layers NOT INDEXED",
                layer,
            ),
            containers: self.scan(
                "SELECT id, name, image_id, definition, volumes, created_ns, status, exit_code, oom_killed, error, started_ns, finished_ns
                 FROM containers NOT INDEXED",
                |row| from_row(row).ok(),
            ),
            volumes: self.scan(
                "SELECT name, created_ns, labels, anonymous FROM volumes NOT INDEXED",
                volume,
            ),
        }
    }

    /// By the image that they mean.
    fn names(&self, table: &str) -> BTreeMap<String, Vec<String>> {
        let sql = format!("SELECT image_id, reference FROM {table} NOT INDEXED");
        let rows = self.scan(&sql, |row| Some((row.get(0).ok()?, row.get(1).ok()?)));
        let mut names: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (image, name) in rows {
            names.entry(image).or_default().push(name);
        }
        names
    }

    /// Every row that `read` makes something of, up to the first place that is damaged.
    fn scan<T>(&self, sql: &str, read: impl Fn(&Row<'_>) -> Option<T>) -> Vec<T> {
        let mut found = Vec::new();
        // what lies behind a damaged place cannot be found, and all the rest of it is there
        let _ = self.db.prepare(sql).and_then(|mut statement| {
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                found.extend(read(row));
            }
            Ok(())
        });
        found
    }
}

fn unsigned(bytes: i64) -> u64 {
    u64::try_from(bytes).unwrap_or(0)
}

fn image(row: &Row<'_>) -> Option<ImageRow> {
    let manifest: Option<String> = row.get(2).ok()?;
    Some(ImageRow {
        id: row.get::<_, String>(0).ok()?.parse().ok()?,
        config: row.get(1).ok()?,
        manifest_digest: manifest.and_then(|digest| digest.parse::<Digest>().ok()),
        size_bytes: unsigned(row.get(3).ok()?),
        pulled_ns: row.get(4).ok()?,
        layers: Vec::new(),
        tags: Vec::new(),
        repo_digests: Vec::new(),
    })
}

fn layer(row: &Row<'_>) -> Option<LayerRow> {
    let blob: Option<String> = row.get(2).ok()?;
    let blob = blob.and_then(|digest| digest.parse::<Digest>().ok());
    let blob_size: Option<i64> = row.get(3).ok()?;
    Some(LayerRow {
        diff_id: row.get::<_, String>(0).ok()?.parse().ok()?,
        size_bytes: unsigned(row.get(1).ok()?),
        blob: blob.zip(blob_size.map(unsigned)),
        // measured again
        disk_bytes: None,
    })
}

fn volume(row: &Row<'_>) -> Option<VolumeRow> {
    let labels: String = row.get(2).ok()?;
    Some(VolumeRow {
        name: parse("a volume name", row.get(0).ok()?).ok()?,
        created_ns: row.get(1).ok()?,
        labels: serde_json::from_str(&labels).ok()?,
        anonymous: row.get(3).ok()?,
    })
}
