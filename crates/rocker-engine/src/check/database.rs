//! The database of kept things: whether it can be believed, and another one if not.

use std::path::{Path, PathBuf};

use rocker_db::{DurableDb, LiveDb, OwnerLock, Salvage};

use super::{CheckReport, CheckStatus, Repair};
use crate::EngineError;
use crate::clock::{now_ns, rfc3339};
use crate::engine::Engine;
use crate::spare::{Adopted, remove};
use crate::sweep::IMAGES_LOCK;

const WHAT: &str = "database";

/// What a database of sqlite's consists of.
///
/// The log is named first: without its database nobody reads it as another's.
const PARTS: [&str; 2] = [LOG, ""];

const LOG: &str = "-wal";

/// What lies beside it and is made anew by whoever opens it.
const SHARED_MEMORY: &str = "-shm";

/// How the names of another database go on: while it is made, and when it is whole.
const NEW: &str = ".new";
const MADE: &str = ".made";

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
                let (adopted, aside) = match self.rebuild_if_damaged() {
                    Ok(Some(rebuilt)) => rebuilt,
                    // another repair was faster
                    Ok(None) => return self.check_changes(repair, report).map(|()| true),
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
            durable.read_all()?;
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
        if !self.is_behind()? {
            report.line(WHAT, CheckStatus::Ok, "whole");
            return Ok(());
        }
        let lost = self.lost_images()?.len() + self.lost_containers()?;
        let detail = format!("it has lost its last changes, {lost} images or containers");
        if repair == Repair::Yes {
            let lock = self.layout.locks().join(IMAGES_LOCK);
            let alone = OwnerLock::try_alone(&lock)?.ok_or(EngineError::ImagesBusy)?;
            let adopted = self.adopt_newer()?;
            drop(alone);
            let detail = format!("{detail}: brought back {adopted}");
            report.line(WHAT, CheckStatus::Mended, detail);
        } else {
            let cure = "run `rocker system check --repair`: they are brought back";
            report.fail(WHAT, detail, Some(cure.to_owned()));
        }
        Ok(())
    }

    /// Makes another database, if the one there is damaged still when nobody else can repair it.
    fn rebuild_if_damaged(&mut self) -> Result<Option<Rebuilt>, EngineError> {
        let lock = self.layout.locks().join(IMAGES_LOCK);
        let alone = OwnerLock::try_alone(&lock)?.ok_or(EngineError::ImagesBusy)?;
        drop(self.take_durable());
        finish_exchange(&self.layout.db())?;
        if self.database_damage()?.is_none() {
            return Ok(None);
        }
        let rebuilt = self.rebuild_database()?;
        self.bring_back()?;
        drop(alone);
        Ok(Some(rebuilt))
    }

    /// Makes another database from the rows that can still be read and from what lies on disk, sets
    /// the damaged one aside, and only then gives the new one its name: whoever is killed meanwhile
    /// leaves one that is damaged, or a missing one and the new one whole. Whoever has the damaged one
    /// open waits, and writes to the new one. The caller holds the images lock alone.
    fn rebuild_database(&mut self) -> Result<Rebuilt, EngineError> {
        // before the other, as everybody takes them; and a connection of its own, for what is
        // adopted reads with the engine's
        let mut live = LiveDb::open(&self.layout.live_db())?;
        let order = live.begin()?;
        let damaged = self.take_durable();
        let salvage = damaged.as_ref().map_or_else(Salvage::default, |damaged| {
            if !damaged.hold() {
                tracing::debug!("nobody can write to the damaged database");
            }
            damaged.salvage()
        });
        let path = self.layout.db();
        let (new, made) = (named(&path, NEW), named(&path, MADE));
        for part in ["", LOG, SHARED_MEMORY] {
            remove(&named(&new, part))?;
        }
        remove(&made)?;
        self.use_durable(DurableDb::open_unsynced(&new)?);
        let adopted = self.adopt_all(salvage).and_then(|adopted| {
            self.durable()?.empty_log()?;
            Ok(adopted)
        });
        drop(self.take_durable());
        let adopted = adopted?;
        write_out(&new)?;
        fs_err::rename(&new, &made).map_err(EngineError::file("rename", &new))?;
        let aside = set_aside(&path)?;
        fs_err::rename(&made, &path).map_err(EngineError::file("rename", &made))?;
        drop(damaged);
        drop(order);
        Ok((adopted, aside))
    }
}

/// What came back, and where the damaged database is if there was something in it.
type Rebuilt = (Adopted, Option<PathBuf>);

/// Puts a new database on the disk, whose log is to be empty.
fn write_out(new: &Path) -> Result<(), EngineError> {
    let log = named(new, LOG);
    if fs_err::metadata(&log).is_ok_and(|log| log.len() > 0) {
        let busy = std::io::ErrorKind::ResourceBusy;
        return Err(EngineError::file("empty", log)(busy.into()));
    }
    for part in [LOG, SHARED_MEMORY] {
        remove(&named(new, part))?;
    }
    fs_err::File::open(new)
        .and_then(|file| file.sync_all())
        .map_err(EngineError::file("write", new))
}

/// Does what whoever was killed between both names had left to do: a new database is there, and
/// none has its name.
fn finish_exchange(path: &Path) -> Result<(), EngineError> {
    let made = named(path, MADE);
    // one that was opened meanwhile is empty
    if fs_err::metadata(path).is_ok_and(|found| found.len() > 0) || !made.exists() {
        return Ok(());
    }
    for part in [LOG, SHARED_MEMORY] {
        remove(&named(path, part))?;
    }
    fs_err::rename(&made, path).map_err(EngineError::file("rename", &made))
}

/// Gives the database another name, with its log; `None` if there is nothing in it.
pub(super) fn set_aside(path: &Path) -> Result<Option<PathBuf>, EngineError> {
    let time: String = rfc3339(Some(now_ns()))
        .chars()
        .take_while(|c| *c != '.' && *c != 'Z')
        .filter(char::is_ascii_alphanumeric)
        .collect();
    let mut aside = named(path, &format!(".damaged-{time}"));
    for number in 2.. {
        if !PARTS.iter().any(|part| named(&aside, part).exists()) {
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
    remove(&named(path, SHARED_MEMORY))?;
    Ok(is_kept.then_some(aside))
}

/// The file beside `path` whose name goes on with `more`.
fn named(path: &Path, more: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(more);
    path.with_file_name(name)
}
