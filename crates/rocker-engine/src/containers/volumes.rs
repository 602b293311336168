//! Volumes: directories that outlive containers.

use std::collections::BTreeMap;
use std::path::PathBuf;

use rocker_db::VolumeRow;
use rocker_types::{ContainerId, VolumeName};

use crate::EngineError;
use crate::clock::now_ns;
use crate::crash::{self, CrashPoint};
use crate::definition::Definition;
use crate::engine::{Engine, ensure_own_directory, new_volume_name};
use crate::sweep::VOLUME_TRASH;

/// A volume as `volume ls` and `inspect` show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// Its name.
    pub name: VolumeName,
    /// Where its content is.
    pub mountpoint: PathBuf,
    /// Nanoseconds since 1970.
    pub created_ns: i64,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

impl Engine {
    /// Makes a volume; one that exists already is a success, as in docker.
    ///
    /// # Errors
    ///
    /// [`EngineError::File`] and what the database says.
    pub fn create_volume(
        &mut self,
        name: Option<VolumeName>,
        labels: BTreeMap<String, String>,
    ) -> Result<VolumeName, EngineError> {
        let anonymous = name.is_none();
        let name = match name {
            Some(name) => name,
            None => new_volume_name()?,
        };
        self.ensure_volume(VolumeRow {
            name: name.clone(),
            created_ns: now_ns(),
            labels,
            anonymous,
        })?;
        Ok(name)
    }

    /// Every volume by name.
    ///
    /// # Errors
    ///
    /// What the database says.
    pub fn volumes(&mut self) -> Result<Vec<Volume>, EngineError> {
        let rows = self.durable()?.volumes()?;
        Ok(rows.into_iter().map(|row| self.volume(row)).collect())
    }

    /// The volume of this name.
    ///
    /// # Errors
    ///
    /// [`EngineError::NoSuchVolume`].
    pub fn find_volume(&mut self, name: &str) -> Result<Volume, EngineError> {
        let missing = || EngineError::NoSuchVolume(name.to_owned());
        let parsed: VolumeName = name.parse().map_err(|_| missing())?;
        let row = self.durable()?.volume(&parsed)?.ok_or_else(missing)?;
        Ok(self.volume(row))
    }

    fn volume(&self, row: VolumeRow) -> Volume {
        let mountpoint = self.layout.volume(&row.name).join(crate::VOLUME_DATA);
        Volume {
            name: row.name,
            mountpoint,
            created_ns: row.created_ns,
            labels: row.labels,
        }
    }

    /// Deletes a volume that no container mounts.
    ///
    /// # Errors
    ///
    /// [`EngineError::VolumeInUse`] with the containers, [`EngineError::NoSuchVolume`].
    pub fn remove_volume(&mut self, name: &VolumeName) -> Result<(), EngineError> {
        let users = self.live.users_of_volume(name)?;
        self.wait_for_outgoing(|row| users.iter().any(|user| user == row.name.as_str()))?;
        self.delete_volume(name, None)
    }

    /// Deletes a volume of a container that goes; one that others mount stays.
    pub(crate) fn remove_volume_of(
        &mut self,
        name: &VolumeName,
        container: &ContainerId,
    ) -> Result<(), EngineError> {
        match self.delete_volume(name, Some(container)) {
            Ok(()) | Err(EngineError::VolumeInUse { .. } | EngineError::NoSuchVolume(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn delete_volume(
        &mut self,
        name: &VolumeName,
        but: Option<&ContainerId>,
    ) -> Result<(), EngineError> {
        self.want_sweep()?;
        let dir = self.layout.volume(name);
        let trash = self.layout.volumes().join(format!("{VOLUME_TRASH}{name}"));
        let (live, durable) = self.databases()?;
        // while this is held, no container can be made that mounts it
        let tx = live.begin()?;
        let own = but
            .and_then(|id| tx.container(id).ok())
            .map(|row| row.name.to_string());
        let mut users = tx.users_of_volume(name)?;
        users.retain(|user| Some(user) != own.as_ref());
        if !users.is_empty() {
            return Err(EngineError::VolumeInUse {
                volume: name.to_string(),
                users,
            });
        }
        // renamed first: a volume is there as a whole or not at all
        match fs_err::rename(&dir, &trash) {
            Ok(()) => {}
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(EngineError::file("delete", dir)(e)),
        }
        let existed = durable.delete_volume(name)?;
        drop(tx);
        crash::point(CrashPoint::VolumeRemoveAfterRecord);
        match but {
            // a person waits for the answer, nobody for the end of a container
            None => self.discard(&trash)?,
            Some(_) => self.remove_tree(&trash)?,
        }
        if existed {
            Ok(())
        } else {
            Err(EngineError::NoSuchVolume(name.to_string()))
        }
    }

    /// Makes the volumes that a container mounts, as far as they are missing, and fills the
    /// new ones from the image.
    pub(crate) fn make_volumes(&mut self, definition: &Definition) -> Result<(), EngineError> {
        use rocker_types::VolumeSource;
        for mount in &definition.mounts {
            let VolumeSource::Named(name) = &mount.spec.source else {
                continue;
            };
            let row = VolumeRow {
                name: name.clone(),
                created_ns: now_ns(),
                labels: BTreeMap::new(),
                anonymous: mount.anonymous,
            };
            self.ensure_volume(row)?;
            if !mount.spec.no_copy {
                let dir = self.layout.volume(name);
                crate::copy_up::fill(&self.layout, &definition.layers, &mount.spec.target, &dir)
                    .map_err(|source| EngineError::CopyUp {
                        volume: name.to_string(),
                        source,
                    })?;
            }
        }
        Ok(())
    }

    pub(crate) fn ensure_volume(&mut self, row: VolumeRow) -> Result<(), EngineError> {
        let dir = self.layout.volume(&row.name);
        let is_new = self.durable()?.ensure_volume(&row)?;
        crash::point(CrashPoint::VolumeAfterRecord);
        ensure_own_directory(&self.layout.volumes())?;
        for dir in [dir.clone(), dir.join(crate::VOLUME_DATA)] {
            match fs_err::create_dir(&dir) {
                Ok(()) => {}
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(EngineError::file("make", dir)(e)),
            }
        }
        if is_new {
            self.keep_volume(&row);
        }
        Ok(())
    }
}
