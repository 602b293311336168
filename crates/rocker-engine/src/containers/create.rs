//! `create`, and the first half of `run`.

use rocker_db::{Intent, IntentKind, NewContainer, OwnerLock};
use rocker_types::{ContainerId, ContainerName, VolumeName, VolumeSource, random_name};

use super::start::BUSY_PATIENCE;
use crate::EngineError;
use crate::clock::now_ns;
use crate::crash::{self, CrashPoint};
use crate::definition::Definition;
use crate::engine::{Engine, new_id, new_volume_name, random};
use crate::request::CreateRequest;
use crate::resolve::resolve;

/// A container that exists now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreatedContainer {
    /// Its id.
    pub id: ContainerId,
    /// Its name, given or made up.
    pub name: ContainerName,
}

/// A container decided upon but not recorded yet.
pub(crate) struct Draft {
    pub(crate) id: ContainerId,
    pub(crate) definition: Definition,
    json: String,
    name: Option<ContainerName>,
    volumes: Vec<VolumeName>,
    /// Held from before the first record until the container is handed on.
    pub(crate) lock: OwnerLock,
}

/// How often a made-up name may turn out to be taken.
const NAME_ATTEMPTS: u32 = 20;

impl Engine {
    /// Makes a container without starting it. The image is here already.
    ///
    /// # Errors
    ///
    /// [`EngineError::NoSuchImage`], [`EngineError::Resolve`], and a name that is taken.
    pub fn create(&mut self, request: &CreateRequest) -> Result<CreatedContainer, EngineError> {
        let draft = self.draft(request)?;
        let creation = Intent {
            kind: IntentKind::Creation,
            resource: draft.id.to_string(),
        };
        let name = self
            .record_draft(&draft, |tx| Ok(tx.intend(&draft.id, &creation)?))?
            .0;
        crash::point(CrashPoint::CreateAfterInsert);
        if let Err(error) = self.complete(&draft) {
            drop(draft.lock);
            self.recover_after(&error);
            return Err(error);
        }
        Ok(CreatedContainer { id: draft.id, name })
    }

    /// What a recorded container takes to outlast a reboot.
    fn complete(&mut self, draft: &Draft) -> Result<(), EngineError> {
        self.make_volumes(&draft.definition)?;
        let row = self.live.container(&draft.id)?;
        if row.kept {
            self.durable()?.record_container(&row, &draft.volumes)?;
            self.keep_container(&row, &draft.volumes);
        }
        crash::point(CrashPoint::CreateAfterDurable);
        let tx = self.live.begin()?;
        tx.mark_durable(&draft.id)?;
        tx.release(&draft.id)?;
        Ok(tx.commit()?)
    }

    /// Decides everything about a new container and takes its lock.
    pub(crate) fn draft(&mut self, request: &CreateRequest) -> Result<Draft, EngineError> {
        let image = self.local_image(&request.image)?;
        let id = new_id()?;
        let mut definition = resolve(request, &image, &id)?;
        for mount in definition.mounts.iter_mut().filter(|mount| mount.anonymous) {
            mount.spec.source = VolumeSource::Named(new_volume_name()?);
        }
        make_bind_sources(&definition)?;
        let lock_path = self.layout.container_lock(&id);
        let busy = || EngineError::Busy {
            container: id.short().to_owned(),
        };
        // nobody knows the id, but who recovers takes each lock for a moment to look
        let lock = OwnerLock::take_within(&lock_path, BUSY_PATIENCE)?.ok_or_else(busy)?;
        let unreadable = |source| EngineError::Definition {
            container: id.short().to_owned(),
            source,
        };
        let json = serde_json::to_string(&definition).map_err(unreadable)?;
        let volumes = definition.volumes();
        Ok(Draft {
            id,
            definition,
            json,
            name: request.name.clone(),
            volumes,
            lock,
        })
    }

    /// Records the container and whatever `also` writes, in one transaction. Returns the
    /// name it got.
    pub(crate) fn record_draft<T>(
        &mut self,
        draft: &Draft,
        also: impl Fn(&rocker_db::LiveTransaction<'_>) -> Result<T, EngineError>,
    ) -> Result<(ContainerName, T), EngineError> {
        let mut attempt = 0;
        loop {
            let name = match &draft.name {
                Some(name) => name.clone(),
                None => random_name(u64::from_ne_bytes(random()?), attempt),
            };
            match self.try_record(draft, &name, &also) {
                Err(EngineError::Db(rocker_db::DbError::NameTaken { holder, .. }))
                    if draft.name.is_none() && attempt < NAME_ATTEMPTS =>
                {
                    tracing::debug!(%name, %holder, "made-up name is taken");
                    attempt += 1;
                }
                Err(EngineError::Db(rocker_db::DbError::NameTaken { holder, .. }))
                    if self.is_on_its_way_out(&holder)? => {}
                Err(EngineError::Db(rocker_db::DbError::PortTaken { holder, .. }))
                    if self.has_freed_its_ports(&holder)? => {}
                Err(e) => return Err(e),
                Ok(extra) => return Ok((name, extra)),
            }
        }
    }

    fn try_record<T>(
        &mut self,
        draft: &Draft,
        name: &ContainerName,
        also: &impl Fn(&rocker_db::LiveTransaction<'_>) -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        let definition = &draft.definition;
        let (live, durable) = self.databases()?;
        let tx = live.begin()?;
        // `rmi` deletes while it holds a write transaction on the live database too
        if durable.image(&definition.image_id.to_string())?.is_none() {
            return Err(EngineError::NoSuchImage(definition.image.clone()));
        }
        tx.insert(&NewContainer {
            id: &draft.id,
            name,
            kept: !definition.auto_remove,
            image_id: Some(&definition.image_id),
            definition: &draft.json,
            created_ns: now_ns(),
            volumes: &draft.volumes,
        })?;
        let extra = also(&tx)?;
        tx.commit()?;
        Ok(extra)
    }
}

/// Missing directories are made, as docker does; what is there stays as it is.
fn make_bind_sources(definition: &Definition) -> Result<(), EngineError> {
    for mount in &definition.mounts {
        let VolumeSource::Bind(path) = &mount.spec.source else {
            continue;
        };
        if fs_err::metadata(path).is_err() {
            fs_err::create_dir_all(path).map_err(|e| EngineError::BindSource(path.clone(), e))?;
        }
    }
    Ok(())
}
