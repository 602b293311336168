//! Images in files, named as the container tools name them: `oci:DIR`, `oci-archive:FILE`,
//! `docker-archive:FILE`.
//!
//! Source: containers-transports(5).

use std::path::PathBuf;

use rocker_engine::{ArchiveFormat, EngineError, FoundBy, LoadedImage, SavedName, TakenNames};
use rocker_types::{DiffId, ImageRef, Platform};

use super::load::{self, LoadWish};
use super::save::write_archive;
use super::{CommandError, Context};
use crate::report;
use crate::ui::human;

/// What the container tools know besides and we do not.
const OTHERS: [&str; 6] = [
    "containers-storage",
    "dir",
    "docker-daemon",
    "ostree",
    "sif",
    "tarball",
];

/// An image in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct InFile {
    kind: Kind,
    path: PathBuf,
    /// What it is called there.
    name: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    OciDirectory,
    Archive(ArchiveFormat),
}

/// Where an image is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place<'a> {
    /// At a registry, or here, under this name.
    Named(&'a str),
    /// In a file.
    InFile(InFile),
}

impl<'a> Place<'a> {
    /// Reads what a user wrote.
    ///
    /// # Errors
    ///
    /// [`CommandError::Transport`] for what only other tools know.
    pub(super) fn read(text: &'a str) -> Result<Self, CommandError> {
        let Some((transport, rest)) = text.split_once(':') else {
            return Ok(Self::Named(text));
        };
        let kind = match transport {
            "docker" if rest.starts_with("//") => {
                return Ok(Self::Named(rest.trim_start_matches('/')));
            }
            "oci" => Kind::OciDirectory,
            "oci-archive" => Kind::Archive(ArchiveFormat::Oci),
            "docker-archive" => Kind::Archive(ArchiveFormat::Docker),
            other if OTHERS.contains(&other) => {
                return Err(CommandError::Transport(other.to_owned()));
            }
            _ => return Ok(Self::Named(text)),
        };
        let (path, name) = match rest.split_once(':') {
            Some((path, name)) => (path, Some(name)),
            None => (rest, None),
        };
        if path.is_empty() || name == Some("") {
            return Err(CommandError::conflict(
                format!("{text:?} is not {transport}:PATH[:NAME]"),
                "give the path of the file or directory",
            ));
        }
        Ok(Self::InFile(InFile {
            kind,
            path: path.into(),
            name: name.map(str::to_owned),
        }))
    }
}

impl InFile {
    /// Takes the image, or all that are there, and gives back the full name of each, or the ID of
    /// one that has none there.
    ///
    /// # Errors
    ///
    /// What the engine says.
    pub(super) fn load(
        self,
        context: &mut Context,
        platform: Option<Platform>,
        quiet: bool,
    ) -> Result<String, CommandError> {
        let tell = teller("Loading", quiet);
        let wish = LoadWish {
            platform,
            only: self.name,
            on_layer: &tell,
            taken: TakenNames::Refuse,
        };
        let source = load::source(&self.path.to_string_lossy())?;
        let loaded = load::take(context, source, wish)?;
        let called = |image: &LoadedImage| match image.names.as_slice() {
            [] => format!("{}\n", image.id),
            names => names.iter().map(|name| name.canonical() + "\n").collect(),
        };
        Ok(loaded.images.iter().map(called).collect())
    }

    /// Writes the image that is called `image` here.
    ///
    /// # Errors
    ///
    /// What the engine says, and a name that the image cannot have there.
    pub(super) fn save(
        self,
        context: &mut Context,
        image: &str,
        quiet: bool,
    ) -> Result<(), CommandError> {
        let engine = context.engine()?;
        let here = engine.image_here(image, None)?;
        let here = here.ok_or_else(|| EngineError::NoSuchImage(image.to_owned()))?;
        let name = self.name.as_deref();
        let name = name.map(|name| self.kind.name_there(&here, name));
        let meant = match &here {
            FoundBy::Name(name) => name.canonical(),
            FoundBy::Id => image.to_owned(),
        };
        let images = engine.one_to_save(&meant, name.transpose()?)?;
        let tell = teller("Saving", quiet);
        match self.kind {
            Kind::OciDirectory => {
                let engine = context.engine()?;
                Ok(engine.add_to_directory(&images, &tell, &self.path)?)
            }
            Kind::Archive(format) => write_archive(&self.path.to_string_lossy(), |output| {
                context.engine()?.save(&images, format, &tell, output)
            }),
        }
    }
}

impl Kind {
    /// What an image is called there, if the user says `name`: that is its full name, or a tag for
    /// the name that it was found by here.
    fn name_there(self, here: &FoundBy, name: &str) -> Result<SavedName, CommandError> {
        let full: Option<ImageRef> = match here {
            _ if name.contains([':', '/', '@']) => Some(name.parse()?),
            FoundBy::Name(here) => Some(format!("{}:{name}", here.familiar_repository()).parse()?),
            FoundBy::Id if ImageRef::is_tag(name) => None,
            FoundBy::Id => {
                return Err(CommandError::conflict(
                    format!("{name:?} is neither a name nor a tag"),
                    "see rocker push --help",
                ));
            }
        };
        match (self, full) {
            (_, Some(full)) if full.digest().is_some() => Err(CommandError::conflict(
                "an image in a file is called by a tag, not by a digest",
                "leave the digest out",
            )),
            (Self::Archive(ArchiveFormat::Docker), Some(full)) => Ok(full.into()),
            (Self::Archive(ArchiveFormat::Docker), None) => Err(CommandError::conflict(
                "a docker archive has no tags without a name, and an ID is none",
                "give the whole name: docker-archive:FILE:NAME:TAG",
            )),
            // others find it by just what the user typed
            (Self::OciDirectory | Self::Archive(ArchiveFormat::Oci), full) => Ok(SavedName {
                full,
                label: name.to_owned(),
            }),
        }
    }
}

fn teller(verb: &'static str, quiet: bool) -> impl Fn(&DiffId, u64) {
    move |layer, bytes| {
        if !quiet {
            let size = human::size(bytes);
            report::note(&format!("{}: {verb} {size}", layer.0.short()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_as_the_container_tools_write_them() {
        let file = |kind, path: &str, name: Option<&str>| {
            Place::InFile(InFile {
                kind,
                path: path.into(),
                name: name.map(str::to_owned),
            })
        };
        let docker = Kind::Archive(ArchiveFormat::Docker);
        for (text, place) in [
            ("alpine", Place::Named("alpine")),
            ("localhost:5000/x:1", Place::Named("localhost:5000/x:1")),
            ("docker://quay.io/x", Place::Named("quay.io/x")),
            ("docker:dind", Place::Named("docker:dind")),
            ("oci:dir", file(Kind::OciDirectory, "dir", None)),
            (
                "oci:/a/b:1.2",
                file(Kind::OciDirectory, "/a/b", Some("1.2")),
            ),
            (
                "oci-archive:f.tar",
                file(Kind::Archive(ArchiveFormat::Oci), "f.tar", None),
            ),
            (
                "docker-archive:f.tar:localhost:5000/x:1",
                file(docker, "f.tar", Some("localhost:5000/x:1")),
            ),
        ] {
            assert_eq!(Place::read(text).unwrap(), place, "{text}");
        }
        for text in [
            "docker-daemon:x:1",
            "containers-storage:x",
            "dir:/x",
            "oci:",
            "oci:x:",
        ] {
            assert!(Place::read(text).is_err(), "{text}");
        }
    }
}
