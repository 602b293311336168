//! The database of kept things: whether it can be believed, and another one if not.

use std::path::{Path, PathBuf};

use rocker_db::{DurableDb, OwnerLock};

use super::{CheckReport, CheckStatus, Repair};
use crate::EngineError;
use crate::clock::{now_ns, rfc3339};
use crate::engine::Engine;
use crate::spare::Adopted;
use crate::sweep::IMAGES_LOCK;

const WHAT: &str = "database";

/// What a database of sqlite's consists of.
const PARTS: [&str; 2] = ["", "-wal"];

/// What lies beside it and is made anew by whoever opens it.
const SHARED_MEMORY: &str = "-shm";

impl Engine {
    /// `false` if it is no use to go on.
    pub(super) fn check_database(
        &mut self,
        repair: Repair,
        report: &mut CheckReport,
    ) -> Result<bool, EngineError> {
        match self.database_damage() {
            Ok(None) => self.check_changes(repair, report).map(|()| true),
            Ok(Some(damage)) if repair == Repair::Yes => {
                let (adopted, aside) = match self.rebuild_database() {
                    Ok(rebuilt) => rebuilt,
                    Err(error) => {
                        report.fail_with(WHAT, &error);
                        return Ok(false);
                    }
                };
                let aside = aside.map_or_else(String::new, |path| {
                    format!("; the damaged one is kept as {}", path.display())
                });
                let detail = format!("{damage}: made anew with {adopted}{aside}");
                report.line(WHAT, CheckStatus::Mended, detail);
                Ok(true)
            }
            Ok(Some(damage)) => {
                let cure = "run `rocker system check --repair`: it is made anew from what is on disk, and the damaged one is kept";
                report.fail(WHAT, damage, Some(cure.to_owned()));
                Ok(false)
            }
            Err(error) => {
                report.fail_with(WHAT, &error);
                Ok(false)
            }
        }
    }

    /// What is wrong with the file; `None` if all of it can be read.
    fn database_damage(&mut self) -> Result<Option<String>, EngineError> {
        match self.read_all() {
            Ok(problems) if problems.is_empty() => Ok(None),
            Ok(problems) => Ok(Some(problems.join("; "))),
            Err(EngineError::Db(error)) if error.is_damage() => {
                let error = EngineError::Db(error);
                Ok(Some(crate::report::chain(&error)))
            }
            Err(error) => Err(error),
        }
    }

    fn read_all(&mut self) -> Result<Vec<String>, EngineError> {
        let durable = self.durable()?;
        let problems = durable.integrity_problems()?;
        if problems.is_empty() {
            durable.generation()?;
            durable.images()?;
            durable.layers()?;
            durable.volumes()?;
            durable.kept_containers()?;
        }
        Ok(problems)
    }

    /// Whether it is as new as what lies beside it. A log that is gone or damaged takes the last
    /// changes along, and sqlite finds nothing wrong with that.
    fn check_changes(
        &mut self,
        repair: Repair,
        report: &mut CheckReport,
    ) -> Result<(), EngineError> {
        let lost = self.lost_images()?.len() + self.lost_containers()?;
        if lost == 0 {
            report.line(WHAT, CheckStatus::Ok, "whole");
            return Ok(());
        }
        let detail = format!("it has lost its last changes, {lost} images or containers");
        if repair == Repair::Yes {
            let adopted = self.adopt(false)?;
            let detail = format!("{detail}: brought back {adopted}");
            report.line(WHAT, CheckStatus::Mended, detail);
        } else {
            let cure = "run `rocker system check --repair`: they are brought back";
            report.fail(WHAT, detail, Some(cure.to_owned()));
        }
        Ok(())
    }

    /// Sets the damaged file aside and makes another from what lies on disk.
    fn rebuild_database(&mut self) -> Result<(Adopted, Option<PathBuf>), EngineError> {
        let lock = self.layout.locks().join(IMAGES_LOCK);
        let alone = OwnerLock::try_alone(&lock)?.ok_or(EngineError::ImagesBusy)?;
        self.close_durable();
        let path = self.layout.db();
        let aside = set_aside(&path)?;
        drop(DurableDb::open(&path)?);
        let adopted = self.adopt(true)?;
        drop(alone);
        Ok((adopted, aside))
    }
}

/// Gives the database another name, with its log; `None` if there is nothing in it.
pub(super) fn set_aside(path: &Path) -> Result<Option<PathBuf>, EngineError> {
    let time: String = rfc3339(Some(now_ns()))
        .chars()
        .take_while(|c| *c != '.' && *c != 'Z')
        .filter(char::is_ascii_alphanumeric)
        .collect();
    let named = |path: &Path, more: &str| {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(more);
        path.with_file_name(name)
    };
    let mut aside = named(path, &format!(".damaged-{time}"));
    for number in 2.. {
        if !aside.exists() {
            break;
        }
        aside = named(path, &format!(".damaged-{time}-{number}"));
    }
    let mut is_kept = false;
    for part in PARTS {
        let (from, to) = (named(path, part), named(&aside, part));
        match fs_err::metadata(&from) {
            Ok(found) if found.len() > 0 => {
                fs_err::rename(&from, &to).map_err(EngineError::file("set aside", &from))?;
                is_kept = true;
            }
            Ok(_) => fs_err::remove_file(&from).map_err(EngineError::file("remove", &from))?,
            Err(_) => {}
        }
    }
    let shared = named(path, SHARED_MEMORY);
    if let Err(error) = fs_err::remove_file(&shared)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        return Err(EngineError::file("remove", shared)(error));
    }
    Ok(is_kept.then_some(aside))
}
