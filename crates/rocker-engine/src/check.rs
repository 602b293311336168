//! `system check` and `info`: what the host offers, and whether the installation is whole.

use rocker_db::OwnerLock;
use rocker_runtime::check::ProbeStatus;
use rocker_types::ContainerStatus;

use crate::EngineError;
use crate::engine::Engine;

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckStatus {
    /// All is well.
    Ok,
    /// It works, with a restriction.
    Warn,
    /// It does not work.
    Fail,
}

/// One line of `system check`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckLine {
    /// What was looked at.
    pub what: String,
    /// How it stands.
    pub status: CheckStatus,
    /// What was found.
    pub detail: String,
    /// What to do about it.
    pub cure: Option<String>,
}

/// Everything that `system check` found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckReport {
    /// The lines, host first.
    pub lines: Vec<CheckLine>,
}

impl CheckReport {
    /// What the host offers, for who cannot open the installation.
    #[must_use]
    pub fn of_host() -> Self {
        Self { lines: host() }
    }

    /// Whether anything failed.
    #[must_use]
    pub fn has_failures(&self) -> bool {
        self.lines
            .iter()
            .any(|line| line.status == CheckStatus::Fail)
    }

    fn add(&mut self, what: &str, problems: &[String], cure: &str) {
        let ok = problems.is_empty();
        self.lines.push(CheckLine {
            what: what.to_owned(),
            status: if ok {
                CheckStatus::Ok
            } else {
                CheckStatus::Fail
            },
            detail: if ok {
                "whole".to_owned()
            } else {
                problems.join("; ")
            },
            cure: (!ok).then(|| cure.to_owned()),
        });
    }
}

/// Counts and facts for `info`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostFacts {
    /// All containers.
    pub containers: usize,
    /// Those that run.
    pub running: usize,
    /// Those that are frozen.
    pub paused: usize,
    /// Images.
    pub images: usize,
}

/// Whether to put right what is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repair {
    /// Only tell.
    No,
    /// Do it.
    Yes,
}

impl Engine {
    /// Counts of what is here.
    ///
    /// # Errors
    ///
    /// What the databases say.
    pub fn facts(&mut self) -> Result<HostFacts, EngineError> {
        let rows = self.live.containers()?;
        let count =
            |status: ContainerStatus| rows.iter().filter(|row| row.state.status == status).count();
        Ok(HostFacts {
            containers: rows.len(),
            running: count(ContainerStatus::Running),
            paused: count(ContainerStatus::Paused),
            images: self.durable()?.images()?.len(),
        })
    }

    /// Looks at the host and at the installation; with [`Repair::Yes`] what dead owners left
    /// and what no row knows is taken away first.
    ///
    /// # Errors
    ///
    /// What the databases say.
    pub fn check(&mut self, repair: Repair) -> Result<CheckReport, EngineError> {
        let mut report = CheckReport::default();
        report.lines.extend(host());
        if repair == Repair::Yes {
            let failures: Vec<String> = self
                .recover_loudly()?
                .iter()
                .map(ToString::to_string)
                .collect();
            report.add(
                "repair",
                &failures,
                "see the message; some other program may hold on to it",
            );
        }
        let live = self.live.integrity_problems()?;
        report.add(
            "live database",
            &live,
            "stop all containers and reboot: it is made anew",
        );
        let durable = self.durable()?.integrity_problems()?;
        report.add("database", &durable, "restore rocker.db from a backup");
        let missing = self.missing_layers()?;
        report.add("layers", &missing, "pull the images again");
        let orphans = self.orphans()?;
        report.add("leftovers", &orphans, "run `rocker system check --repair`");
        Ok(report)
    }

    fn missing_layers(&mut self) -> Result<Vec<String>, EngineError> {
        let recorded = self.durable()?.layers()?;
        let store = self.store()?;
        Ok(recorded
            .iter()
            .filter(|id| !store.has_layer(id))
            .map(|id| format!("layer {id} is missing"))
            .collect())
    }

    /// What dead owners and interrupted pulls left, if it is still there.
    fn orphans(&mut self) -> Result<Vec<String>, EngineError> {
        let mut orphans = Vec::new();
        for id in self.live.owned_containers()? {
            if !OwnerLock::is_held(&self.layout.container_lock(&id)) {
                orphans.push(format!("container {} has no owner", id.short()));
            }
        }
        let recorded = self.durable()?.layers()?;
        let on_disk = self.store()?.layers()?;
        orphans.extend(
            on_disk
                .iter()
                .filter(|id| !recorded.contains(id))
                .map(|id| format!("layer {id} belongs to no image")),
        );
        Ok(orphans)
    }
}

/// What the kernel and the network offer.
fn host() -> Vec<CheckLine> {
    let runtime = rocker_runtime::check::probe()
        .into_iter()
        .map(|line| CheckLine {
            what: line.what.to_owned(),
            status: match line.status {
                ProbeStatus::Ok => CheckStatus::Ok,
                ProbeStatus::Warn => CheckStatus::Warn,
                ProbeStatus::Fail => CheckStatus::Fail,
            },
            detail: line.detail,
            cure: line.cure,
        });
    let network = rocker_net::check::probe()
        .into_iter()
        .map(|line| CheckLine {
            what: line.what.to_owned(),
            status: match line.status {
                rocker_net::check::ProbeStatus::Ok => CheckStatus::Ok,
                rocker_net::check::ProbeStatus::Warn => CheckStatus::Warn,
                rocker_net::check::ProbeStatus::Fail => CheckStatus::Fail,
            },
            detail: line.detail,
            cure: line.cure,
        });
    runtime.chain(network).collect()
}
