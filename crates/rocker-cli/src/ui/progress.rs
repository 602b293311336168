//! How a pull or a push shows on standard error: bars on a terminal, plain lines elsewhere, events
//! for programs.

use std::collections::HashMap;
use std::io::IsTerminal as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rocker_engine::{LayerState, PullEvent, PullProgress};
use rocker_types::Digest;

use super::bars::Bars;
use super::events;
use crate::commands::CommandError;
use crate::report;

/// How progress is to be shown.
#[derive(clap::ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum ProgressStyle {
    /// Bars where standard error is a terminal, else lines
    #[default]
    Auto,
    /// One bar for each layer, and one for all
    Tty,
    /// A line for each change of a layer's state
    Plain,
    /// A JSON object on a line of its own for each event
    Json,
    /// Nothing
    None,
}

/// The flag of commands that fetch or send images.
#[derive(clap::Args, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ProgressArgs {
    /// How to show what is fetched or sent: auto, tty, plain, json or none
    #[arg(
        long,
        value_name = "STYLE",
        default_value = "auto",
        hide_default_value = true,
        hide_possible_values = true
    )]
    pub(crate) progress: ProgressStyle,
}

/// Shows a pull or a push to the user.
#[derive(Debug)]
pub(crate) enum Progress {
    /// Nothing at all.
    Quiet,
    /// One line per change of state: logs, pipes, dumb terminals.
    Lines(Mutex<HashMap<Digest, String>>),
    /// One bar per layer.
    Bars(Box<Bars>),
    /// One JSON object per event.
    Events,
}

impl Progress {
    /// What the command line says, or else what fits standard error.
    ///
    /// # Errors
    ///
    /// [`CommandError::NoTerminalForProgress`] if bars are wanted and there is no terminal.
    pub(crate) fn of(style: ProgressStyle, quiet: bool) -> Result<Self, CommandError> {
        Ok(match style {
            _ if quiet => Self::Quiet,
            ProgressStyle::None => Self::Quiet,
            ProgressStyle::Json => Self::Events,
            ProgressStyle::Plain => Self::Lines(Mutex::default()),
            ProgressStyle::Auto => Self::for_stderr(),
            ProgressStyle::Tty if !std::io::stderr().is_terminal() => {
                return Err(CommandError::NoTerminalForProgress);
            }
            ProgressStyle::Tty => Self::Bars(Box::new(Bars::new())),
        })
    }

    /// What fits standard error.
    pub(crate) fn for_stderr() -> Self {
        let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        match std::io::stderr().is_terminal() && !is_dumb {
            true => Self::Bars(Box::new(Bars::new())),
            false => Self::Lines(Mutex::default()),
        }
    }

    /// A line about the whole, for people.
    pub(crate) fn note(&self, text: &str) {
        match self {
            Self::Lines(_) | Self::Bars(_) => report::note(text),
            Self::Quiet | Self::Events => {}
        }
    }

    /// Leaves the finished bars on the screen.
    pub(crate) fn finish(&self) {
        if let Self::Bars(bars) = self {
            bars.finish();
        }
    }

    /// Takes the bars away; an error message follows.
    pub(crate) fn clear(&self) {
        if let Self::Bars(bars) = self {
            bars.clear();
        }
    }
}

impl PullProgress for Progress {
    fn event(&self, event: PullEvent<'_>) {
        match self {
            Self::Quiet => {}
            Self::Lines(seen) => {
                if let Some(line) = plain_line(&mut lock(seen), &event) {
                    report::note(&line);
                }
            }
            Self::Bars(bars) => bars.pull_event(&event),
            Self::Events => events::pull_event(&event),
        }
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Docker's words for a layer's state, where docker has it.
pub(super) fn words(state: LayerState) -> &'static str {
    match state {
        LayerState::AlreadyExists => "Already exists",
        LayerState::Waiting => "Waiting",
        LayerState::Elsewhere => "Waiting (another pull)",
        LayerState::Resuming { .. } => "Resuming",
        LayerState::Verifying => "Verifying",
        LayerState::Downloading { .. } => "Downloading",
        LayerState::Extracting => "Extracting",
        LayerState::Done => "Pull complete",
    }
}

/// The line for a layer's state, unless it says what the layer's last line said.
pub(super) fn layer_line(
    seen: &mut HashMap<Digest, String>,
    digest: &Digest,
    words: &str,
) -> Option<String> {
    let before = seen.insert(digest.clone(), words.to_owned());
    (before.as_deref() != Some(words)).then(|| format!("{}: {words}", digest.short()))
}

fn plain_line(seen: &mut HashMap<Digest, String>, event: &PullEvent<'_>) -> Option<String> {
    if let PullEvent::Layer { digest, state } = event {
        return layer_line(seen, digest, words(*state));
    }
    match event {
        PullEvent::Retrying { what, cause, delay } => Some(retrying(what, cause, *delay)),
        PullEvent::NotThere { registry, cause } => Some(not_there(registry, cause)),
        PullEvent::Resolving
        | PullEvent::Resolved { .. }
        | PullEvent::Layer { .. }
        | PullEvent::Committing
        | _ => None,
    }
}

pub(super) fn retrying(what: &str, cause: &str, delay: Duration) -> String {
    format!(
        "{what}: {cause}; trying again in {:.1} s",
        delay.as_secs_f32()
    )
}

pub(super) fn not_there(registry: &str, cause: &str) -> String {
    format!("{registry}: {cause}; asking elsewhere")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_lines_tell_each_change_of_state_once() {
        let digest = Digest::from_sha256([0xab; 32]);
        let mut seen = HashMap::new();
        let states = [
            LayerState::Waiting,
            LayerState::Resuming { done: 3, total: 9 },
            LayerState::Downloading { done: 3, total: 9 },
            LayerState::Downloading { done: 9, total: 9 },
            LayerState::Extracting,
            LayerState::Done,
        ];

        let lines: Vec<String> = states
            .into_iter()
            .filter_map(|state| {
                let event = PullEvent::Layer {
                    digest: &digest,
                    state,
                };
                plain_line(&mut seen, &event)
            })
            .collect();

        let expected = [
            "Waiting",
            "Resuming",
            "Downloading",
            "Extracting",
            "Pull complete",
        ];
        assert_eq!(
            lines,
            expected.map(|words| format!("abababababab: {words}"))
        );
    }
}
