//! `start`, and the second half of `run`.

use std::time::Duration;

use rocker_db::{
    ContainerRow, DbError, Intent, IntentKind, LiveTransaction, NetworkRow, OwnerLock, StartClaim,
};
use rocker_runtime::cgroup::CgroupName;
use rocker_types::{ContainerId, ContainerName, ContainerQuery, ContainerStatus, Layout};

use super::spawn::{self, Attach};
use crate::control::Session;
use crate::crash::{self, CrashPoint};
use crate::definition::{Definition, NetworkMode};
use crate::engine::Engine;
use crate::report::Report;
use crate::request::CreateRequest;
use crate::{EngineError, network};

/// Whether the caller stays connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartMode {
    /// It runs on its own.
    Detached,
    /// Output (and input, if the container takes any) goes through the returned session.
    Attached,
}

/// A container whose program runs.
#[derive(Debug)]
pub struct Started {
    /// Its id.
    pub id: ContainerId,
    /// Its name.
    pub name: ContainerName,
    /// The conversation with its monitor, if the start was attached.
    pub session: Option<Session>,
    /// Whether it has a terminal.
    pub tty: bool,
}

/// A container whose claims are recorded and whose monitor is to be spawned.
struct Launch<'a> {
    id: &'a ContainerId,
    name: ContainerName,
    definition: &'a Definition,
}

/// How long a command waits for another one that works on the same container.
pub(crate) const BUSY_PATIENCE: Duration = Duration::from_secs(15);

impl Engine {
    /// Makes a container and starts it: what `run` does once the image is here.
    ///
    /// # Errors
    ///
    /// As [`create`](Engine::create) and [`start`](Engine::start). A container that never
    /// ran is kept for inspection unless it was to be removed with its end.
    pub fn run(
        &mut self,
        request: &CreateRequest,
        mode: StartMode,
    ) -> Result<Started, EngineError> {
        let draft = self.draft(request)?;
        crash::point(CrashPoint::RunBeforeClaim);
        let network = self.network_for(&draft.definition)?;
        let layout = self.layout.clone();
        let (name, ()) = self.record_draft(&draft, |tx| {
            claim(tx, &layout, &draft.id, &draft.definition, network.as_ref())
        })?;
        crash::point(CrashPoint::RunAfterClaim);
        self.make_volumes_or_undo(&draft.definition, draft.lock)
            .and_then(|lock| {
                crash::point(CrashPoint::RunAfterVolumes);
                let launch = Launch {
                    id: &draft.id,
                    name,
                    definition: &draft.definition,
                };
                self.launch(launch, lock, mode)
            })
    }

    /// Starts a container that exists. One that runs already is left alone, and attached to
    /// if that was asked.
    ///
    /// # Errors
    ///
    /// [`EngineError::Monitor`] with the reason when the program does not run.
    pub fn start(
        &mut self,
        query: &ContainerQuery,
        mode: StartMode,
    ) -> Result<Started, EngineError> {
        let row = self.live.find(query)?;
        let Some((row, lock)) = self.lock_to_start(&row)? else {
            let session = match mode {
                StartMode::Attached => Some(self.session(&row)?),
                StartMode::Detached => None,
            };
            let tty = self.definition(&row)?.tty;
            return Ok(Started {
                id: row.id,
                name: row.name,
                session,
                tty,
            });
        };
        let definition = self.definition(&row)?;
        self.confirm_layers(&definition.layers)?;
        self.claim_again(&row.id, &definition)?;
        let lock = self.make_volumes_or_undo(&definition, lock)?;
        self.launch(
            Launch {
                id: &row.id,
                name: row.name,
                definition: &definition,
            },
            lock,
            mode,
        )
    }

    /// Takes what a container that exists needs for one more start.
    fn claim_again(
        &mut self,
        id: &ContainerId,
        definition: &Definition,
    ) -> Result<(), EngineError> {
        let network = self.network_for(definition)?;
        let layout = self.layout.clone();
        loop {
            let tx = self.live.begin()?;
            match claim(&tx, &layout, id, definition, network.as_ref()) {
                Ok(()) => return Ok(tx.commit()?),
                Err(EngineError::Db(DbError::PortTaken { port, holder })) => {
                    drop(tx);
                    if !self.has_freed_its_ports(&holder)? {
                        return Err(DbError::PortTaken { port, holder }.into());
                    }
                }
                Err(e) => return Err(e),
            }
        }
    }

    /// Makes the volumes; when that fails, what was claimed is given back at once.
    fn make_volumes_or_undo(
        &mut self,
        definition: &Definition,
        lock: OwnerLock,
    ) -> Result<OwnerLock, EngineError> {
        match self.make_volumes(definition) {
            Ok(()) => Ok(lock),
            Err(error) => {
                drop(lock);
                self.recover_after(&error);
                Err(error)
            }
        }
    }

    /// Takes the container's lock and reads the container as it is then; `None` when it runs
    /// already.
    fn lock_to_start(
        &mut self,
        row: &ContainerRow,
    ) -> Result<Option<(ContainerRow, OwnerLock)>, EngineError> {
        let path = self.layout.container_lock(&row.id);
        let end = std::time::Instant::now() + BUSY_PATIENCE;
        loop {
            if let Some(lock) = OwnerLock::take_within(&path, Duration::from_millis(2))? {
                // its owner may have died since this command began
                self.put_right(&row.id)?;
                return Ok(Some((self.live.container(&row.id)?, lock)));
            }
            match self.live.container(&row.id)?.state.status {
                ContainerStatus::Running
                | ContainerStatus::Paused
                | ContainerStatus::Restarting => return Ok(None),
                ContainerStatus::Created
                | ContainerStatus::Exited
                | ContainerStatus::Removing
                | ContainerStatus::Dead => {}
            }
            if std::time::Instant::now() >= end {
                return Err(EngineError::Busy {
                    container: row.name.to_string(),
                });
            }
        }
    }

    /// Spawns the monitor and waits for its word.
    fn launch(
        &mut self,
        launch: Launch<'_>,
        lock: OwnerLock,
        mode: StartMode,
    ) -> Result<Started, EngineError> {
        let Launch {
            id,
            name,
            definition,
        } = launch;
        let attach = match mode {
            StartMode::Detached => Attach::No,
            StartMode::Attached => Attach::Yes {
                stdin: definition.open_stdin,
            },
        };
        let spawned = match spawn::monitor(&self.layout, id, lock, attach) {
            Ok(spawned) => spawned,
            Err(error) => {
                self.recover_after(&error);
                return Err(error);
            }
        };
        crash::point(CrashPoint::RunAfterSpawn);
        match crate::report::receive(spawned.report) {
            Some(Report::Started) => Ok(Started {
                id: id.clone(),
                name,
                session: spawned.session,
                tty: definition.tty,
            }),
            Some(Report::Failed(source)) => {
                // the monitor undoes its work before it lets go of the lock
                drop(OwnerLock::take_within(
                    &self.layout.container_lock(id),
                    BUSY_PATIENCE,
                ));
                Err(EngineError::Monitor {
                    container: name.to_string(),
                    source,
                })
            }
            None => {
                // it is dying, and lets go of the lock after the pipe
                drop(OwnerLock::take_within(
                    &self.layout.container_lock(id),
                    BUSY_PATIENCE,
                ));
                let died = EngineError::MonitorDied {
                    container: name.to_string(),
                };
                self.recover_after(&died);
                Err(died)
            }
        }
    }

    /// The network that the container gets an address from, recorded on first use.
    fn network_for(&mut self, definition: &Definition) -> Result<Option<NetworkRow>, EngineError> {
        match definition.network {
            NetworkMode::Bridge => match self.live.network(network::DEFAULT)? {
                Some(network) => Ok(Some(network)),
                None => network::choose(&self.layout).map(Some),
            },
            NetworkMode::None | NetworkMode::Host => Ok(None),
        }
    }

    /// What a container was decided to be.
    pub(crate) fn definition(&self, row: &ContainerRow) -> Result<Definition, EngineError> {
        let unreadable = |source| EngineError::Definition {
            container: row.name.to_string(),
            source,
        };
        serde_json::from_str(&row.definition).map_err(unreadable)
    }
}

/// Takes address and ports and writes down what will be made, before any of it is.
fn claim(
    tx: &LiveTransaction<'_>,
    layout: &Layout,
    id: &ContainerId,
    definition: &Definition,
    network: Option<&NetworkRow>,
) -> Result<(), EngineError> {
    let network = network
        .map(|network| tx.ensure_network(network))
        .transpose()?;
    let mut intents = vec![
        Intent {
            kind: IntentKind::RunDir,
            resource: layout.run_dir(id).display().to_string(),
        },
        Intent {
            kind: IntentKind::Cgroup,
            resource: CgroupName::new(id).to_string(),
        },
    ];
    if let Some(network) = &network {
        intents.push(Intent {
            kind: IntentKind::Network,
            resource: network.bridge.clone(),
        });
    }
    let network = network.as_ref().map(|network| network.name.as_str());
    tx.claim(&StartClaim {
        id,
        network,
        ports: &definition.ports,
        intents: &intents,
    })?;
    Ok(())
}
