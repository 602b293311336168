//! How things look: tables, sizes and durations, progress.

mod bars;
pub(crate) mod events;
pub(crate) mod human;
mod list;
pub(crate) mod progress;
mod push_progress;
mod table;

pub(crate) use list::{Column, ListFormat, Listing};

use jiff::{Timestamp, tz::TimeZone};

/// A moment as Go prints it: `2026-01-02 15:04:05 +0000 UTC`, in the user's zone.
pub(crate) fn local_time(ns: i64) -> String {
    let time = Timestamp::from_nanosecond(i128::from(ns)).unwrap_or_default();
    let local = time.to_zoned(TimeZone::system());
    local.strftime("%Y-%m-%d %H:%M:%S %z %Z").to_string()
}

/// Cut to so many characters, the last one then an ellipsis.
pub(crate) fn shortened(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let kept = text.chars().take(width.saturating_sub(1));
    kept.chain(['…']).collect()
}
