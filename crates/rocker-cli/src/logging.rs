//! rocker's messages about its own decisions: `--log-level`, to standard error.
//!
//! Nothing is installed at the default level as long as nobody warns: building a subscriber is
//! cheap, but asking one for every event is not free either.

use std::fmt::Write as _;
use std::io::Write as _;

use tracing::field::{Field, Visit};
use tracing::{Event, Id, Level, Metadata, Subscriber, span};

/// Writes one line per event; spans are not used.
#[derive(Debug)]
struct Lines {
    level: Level,
}

/// Starts writing events of `level` and more important ones.
pub(crate) fn start(level: Level) {
    // Somebody else's subscriber would be as good; there is none.
    let _already = tracing::subscriber::set_global_default(Lines { level });
}

/// For the monitor, which has no flags: `ROCKER_LOG=debug`.
pub(crate) fn start_from_environment() {
    let level = std::env::var("ROCKER_LOG")
        .ok()
        .and_then(|l| l.parse().ok());
    if let Some(level) = level {
        start(level);
    }
}

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= self.level && metadata.target().starts_with("rocker")
    }

    fn max_level_hint(&self) -> Option<tracing::level_filters::LevelFilter> {
        Some(self.level.into())
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line::default();
        event.record(&mut line);
        let level = event.metadata().level().as_str().to_ascii_lowercase();
        let text = format!("{level}: {}{}\n", line.message, line.fields);
        let _closed = std::io::stderr().write_all(text.as_bytes());
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// An event's message, then its fields.
#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let _infallible = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}
