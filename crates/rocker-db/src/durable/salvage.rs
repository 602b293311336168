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
    /// By which change each image or its names were last changed, as far as that is there.
    pub image_generations: BTreeMap<Digest, i64>,
    /// Whether names or layers of images may be missing, because a part of them cannot be read.
    pub is_cut: bool,
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
            "SELECT id, config, manifest_digest, size_bytes, pulled_ns, rowid FROM images NOT INDEXED",
            image,
        );
        let mut places = self.scan(
            "SELECT image_id, position, diff_id, rowid FROM image_layers NOT INDEXED",
            |row| {
                let place: (String, i64) = (row.get(0).ok()?, row.get(1).ok()?);
                Some((place, row.get::<_, String>(2).ok()?.parse::<DiffId>().ok()?))
            },
        );
        places.rows.sort_by(|(one, _), (other, _)| one.cmp(other));
        let mut layers_of: BTreeMap<String, Vec<DiffId>> = BTreeMap::new();
        for ((image, _), layer) in places.rows {
            layers_of.entry(image).or_default().push(layer);
        }
        let mut tags =
            self.names("SELECT image_id, reference, archived, rowid FROM tags NOT INDEXED");
        let mut repo_digests =
            self.names("SELECT image_id, reference, asked, rowid FROM repo_digests NOT INDEXED");
        let layers = self.scan(
            "SELECT diff_id, size_bytes, blob_digest, blob_size, rowid FROM layers NOT INDEXED",
            layer,
        );
        for image in &mut images.rows {
            let id = image.id.to_string();
            image.layers = layers_of.remove(&id).unwrap_or_default();
            name(
                image,
                tags.rows.remove(&id).unwrap_or_default(),
                repo_digests.rows.remove(&id).unwrap_or_default(),
            );
        }
        let (generation, image_generations) = self.generations();
        Salvage {
            generation,
            image_generations,
            is_cut: places.is_cut || tags.is_cut || repo_digests.is_cut || layers.is_cut,
            images: images.rows,
            layers: layers.rows,
            containers: self
                .scan(
                    "SELECT id, name, image_id, definition, volumes, created_ns, status, exit_code, oom_killed, error, started_ns, finished_ns, rowid
                     FROM containers NOT INDEXED",
                    |row| from_row(row).ok(),
                )
                .rows,
            volumes: self
                .scan(
                    "SELECT name, created_ns, labels, anonymous, rowid FROM volumes NOT INDEXED",
                    volume,
                )
                .rows,
        }
    }

    /// Names and whether each has a mark, by the image that they mean.
    fn names(&self, sql: &str) -> Scanned<BTreeMap<String, Vec<(String, bool)>>> {
        let found = self.scan(sql, |row| {
            let name = (row.get(1).ok()?, row.get(2).ok()?);
            Some((row.get::<_, String>(0).ok()?, name))
        });
        let mut names: BTreeMap<String, Vec<(String, bool)>> = BTreeMap::new();
        for (image, name) in found.rows {
            names.entry(image).or_default().push(name);
        }
        Scanned {
            rows: names,
            is_cut: found.is_cut,
        }
    }

    /// Of all changes, and of the images.
    fn generations(&self) -> (Option<i64>, BTreeMap<Digest, i64>) {
        let numbers = self.scan("SELECT key, value, rowid FROM meta NOT INDEXED", |row| {
            Some((row.get::<_, String>(0).ok()?, row.get::<_, i64>(1).ok()?))
        });
        let numbers: BTreeMap<String, i64> = numbers.rows.into_iter().collect();
        let of_images = numbers.iter().filter_map(|(key, number)| {
            let id = key.strip_prefix("image:")?.parse().ok()?;
            Some((id, *number))
        });
        (numbers.get("generation").copied(), of_images.collect())
    }

    /// Every row that `read` makes something of, from both ends up to the first place that is
    /// damaged. The last column that `sql` asks for is the number of the row; in a table that is
    /// whole it grows.
    fn scan<T>(&self, sql: &str, read: impl Fn(&Row<'_>) -> Option<T>) -> Scanned<Vec<T>> {
        let mut found = BTreeMap::new();
        let mut is_cut = false;
        for (order, sign) in [("ASC", 1), ("DESC", -1)] {
            let (mut last, mut is_in_order) = (None, true);
            let scanned = self.db.prepare(&format!("{sql} ORDER BY rowid {order}"));
            let scanned = scanned.and_then(|mut statement| {
                let number = statement.column_count().saturating_sub(1);
                let mut rows = statement.query([])?;
                while let Some(row) = rows.next()? {
                    let rowid: i64 = row.get(number)?;
                    let grows = last.is_none_or(|last: i64| (rowid > last) == (sign > 0));
                    if !grows || last == Some(rowid) || found.contains_key(&rowid) {
                        // a page of another time, or what was found from the other end
                        is_in_order = false;
                        break;
                    }
                    last = Some(rowid);
                    found.insert(rowid, read(row));
                }
                Ok(())
            });
            if scanned.is_ok() && is_in_order {
                break;
            }
            is_cut = true;
        }
        Scanned {
            is_cut: is_cut || found.values().any(Option::is_none),
            rows: found.into_values().flatten().collect(),
        }
    }
}

/// What was found, and whether that may not be all.
struct Scanned<T> {
    rows: T,
    is_cut: bool,
}

/// Gives an image the names that were found, each with its mark.
fn name(image: &mut ImageRow, tags: Vec<(String, bool)>, repo_digests: Vec<(String, bool)>) {
    for (name, is_archived) in tags {
        let Ok(name) = name.parse::<ImageRef>() else {
            continue;
        };
        image
            .archived_tags
            .extend(is_archived.then(|| name.clone()));
        image.tags.push(name);
    }
    for (name, is_asked) in repo_digests {
        let asked = name.parse().ok().filter(|_| is_asked);
        image.asked_digests.extend(asked);
        image.repo_digests.push(name);
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
        archived_tags: Vec::new(),
        repo_digests: Vec::new(),
        asked_digests: Vec::new(),
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
