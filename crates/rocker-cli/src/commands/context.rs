//! What every command works with.

use std::io::{self, Write as _};

use rocker_engine::{Engine, EngineError};
use rocker_types::Layout;

use super::{CommandError, Outcome, config, short_names};
use crate::exit_code::Status;
use crate::report;

/// The installation that the global flags chose; opened when a command first needs it.
#[derive(Debug)]
pub(crate) struct Context {
    layout: Layout,
    engine: Option<Engine>,
}

impl Context {
    pub(crate) fn new(layout: Layout) -> Self {
        Self {
            layout,
            engine: None,
        }
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The engine, opened on first use.
    pub(crate) fn engine(&mut self) -> Result<&mut Engine, EngineError> {
        match &mut self.engine {
            Some(engine) => Ok(engine),
            empty => {
                let mut engine = Engine::open(&self.layout)?;
                engine.set_short_names(short_names::perhaps_meant);
                Ok(empty.insert(engine))
            }
        }
    }

    /// The engine, with what the configuration says that layers may cost.
    pub(crate) fn unpacking_engine(&mut self) -> Result<&mut Engine, CommandError> {
        let limits = config::read()?.limits;
        let engine = self.engine()?;
        engine.set_limits(limits);
        Ok(engine)
    }

    /// Does what can wait until the answer is given: deletes the files of what was removed.
    pub(crate) fn finish(&mut self) {
        if let Some(Err(error)) = self.engine.as_mut().map(Engine::take_out_trash) {
            tracing::warn!(%error, "cannot delete everything that was removed");
        }
    }

    /// Does the same to each of several things and prints each that worked as it was typed; one that
    /// failed is reported and does not keep the others from their turn.
    pub(crate) fn for_each(
        &mut self,
        typed: &[String],
        mut act: impl FnMut(&mut Engine, &str) -> Result<(), CommandError>,
    ) -> Outcome {
        let engine = self.engine()?;
        let mut status = Status::Success;
        for word in typed {
            tell(word, act(engine, word), &mut status)?;
        }
        Ok(status)
    }

    /// The same for what takes its time, such as a stop: all at once, told in the order typed.
    pub(crate) fn for_each_at_once(
        &mut self,
        typed: &[String],
        act: impl Fn(&mut Engine, &str) -> Result<(), CommandError> + Sync,
    ) -> Outcome {
        if typed.len() == 1 {
            return self.for_each(typed, act);
        }
        let mut status = Status::Success;
        let results = all_at_once(&self.layout, typed, &act);
        for (word, result) in typed.iter().zip(results) {
            tell(word, result, &mut status)?;
        }
        Ok(status)
    }
}

fn tell(
    word: &str,
    result: Result<(), CommandError>,
    status: &mut Status,
) -> Result<(), CommandError> {
    match result {
        Ok(()) => print(&format!("{word}\n")),
        Err(error) => {
            report::error(&error);
            *status = Status::SomeFailed;
            Ok(())
        }
    }
}

/// Waits for things side by side, each with an installation of its own.
fn all_at_once(
    layout: &Layout,
    typed: &[String],
    act: &(impl Fn(&mut Engine, &str) -> Result<(), CommandError> + Sync),
) -> Vec<Result<(), CommandError>> {
    let one = |word: &String| act(&mut Engine::open(layout)?, word);
    std::thread::scope(|scope| {
        let threads: Vec<_> = typed.iter().map(|word| scope.spawn(|| one(word))).collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, _>| match thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        threads.into_iter().map(join).collect()
    })
}

/// Writes a part of the answer to standard output.
pub(crate) fn print(text: &str) -> Result<(), CommandError> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(CommandError::Output)
}
