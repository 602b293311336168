//! What `run`, `start -a`, `attach` and `exec` have in common: the user in front of a program.

use std::io::{IsTerminal as _, stdin};

use rocker_engine::Started;

use super::{CommandError, Outcome};
use crate::exit_code::Status;
use crate::report;
use crate::terminal::{
    self, DetachKeys, DetachWatch, End, Program, Pump, RawMode, SignalPlan, Signals, Streams,
};

/// How the user and the program are to be connected.
#[derive(Debug, Clone)]
pub(crate) struct Conversation {
    pub(crate) streams: Streams,
    /// `None`: it cannot be left.
    pub(crate) detach_keys: Option<DetachKeys>,
    pub(crate) sig_proxy: bool,
}

/// A program that runs and can be talked to.
pub(crate) struct Opened {
    /// What to call its container in messages.
    pub(crate) name: String,
    pub(crate) program: Box<dyn Program>,
    /// It has a terminal.
    pub(crate) tty: bool,
}

/// A start that was asked for with its streams.
///
/// # Errors
///
/// [`CommandError::MonitorLost`] when it ended up without.
pub(crate) fn opened(started: Started) -> Result<Opened, CommandError> {
    let name = started.name.to_string();
    match started.session {
        Some(session) => Ok(Opened {
            name,
            program: Box::new(session),
            tty: started.tty,
        }),
        None => Err(CommandError::MonitorLost(name)),
    }
}

/// A terminal in the container that is fed from a pipe would take no keys and give no size.
///
/// # Errors
///
/// [`CommandError::NotATerminal`].
pub(crate) fn check_terminal(tty: bool, stdin_wanted: bool) -> Result<(), CommandError> {
    if tty && stdin_wanted && !stdin().is_terminal() {
        return Err(CommandError::NotATerminal);
    }
    Ok(())
}

impl Conversation {
    /// Opens the conversation by `open` and stays until the program ends or the user leaves it.
    ///
    /// Signals are taken before `open` runs, so that a Ctrl-C while the program is being
    /// started is for the program, and never kills rocker half way.
    pub(crate) fn hold(self, open: impl FnOnce() -> Result<Opened, CommandError>) -> Outcome {
        // Every plan's signals are in this one's.
        let mut signals = Signals::take(SignalPlan::Proxy).map_err(CommandError::Terminal)?;
        let Opened {
            name,
            mut program,
            tty,
        } = open()?;
        let raw = tty && self.streams.stdin && stdin().is_terminal();
        let plan = match tty {
            true if raw => SignalPlan::Terminal,
            true => SignalPlan::Window,
            false if self.sig_proxy => SignalPlan::Proxy,
            false => SignalPlan::Ignore,
        };
        signals.follow(plan).map_err(CommandError::Terminal)?;
        if tty && let Some(size) = terminal::window_size() {
            program.resize(size)?;
        }
        match self.pump(&mut *program, &signals, raw)? {
            End::Exited(code) => Ok(Status::Container(code)),
            End::Detached => {
                // The cursor stands behind what was typed.
                report::note("\nread escape sequence");
                Ok(Status::Success)
            }
            End::Interrupted(signal) => Ok(Status::Interrupted(signal)),
            End::OutputClosed => Ok(Status::OutputClosed),
            End::MonitorLost => Err(CommandError::MonitorLost(name)),
        }
    }

    /// The terminal is back to what it was before anything else is printed.
    fn pump(
        self,
        program: &mut dyn Program,
        signals: &Signals,
        raw: bool,
    ) -> Result<End, CommandError> {
        let _raw = match raw {
            true => Some(RawMode::enter(stdin()).map_err(CommandError::Terminal)?),
            false => None,
        };
        let watch = self.detach_keys.filter(|_| raw).map(DetachWatch::new);
        Ok(Pump::new(program, signals, self.streams, watch).run()?)
    }
}
