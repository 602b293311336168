//! A bar for each layer and one for all of them.

use std::collections::HashMap;
use std::sync::{Mutex, OnceLock};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use rocker_engine::{LayerState, PullEvent};
use rocker_types::Digest;

use super::progress::{lock, not_there, retrying, words};

/// Redraws per second; more is flicker.
const REDRAWS: u8 = 10;

/// What the terminal shows while layers travel.
#[derive(Debug)]
pub(crate) struct Bars {
    screen: MultiProgress,
    layers: Mutex<HashMap<Digest, Row>>,
    /// Below the others, and only once there is anything to sum up.
    total: OnceLock<ProgressBar>,
}

#[derive(Debug)]
struct Row {
    bar: ProgressBar,
    /// What counts for the total.
    done: u64,
    total: u64,
}

impl Bars {
    pub(super) fn new() -> Self {
        let target = ProgressDrawTarget::stderr_with_hz(REDRAWS);
        Self {
            screen: MultiProgress::with_draw_target(target),
            layers: Mutex::default(),
            total: OnceLock::new(),
        }
    }

    pub(super) fn pull_event(&self, event: &PullEvent<'_>) {
        match event {
            PullEvent::Resolved { layers, .. } => {
                layers.iter().for_each(|layer| self.add(&layer.digest));
                for layer in *layers {
                    self.travel(&layer.digest, 0, layer.size);
                }
            }
            PullEvent::Layer { digest, state } => self.pulled(digest, *state),
            PullEvent::Retrying { what, cause, delay } => self.note(&retrying(what, cause, *delay)),
            PullEvent::NotThere { registry, cause } => self.note(&not_there(registry, cause)),
            PullEvent::Resolving | PullEvent::Committing | _ => {}
        }
    }

    fn pulled(&self, digest: &Digest, state: LayerState) {
        match state {
            LayerState::Resuming { done, total } => {
                self.travel(digest, done, total);
                self.show(digest, words(state), Look::Bar);
                // what was here before says nothing about the network
                if let Some(total) = self.total.get() {
                    total.reset_eta();
                }
            }
            LayerState::Downloading { done, total } => {
                self.travel(digest, done, total);
                self.show(digest, words(state), Look::Bar);
            }
            LayerState::AlreadyExists => {
                self.travel(digest, 0, 0);
                self.show(digest, words(state), Look::Final);
            }
            LayerState::Done => {
                self.arrive(digest);
                self.show(digest, words(state), Look::Final);
            }
            LayerState::Verifying | LayerState::Extracting => {
                self.arrive(digest);
                self.show(digest, words(state), Look::Words);
            }
            LayerState::Waiting | LayerState::Elsewhere => {
                self.show(digest, words(state), Look::Words);
            }
        }
    }

    /// A line above the bars.
    pub(super) fn note(&self, text: &str) {
        // a terminal that hung up needs no lines
        let _gone = self.screen.println(text);
    }

    /// A bar for a layer that has none yet.
    pub(super) fn add(&self, layer: &Digest) {
        let mut rows = lock(&self.layers);
        if rows.contains_key(layer) {
            return;
        }
        // what joins the screen as it is born would be drawn in the library's own look
        let bar = ProgressBar::new(0)
            .with_style(Look::Words.style())
            .with_prefix(layer.short().to_owned());
        let bar = match self.total.get() {
            Some(total) => self.screen.insert_before(total, bar),
            None => self.screen.add(bar),
        };
        let (done, total) = (0, 0);
        rows.insert(layer.clone(), Row { bar, done, total });
    }

    /// So much of a layer has travelled.
    pub(super) fn travel(&self, layer: &Digest, done: u64, total: u64) {
        let mut rows = lock(&self.layers);
        let Some(row) = rows.get_mut(layer) else {
            return;
        };
        (row.done, row.total) = (done, total);
        row.bar.set_length(total);
        row.bar.set_position(done);
        let sum = |of: fn(&Row) -> u64| rows.values().map(of).fold(0, u64::saturating_add);
        let (done, total) = (sum(|row| row.done), sum(|row| row.total));
        if total == 0 {
            return;
        }
        let bar = self.total.get_or_init(|| {
            let bar = ProgressBar::new(total).with_style(Look::Bar.style());
            self.screen.add(bar.with_prefix("Total"))
        });
        bar.set_length(total);
        bar.set_position(done);
    }

    /// All of a layer has travelled.
    pub(super) fn arrive(&self, layer: &Digest) {
        let total = lock(&self.layers).get(layer).map_or(0, |row| row.total);
        self.travel(layer, total, total);
    }

    pub(super) fn show(&self, layer: &Digest, words: impl Into<String>, look: Look) {
        let rows = lock(&self.layers);
        let Some(Row { bar, .. }) = rows.get(layer) else {
            return;
        };
        bar.set_message(words.into());
        bar.set_style(look.style());
        if look == Look::Final {
            bar.abandon();
        }
    }

    pub(super) fn finish(&self) {
        if let Some(total) = self.total.get() {
            total.finish_and_clear();
        }
        lock(&self.layers)
            .values()
            .for_each(|row| row.bar.abandon());
    }

    pub(super) fn clear(&self) {
        // a terminal that hung up needs no clearing
        let _gone = self.screen.clear();
    }
}

/// What a layer's line looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// Words alone.
    Words,
    /// With a bar, a rate and the time that is left.
    Bar,
    /// Words that do not change any more.
    Final,
}

impl Look {
    fn style(self) -> ProgressStyle {
        let template = match self {
            Self::Words | Self::Final => "{prefix:12}: {msg}",
            Self::Bar => {
                "{prefix:12}: {msg:11} [{bar:24}] {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec} {eta}"
            }
        };
        ProgressStyle::with_template(template)
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("=> ")
    }
}
