//! How a push shows on standard error.

use rocker_engine::{PushEvent, PushProgress, PushState};
use rocker_types::DiffId;

use super::bars::{Bars, Look};
use super::events;
use super::progress::{Progress, layer_line, lock, retrying};
use crate::report;

impl PushProgress for Progress {
    fn event(&self, event: PushEvent<'_>) {
        match (self, event) {
            (Self::Events, event) => events::push_event(&event),
            (Self::Lines(seen), PushEvent::Layer { layer, state }) => {
                if let Some(line) = layer_line(&mut lock(seen), &layer.0, &words(state)) {
                    report::note(&line);
                }
            }
            (Self::Lines(_), PushEvent::Retrying { what, cause, delay }) => {
                report::note(&retrying(what, cause, delay));
            }
            (Self::Bars(bars), PushEvent::Begun { layers }) => {
                layers.iter().for_each(|layer| bars.add(&layer.0));
            }
            (Self::Bars(bars), PushEvent::Layer { layer, state }) => show(bars, layer, state),
            (Self::Bars(bars), PushEvent::Retrying { what, cause, delay }) => {
                bars.note(&retrying(what, cause, delay));
            }
            (Self::Quiet | Self::Lines(_) | Self::Bars(_), _) => {}
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

fn show(bars: &Bars, layer: &DiffId, state: PushState<'_>) {
    let look = match state {
        PushState::Pushing { done, total } => {
            bars.travel(&layer.0, done, total);
            Look::Bar
        }
        PushState::Waiting => Look::Words,
        PushState::AlreadyExists | PushState::Mounted { .. } | PushState::Pushed => {
            bars.arrive(&layer.0);
            Look::Final
        }
    };
    bars.show(&layer.0, words(state), look);
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
