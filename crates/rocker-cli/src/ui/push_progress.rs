//! How a push shows on standard error.

use indicatif::ProgressBar;
use rocker_engine::{PushEvent, PushProgress, PushState};

use super::progress::{Progress, layer_line, loading_style, lock, retrying, waiting_style};
use crate::report;

impl PushProgress for Progress {
    fn event(&self, event: PushEvent<'_>) {
        match (self, event) {
            (Self::Quiet, _) => {}
            (Self::Lines(seen), PushEvent::Layer { layer, state }) => {
                if let Some(line) = layer_line(&mut lock(seen), &layer.0, &words(state)) {
                    report::note(&line);
                }
            }
            (Self::Lines(_), PushEvent::Retrying { what, cause, delay }) => {
                report::note(&retrying(what, cause, delay));
            }
            (Self::Bars(bars), PushEvent::Begun { layers }) => {
                layers.iter().for_each(|layer| bars.add(&layer.0, 0));
            }
            (Self::Bars(bars), PushEvent::Layer { layer, state }) => {
                if let Some(bar) = lock(&bars.layers).get(&layer.0) {
                    show(bar, state);
                }
            }
            (Self::Bars(bars), PushEvent::Retrying { what, cause, delay }) => {
                let _gone = bars.screen.println(retrying(what, cause, delay));
            }
            (Self::Lines(_) | Self::Bars(_), _) => {}
        }
    }
}

/// Docker's words for a layer's state.
fn words(state: PushState<'_>) -> String {
    match state {
        PushState::Waiting => "Waiting".to_owned(),
        PushState::AlreadyExists => "Layer already exists".to_owned(),
        PushState::Mounted { from } => format!("Mounted from {from}"),
        PushState::Pushing { .. } => "Pushing".to_owned(),
        PushState::Pushed => "Pushed".to_owned(),
    }
}

fn show(bar: &ProgressBar, state: PushState<'_>) {
    bar.set_message(words(state));
    match state {
        PushState::Pushing { done, total } => {
            bar.set_style(loading_style());
            bar.set_length(total);
            bar.set_position(done);
        }
        PushState::Waiting => bar.set_style(waiting_style()),
        PushState::AlreadyExists | PushState::Mounted { .. } | PushState::Pushed => {
            bar.set_style(waiting_style());
            bar.abandon();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_have_dockers_words() {
        for (state, expected) in [
            (PushState::Waiting, "Waiting"),
            (PushState::AlreadyExists, "Layer already exists"),
            (
                PushState::Mounted {
                    from: "library/debian",
                },
                "Mounted from library/debian",
            ),
            (PushState::Pushing { done: 1, total: 2 }, "Pushing"),
            (PushState::Pushed, "Pushed"),
        ] {
            assert_eq!(words(state), expected);
        }
    }
}
