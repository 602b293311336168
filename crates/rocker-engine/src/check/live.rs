//! The database of running things, when it is damaged.

use rocker_db::OwnerLock;
use rocker_types::{ContainerId, Layout};

use super::database::set_aside;
use super::{CheckLine, CheckStatus};
use crate::EngineError;
use crate::containers::BUSY_PATIENCE;
use crate::engine::Engine;
use crate::spare::names_in;
use crate::sweep::IMAGES_LOCK;

impl Engine {
    /// As [`open_as_is`](Self::open_as_is), with another database of running things if the one
    /// there is damaged; then what to tell of that. What ran is known to nobody else, so it is
    /// replaced only while nothing runs.
    ///
    /// # Errors
    ///
    /// As [`open_as_is`](Self::open_as_is), [`EngineError::LiveDamaged`] while containers run, and
    /// [`EngineError::ImagesBusy`] while somebody pulls or repairs.
    pub fn open_for_repair(layout: &Layout) -> Result<(Self, Option<CheckLine>), EngineError> {
        if let (Some(engine), None) = Self::open_and_look(layout)? {
            return Ok((engine, None));
        }
        let lock = layout.locks().join(IMAGES_LOCK);
        let alone = OwnerLock::alone_within(&lock, BUSY_PATIENCE)?;
        let alone = alone.ok_or(EngineError::ImagesBusy)?;
        let (damaged, damage) = match Self::open_and_look(layout)? {
            // another repair was faster
            (Some(engine), None) => return Ok((engine, None)),
            (damaged, damage) => (damaged, damage.unwrap_or_default()),
        };
        // whoever has it open waits from here on, and writes to the new one
        if !damaged.as_ref().is_some_and(|engine| engine.live.hold()) {
            tracing::debug!("nobody can write to the damaged database");
        }
        let is_owned = |id: &ContainerId| OwnerLock::is_held(&layout.container_lock(id));
        let locks = names_in(&layout.locks()).into_iter();
        let owned = locks.filter_map(|name| name.parse().ok()).filter(is_owned);
        let running: Vec<String> = owned.map(|id| id.short().to_owned()).collect();
        if !running.is_empty() {
            return Err(EngineError::LiveDamaged { running });
        }
        let aside = set_aside(&layout.live_db())?;
        let aside = aside.map_or_else(String::new, |path| {
            format!("; the damaged one is kept as {}", path.display())
        });
        let line = CheckLine {
            what: "live database".to_owned(),
            status: CheckStatus::Mended,
            detail: format!("{damage}: made anew{aside}"),
            cure: None,
        };
        let engine = Self::open_as_is(layout)?;
        drop(damaged);
        drop(alone);
        Ok((engine, Some(line)))
    }

    /// The engine, if its database of running things can be opened, and what is wrong with that.
    fn open_and_look(layout: &Layout) -> Result<(Option<Self>, Option<String>), EngineError> {
        match Self::open_as_is(layout) {
            Ok(engine) => {
                let damage = engine.live_damage()?;
                Ok((Some(engine), damage))
            }
            Err(EngineError::Db(error)) if error.is_damage() => {
                Ok((None, Some(crate::report::chain(&error.into()))))
            }
            Err(error) => Err(error),
        }
    }

    /// What is wrong with the database of running things; `None` if all of it can be read.
    pub(super) fn live_damage(&self) -> Result<Option<String>, EngineError> {
        let problems = self.live.integrity_problems();
        let read = problems.and_then(|problems| self.live.read_all().map(|()| problems));
        match read {
            Ok(problems) => Ok((!problems.is_empty()).then(|| problems.join("; "))),
            Err(error) if error.is_damage() => Ok(Some(crate::report::chain(&error.into()))),
            Err(error) => Err(error.into()),
        }
    }
}
