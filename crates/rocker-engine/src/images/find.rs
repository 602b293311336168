//! Which image a user means.

use std::ffi::OsStr;

use rocker_db::ImageRow;
use rocker_types::{DiffId, Digest, ImageConfig, ImageRef, Platform};

use crate::EngineError;
use crate::engine::Engine;
use crate::resolve::LocalImage;

/// One image as `images` and `inspect` show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageSummary {
    /// Digest of its config.
    pub id: Digest,
    /// Its names.
    pub tags: Vec<ImageRef>,
    /// `repository@digest` as pulled.
    pub repo_digests: Vec<String>,
    /// Bytes of its layers on disk.
    pub size_bytes: u64,
    /// When it came here, nanoseconds since 1970.
    pub pulled_ns: i64,
    /// Names of the containers made from it.
    pub containers: Vec<String>,
    /// Its config.
    pub config: ImageConfig,
}

/// What a user's word for an image turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FoundBy {
    /// One of its names, or the digest that it was pulled by.
    Name(ImageRef),
    /// Its id, or the beginning of that.
    Id,
}

impl Engine {
    /// Every image, newest arrival first.
    ///
    /// # Errors
    ///
    /// What the database says.
    pub fn images(&mut self) -> Result<Vec<ImageSummary>, EngineError> {
        let rows = self.durable()?.images()?;
        rows.into_iter().map(|row| self.summary(row)).collect()
    }

    /// The image of this name, id or unique prefix of an id.
    ///
    /// # Errors
    ///
    /// [`EngineError::NoSuchImage`], [`EngineError::AmbiguousImage`].
    pub fn find_image(&mut self, query: &str) -> Result<ImageSummary, EngineError> {
        let row = self.image_row(query)?;
        self.summary(row)
    }

    /// Whether the image that `query` means is here, for the platform if one is asked for, and
    /// what it is called here.
    ///
    /// # Errors
    ///
    /// [`EngineError::AmbiguousImage`], and what the database says.
    pub fn image_here(
        &mut self,
        query: &str,
        platform: Option<&Platform>,
    ) -> Result<Option<FoundBy>, EngineError> {
        match self.image_meant(query) {
            Ok((row, found_by)) => {
                let config = config(&row)?;
                let found = Platform {
                    os: config.os,
                    architecture: config.architecture,
                    variant: config.variant,
                };
                let fits = platform.is_none_or(|wanted| found.satisfies(wanted));
                Ok(fits.then_some(found_by))
            }
            Err(EngineError::NoSuchImage(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The names that a user's word may mean, the first choice first. Last comes what it means by
    /// itself, since that name may have been given here.
    #[must_use]
    pub fn meanings(&self, word: &str) -> Vec<ImageRef> {
        let mut names = match ImageRef::names_registry(word) {
            true => Vec::new(),
            false => (self.short_names)(word),
        };
        if let Ok(plain) = word.parse()
            && !names.contains(&plain)
        {
            names.push(plain);
        }
        names
    }

    pub(crate) fn local_image(&mut self, query: &str) -> Result<LocalImage, EngineError> {
        let row = self.image_row(query)?;
        let config = config(&row)?;
        if config.rootfs.diff_ids != row.layers {
            let image = row.id.short().to_owned();
            return Err(EngineError::LayersForgotten { image });
        }
        // not every layer of a chain is to be mounted: one may come twice, and one may delete
        // all that is below it
        self.confirm_layers(&row.layers)?;
        let dirs = self.store()?.lower_dirs(&row.layers)?;
        let mounted = |id: &DiffId| {
            dirs.iter()
                .any(|dir| dir.file_name() == Some(OsStr::new(id.hex())))
        };
        let mut layers: Vec<DiffId> = Vec::new();
        for id in row.layers.iter().rev().filter(|id| mounted(id)) {
            if !layers.contains(id) {
                layers.insert(0, id.clone());
            }
        }
        Ok(LocalImage {
            config,
            id: row.id,
            layers,
        })
    }

    /// Believes layers that a boot before this one may have left half written, or refuses them.
    pub(crate) fn confirm_layers(&mut self, layers: &[DiffId]) -> Result<(), EngineError> {
        let limits = self.limits;
        let store = self.store()?;
        for layer in layers {
            if let Some(source) = store.confirm_layer(layer, &limits)?.into_iter().next() {
                let layer = layer.clone();
                return Err(EngineError::LayerLost { layer, source });
            }
        }
        Ok(())
    }

    /// The image that `query` means.
    pub(crate) fn image_row(&mut self, query: &str) -> Result<ImageRow, EngineError> {
        Ok(self.image_meant(query)?.0)
    }

    /// The image that `query` means, and how it says so: a whole id, a name, or the start of an id,
    /// in this order. `beef` may be both an image and the prefix of an id, but a whole id is nobody's
    /// name.
    pub(crate) fn image_meant(&mut self, query: &str) -> Result<(ImageRow, FoundBy), EngineError> {
        let missing = || EngineError::NoSuchImage(query.chars().take(300).collect());
        if let Ok(id) = format!("sha256:{}", query.trim_start_matches("sha256:")).parse::<Digest>()
            && let Some(row) = self.durable()?.image(&id.to_string())?
        {
            return Ok((row, FoundBy::Id));
        }
        for name in self.meanings(query) {
            if let Some(row) = self.durable()?.image_by_reference(&name)? {
                return Ok((row, FoundBy::Name(name)));
            }
        }
        let prefix = query.strip_prefix("sha256:").unwrap_or(query);
        let is_prefix = !prefix.is_empty()
            && prefix.len() <= 64
            && prefix
                .bytes()
                .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if !is_prefix {
            return Err(missing());
        }
        let mut rows = self.durable()?.images_by_prefix(prefix)?;
        match rows.len() {
            0 => Err(missing()),
            1 => Ok((rows.remove(0), FoundBy::Id)),
            _ => Err(EngineError::AmbiguousImage {
                query: query.to_owned(),
                candidates: rows.iter().map(|row| row.id.short().to_owned()).collect(),
            }),
        }
    }

    /// The tags that a repository has here, sorted, with their images: of the first repository
    /// with any that the word may mean.
    pub(crate) fn tagged(&mut self, word: &str) -> Result<Vec<(ImageRef, ImageRow)>, EngineError> {
        let rows = self.durable()?.images()?;
        for repository in self.meanings(word) {
            let mut found: Vec<_> = rows
                .iter()
                .flat_map(|row| row.tags.iter().map(move |tag| (tag, row)))
                .filter(|(tag, _)| repository.is_same_repository(tag))
                .map(|(tag, row)| (tag.clone(), row.clone()))
                .collect();
            if !found.is_empty() {
                found.sort_by(|(one, _), (other, _)| one.cmp(other));
                return Ok(found);
            }
        }
        Ok(Vec::new())
    }

    fn summary(&mut self, row: ImageRow) -> Result<ImageSummary, EngineError> {
        Ok(ImageSummary {
            containers: self.live.users_of_image(&row.id)?,
            config: config(&row)?,
            id: row.id,
            tags: row.tags,
            repo_digests: row.repo_digests,
            size_bytes: row.size_bytes,
            pulled_ns: row.pulled_ns,
        })
    }
}

pub(crate) fn config(row: &ImageRow) -> Result<ImageConfig, EngineError> {
    let unreadable = |source| EngineError::ImageConfig {
        image: row.id.short().to_owned(),
        source,
    };
    serde_json::from_str(&row.config).map_err(unreadable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, installation};

    fn meant_elsewhere(word: &str) -> Vec<ImageRef> {
        let names = ["one.example", "other.example"].map(|at| format!("{at}/{word}"));
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    #[test]
    fn a_short_name_is_looked_for_where_images_come_from_and_then_here() {
        let (_dir, mut engine) = installation();
        engine.set_short_names(meant_elsewhere);
        let found = |engine: &mut Engine, word: &str| match engine.image_meant(word).unwrap() {
            (_, FoundBy::Name(name)) => name.canonical(),
            (row, FoundBy::Id) => row.id.to_string(),
        };

        let given = testing::image(&mut engine, "docker.io/library/app:1");
        assert_eq!(found(&mut engine, "app:1"), "docker.io/library/app:1");
        testing::image(&mut engine, "other.example/app:1");
        assert_eq!(found(&mut engine, "app:1"), "other.example/app:1");
        testing::image(&mut engine, "one.example/app:1");
        assert_eq!(found(&mut engine, "app:1"), "one.example/app:1");

        let in_full = "docker.io/library/app:1";
        assert_eq!(found(&mut engine, in_full), in_full);
        let id = given.to_string();
        assert_eq!(found(&mut engine, &id), id);
        let missing = engine.image_here("app:2", None).unwrap();
        assert_eq!(missing, None);
    }

    #[test]
    fn an_image_whose_layers_the_database_has_lost_is_not_run_without_them() {
        let (_dir, mut engine) = installation();
        let id = testing::image(&mut engine, "a:1");
        engine.local_image("a:1").unwrap();
        let config = format!(
            r#"{{"architecture":"amd64","os":"linux","rootfs":{{"type":"layers","diff_ids":["{id}"]}}}}"#
        );
        let new = rocker_db::NewImage {
            id: &id,
            config: &config,
            manifest_digest: None,
            layers: &[],
            reference: None,
            repo_digest: None,
            pulled_ns: 1,
        };
        engine.record_image(&new).unwrap();

        let refused = engine.local_image("a:1").map(|image| image.layers);

        assert!(
            matches!(refused, Err(EngineError::LayersForgotten { .. })),
            "{refused:?}"
        );
    }

    #[test]
    fn the_tags_of_a_short_name_are_those_of_one_repository() {
        let (_dir, mut engine) = installation();
        engine.set_short_names(meant_elsewhere);
        for name in ["app:1", "other.example/app:3", "other.example/app:2"] {
            testing::image(&mut engine, name);
        }
        let tags = engine.tags_of("app").unwrap();
        let tags: Vec<_> = tags.iter().map(ImageRef::canonical).collect();
        assert_eq!(tags, ["other.example/app:2", "other.example/app:3"]);

        let archived = engine.images_to_save(&["app".to_owned()]).unwrap();
        assert_eq!(archived.len(), 2);
    }
}
