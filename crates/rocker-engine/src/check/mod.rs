//! `system check` and `info`: what the host offers, and whether the installation is whole.

mod database;
mod images;
mod leftovers;
mod live;
mod refetch;
mod rows;

use rocker_image::registry::{Endpoint, PullProgress};
use rocker_image::store::Depth;
use rocker_runtime::check::ProbeStatus;
use rocker_types::{ContainerStatus, Diagnose as _, ImageRef};

use crate::EngineError;
use crate::engine::Engine;

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckStatus {
    /// All is well.
    Ok,
    /// It was not well, and has been put right.
    Mended,
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

    fn line(&mut self, what: &str, status: CheckStatus, detail: impl Into<String>) {
        self.lines.push(CheckLine {
            what: what.to_owned(),
            status,
            detail: detail.into(),
            cure: None,
        });
    }

    fn fail(&mut self, what: &str, detail: impl Into<String>, cure: Option<String>) {
        self.lines.push(CheckLine {
            what: what.to_owned(),
            status: CheckStatus::Fail,
            detail: detail.into(),
            cure,
        });
    }

    /// What could not even be looked at.
    fn fail_with(&mut self, what: &str, error: &EngineError) {
        self.fail(what, crate::report::chain(error), error.hint());
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

/// What a check is to do.
pub struct CheckRequest<'a> {
    /// Whether to put right what is found.
    pub repair: Repair,
    /// How closely to look at layers.
    pub depth: Depth,
    /// Where an image may be that has to be fetched again, in the order in which to ask; or why
    /// that cannot be said.
    pub places: &'a dyn Fn(&ImageRef) -> Result<Vec<Endpoint>, String>,
    /// Listens to what is fetched.
    pub progress: &'a dyn PullProgress,
    /// Asked while layers are looked at and the network is waited for.
    pub cancelled: &'a dyn Fn() -> bool,
}

impl std::fmt::Debug for CheckRequest<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CheckRequest")
            .field("repair", &self.repair)
            .field("depth", &self.depth)
            .finish_non_exhaustive()
    }
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

    /// Looks at the host and at the installation. With [`Repair::Yes`] what is wrong is put right
    /// as far as it can be: what dead owners left goes, a damaged database is made anew from what
    /// is on disk, damaged layers are fetched again. Nothing is thrown away that somebody may
    /// want.
    ///
    /// The installation is to be [opened as it is](Engine::open_as_is).
    ///
    /// # Errors
    ///
    /// What the databases and the store say where nothing more can be found out.
    pub fn check(&mut self, request: &CheckRequest<'_>) -> Result<CheckReport, EngineError> {
        let mut report = CheckReport::default();
        report.lines.extend(host());
        if !self.check_database(request.repair, &mut report)? {
            return Ok(report);
        }
        let damage = self.live_damage()?;
        let cure = "run `rocker system check --repair` while no container runs: it is made anew";
        report.add("live database", damage.as_slice(), cure);
        if damage.is_some() {
            return Ok(report);
        }
        if request.repair == Repair::Yes {
            self.seed_after_boot()?;
            let failures = self.recover_loudly()?;
            let failures: Vec<_> = failures.iter().map(crate::report::chain).collect();
            let cure = "see the message; some other program may hold on to it";
            report.add("repair", &failures, cure);
        }
        self.check_images(request, &mut report)?;
        self.check_containers(request.repair, &mut report)?;
        self.check_volumes(request.repair, &mut report)?;
        self.check_leftovers(&mut report)?;
        if request.repair == Repair::Yes {
            self.keep_all()?;
        }
        self.take_out_trash()?;
        Ok(report)
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
