//! Undoing: what every end of a container has in common, however it came.
//!
//! Each step is idempotent and names its resource from the container's id, so the monitor at
//! a normal end, a command that finds a dead monitor, and `system check --repair` run the
//! same lines; but for the interface, which a monitor removes last, by its number. Every step runs even when another fails; what failed is reported, and its
//! intent stays for the next attempt.

use std::ffi::CString;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use rocker_db::ContainerRow;
use rocker_net::{Attachment, HostInterface, TeardownError};
use rocker_runtime::cgroup::{Cgroup, CgroupLayout, CgroupName};
use rocker_types::{ContainerId, VolumeName};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::EngineError;
use crate::crash::{self, CrashPoint};
use crate::engine::Engine;
use crate::network::{self, Population};

/// Runs every step even when some fail, and remembers which did.
#[derive(Debug, Default)]
struct Steps {
    failures: Vec<String>,
}

impl Steps {
    fn run<E: std::error::Error>(&mut self, what: &str, undo: Result<(), E>) {
        let Err(error) = undo else { return };
        let mut text = format!("{what}: {error}");
        let mut next = error.source();
        while let Some(cause) = next {
            text.push_str(&format!(": {cause}"));
            next = cause.source();
        }
        self.failures.push(text);
    }

    fn finish(self, id: &ContainerId) -> Result<(), EngineError> {
        if self.failures.is_empty() {
            Ok(())
        } else {
            Err(EngineError::Teardown {
                container: id.short().to_owned(),
                failures: self.failures,
            })
        }
    }
}

impl Engine {
    /// Kills what still runs, then takes the container off its network, and its cgroup away.
    /// The bridge stays: see [`let_bridge_go`](Self::let_bridge_go).
    pub(crate) fn undo_network_and_cgroup(&mut self, id: &ContainerId) -> Result<(), EngineError> {
        self.undo_run(id, rocker_net::leave, rocker_net::remove_interface_of)
    }

    /// The same, but for the container's interface: its monitor removes that later, unless it
    /// goes with the container's namespace before.
    pub(crate) fn undo_ports_and_cgroup(&mut self, id: &ContainerId) -> Result<(), EngineError> {
        self.undo_run(id, rocker_net::withdraw, |_| Ok(()))
    }

    fn undo_run(
        &mut self,
        id: &ContainerId,
        undo_network: fn(&Attachment) -> Result<(), TeardownError>,
        without_lease: fn(&ContainerId) -> Result<(), TeardownError>,
    ) -> Result<(), EngineError> {
        let mut steps = Steps::default();
        match network::attachment(self, id)? {
            Some(attachment) => steps.run("network", undo_network(&attachment)),
            // its monitor may have died between giving the address back and its very end
            None if network::bridge(self)?.is_some() => steps.run("network", without_lease(id)),
            None => {}
        }
        crash::point(CrashPoint::TeardownAfterNetwork);
        let layout = CgroupLayout::detect().map_err(|source| EngineError::Cgroups { source })?;
        let cgroup = Cgroup::open(&layout, &CgroupName::new(id));
        if cgroup.exists() {
            steps.run("processes", cgroup.kill_all());
            steps.run("cgroup", cgroup.remove());
        }
        crash::point(CrashPoint::TeardownAfterCgroup);
        steps.finish(id)
    }

    /// Takes away everything that a run made.
    pub(crate) fn take_away(&mut self, id: &ContainerId) -> Result<(), EngineError> {
        self.undo_network_and_cgroup(id)?;
        self.remove_run_dir(id)
    }

    /// Removes the run directory, the last thing that a run made.
    pub(crate) fn remove_run_dir(&self, id: &ContainerId) -> Result<(), EngineError> {
        self.remove_tree(&self.layout.run_dir(id))?;
        crash::point(CrashPoint::TeardownAfterRunDir);
        Ok(())
    }

    /// Frees address and ports, once nothing of the run is left but, perhaps, its interface.
    pub(crate) fn release(&mut self, id: &ContainerId) -> Result<(), EngineError> {
        let tx = self.live.begin()?;
        tx.release(id)?;
        tx.commit()?;
        crash::point(CrashPoint::TeardownAfterRelease);
        Ok(())
    }

    /// Removes the bridge if no container is on it any more.
    pub(crate) fn let_bridge_go(&mut self) -> Result<(), EngineError> {
        if !self.live.bridge_may_be_idle()? {
            return Ok(());
        }
        let Some(bridge) = network::bridge(self)? else {
            return Ok(());
        };
        let mut population = Population {
            live: &mut self.live,
        };
        rocker_net::sweep(&bridge, &mut population)
            .map_err(|source| EngineError::NetworkLeft { source })
    }

    /// A monitor's last act: removes what its container had on the bridge, and then the bridge if
    /// nobody comes for a while, so that containers that are run one after the other find it
    /// still there.
    pub(crate) fn leave_bridge(
        &mut self,
        interface: Option<HostInterface>,
        linger: Duration,
    ) -> Result<(), EngineError> {
        let bridge = match network::bridge(self)? {
            Some(bridge) if interface.is_some() || self.live.bridge_may_be_idle()? => bridge,
            _ => return Ok(()),
        };
        let mut population = Population {
            live: &mut self.live,
        };
        rocker_net::depart(&bridge, interface, linger, &mut population)
            .map_err(|source| EngineError::NetworkLeft { source })
    }

    /// Writes a kept container down as it stands.
    pub(crate) fn write_down(&mut self, id: &ContainerId) -> Result<(), EngineError> {
        let row = self.live.container(id)?;
        let volumes = self.live.volumes_of(id)?;
        self.durable()?.record_container(&row, &volumes)?;
        self.keep_container(&row, &volumes);
        if !row.durable {
            let tx = self.live.begin()?;
            tx.mark_durable(id)?;
            tx.commit()?;
        }
        Ok(())
    }

    /// Forgets a container whose resources are gone: files, anonymous volumes, rows. Its
    /// name is free when this returns.
    pub(crate) fn forget(&mut self, row: &ContainerRow) -> Result<(), EngineError> {
        let anonymous = self.anonymous_volumes(row);
        self.forget_with(row, &anonymous)
    }

    /// The volumes that were made for a container alone; none if its definition is unreadable.
    pub(crate) fn anonymous_volumes(&self, row: &ContainerRow) -> Vec<VolumeName> {
        self.definition(row)
            .map(|definition| definition.anonymous_volumes())
            .unwrap_or_default()
    }

    /// As [`forget`](Self::forget), with the volumes to delete given.
    pub(crate) fn forget_with(
        &mut self,
        row: &ContainerRow,
        volumes: &[VolumeName],
    ) -> Result<(), EngineError> {
        if let Some(image) = &row.image_id {
            self.note_use_of_image(image);
        }
        // not asked of `row.durable`: its writer may have been killed before it could say so
        if row.kept {
            self.mark_removed(&row.id)?;
            self.durable()?.delete_container(&row.id)?;
        }
        crash::point(CrashPoint::RemoveAfterDurable);
        // first, so that a power failure leaves no content without the mark
        self.remove_tree(&self.layout.container(&row.id).join("upper"))?;
        self.remove_tree(&self.layout.container(&row.id))?;
        crash::point(CrashPoint::RemoveAfterDirectory);
        for volume in volumes {
            self.remove_volume_of(volume, &row.id)?;
        }
        crash::point(CrashPoint::RemoveAfterVolumes);
        let tx = self.live.begin()?;
        tx.delete(&row.id)?;
        tx.commit()?;
        crash::point(CrashPoint::RemoveAfterDelete);
        Ok(())
    }

    /// After a power failure only this tells a directory that was to go from one whose row was
    /// lost. It is on disk when the row is gone: that commit waits for the file system's journal.
    fn mark_removed(&self, id: &ContainerId) -> Result<(), EngineError> {
        let mark = crate::spare::removed_mark(&self.layout, id);
        match fs_err::write(&mark, "") {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(EngineError::file("write", mark)(error))
            }
            _ => Ok(()),
        }
    }

    /// Deletes a directory of rocker's own, never across a mount. A missing one is fine.
    pub(crate) fn remove_tree(&self, path: &std::path::Path) -> Result<(), EngineError> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Ok(());
        };
        // what is no directory any more, perhaps a FIFO, has nothing below
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let parent = match rustix::fs::open(parent, flags, Mode::empty()) {
            Ok(parent) => parent,
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
            Err(errno) => return Err(EngineError::file("open", parent)(errno.into())),
        };
        let gone = CString::new(name.as_bytes())
            .map_err(Into::into)
            .and_then(|name| rocker_sys::tree::remove_tree(parent.as_fd(), &name));
        gone.map_err(EngineError::file("delete", path))
    }
}
