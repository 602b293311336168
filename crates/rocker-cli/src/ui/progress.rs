//! How a pull or a push shows on standard error: bars on a terminal, plain lines elsewhere.

use std::collections::HashMap;
use std::io::IsTerminal as _;
use std::sync::{Mutex, MutexGuard, PoisonError};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use rocker_engine::{LayerState, PullEvent, PullProgress};
use rocker_types::Digest;

use crate::report;

/// Redraws per second; more is flicker.
const REDRAWS: u8 = 10;

/// Shows a pull or a push to the user.
#[derive(Debug)]
pub(crate) enum Progress {
    /// Nothing at all (`--quiet`).
    Quiet,
    /// One line per change of state: logs, pipes, dumb terminals.
    Lines(Mutex<HashMap<Digest, String>>),
    /// One bar per layer.
    Bars(Box<Bars>),
}

impl Progress {
    /// What fits standard error.
    pub(crate) fn for_stderr() -> Self {
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        if std::io::stderr().is_terminal() && !dumb {
            return Self::Bars(Box::new(Bars::new()));
        }
        Self::Lines(Mutex::default())
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
            // A terminal that hung up needs no clearing.
            let _gone = bars.screen.clear();
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
            Self::Bars(bars) => bars.event(&event),
        }
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Docker's words for a layer's state.
fn words(state: LayerState) -> &'static str {
    match state {
        LayerState::AlreadyExists => "Already exists",
        LayerState::Waiting => "Waiting",
        LayerState::Resuming { .. } => "Resuming",
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

pub(super) fn retrying(what: &str, cause: &str, delay: std::time::Duration) -> String {
    format!(
        "{what}: {cause}; trying again in {:.1} s",
        delay.as_secs_f32()
    )
}

fn not_there(registry: &str, cause: &str) -> String {
    format!("{registry}: {cause}; asking elsewhere")
}

/// One bar per layer, and a line for what is not about a layer.
#[derive(Debug)]
pub(crate) struct Bars {
    pub(super) screen: MultiProgress,
    pub(super) layers: Mutex<HashMap<Digest, ProgressBar>>,
}

impl Bars {
    fn new() -> Self {
        Self {
            screen: MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(REDRAWS)),
            layers: Mutex::default(),
        }
    }

    fn event(&self, event: &PullEvent<'_>) {
        match event {
            PullEvent::Resolved { layers, .. } => {
                for layer in *layers {
                    self.add(&layer.digest, layer.size);
                }
            }
            PullEvent::Layer { digest, state } => {
                if let Some(bar) = lock(&self.layers).get(digest) {
                    show(bar, *state);
                }
            }
            PullEvent::Retrying { what, cause, delay } => {
                let _gone = self.screen.println(retrying(what, cause, *delay));
            }
            PullEvent::NotThere { registry, cause } => {
                let _gone = self.screen.println(not_there(registry, cause));
            }
            PullEvent::Resolving | PullEvent::Committing | _ => {}
        }
    }

    /// A bar for a layer that has none yet.
    pub(super) fn add(&self, digest: &Digest, size: u64) {
        let mut bars = lock(&self.layers);
        if bars.contains_key(digest) {
            return;
        }
        let bar = self.screen.add(ProgressBar::new(size));
        bar.set_style(waiting_style());
        bar.set_prefix(digest.short().to_owned());
        bars.insert(digest.clone(), bar);
    }

    fn finish(&self) {
        for bar in lock(&self.layers).values() {
            bar.abandon();
        }
    }
}

fn show(bar: &ProgressBar, state: LayerState) {
    bar.set_message(words(state));
    match state {
        LayerState::Downloading { done, total } | LayerState::Resuming { done, total } => {
            bar.set_style(loading_style());
            bar.set_length(total);
            bar.set_position(done);
        }
        LayerState::AlreadyExists | LayerState::Done => {
            bar.set_style(waiting_style());
            bar.abandon();
        }
        LayerState::Waiting | LayerState::Extracting => bar.set_style(waiting_style()),
    }
}

pub(super) fn waiting_style() -> ProgressStyle {
    style("{prefix}: {msg}")
}

pub(super) fn loading_style() -> ProgressStyle {
    style(
        "{prefix}: {msg:12} [{bar:30}] {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec} {eta}",
    )
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
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
            LayerState::Downloading { done: 0, total: 9 },
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

        let expected = ["Waiting", "Downloading", "Extracting", "Pull complete"];
        assert_eq!(
            lines,
            expected.map(|words| format!("abababababab: {words}"))
        );
    }
}
