//! Durations and sizes in words, spelt as docker spells them (its package `go-units`).

use std::time::{Duration, SystemTime};

use jiff::Timestamp;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY_HOURS: u64 = 24;

/// `2 hours ago`; `N/A` for a time that nobody knows.
pub(crate) fn ago(then: Option<Timestamp>) -> String {
    let Some(then) = then else {
        return "N/A".to_owned();
    };
    let age = SystemTime::now().duration_since(then.into());
    format!("{} ago", duration(age.unwrap_or_default()))
}

/// `About a minute`, `3 hours`, `2 weeks`.
pub(crate) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let minutes = seconds / MINUTE;
    // Rounded to the nearest hour, as docker does.
    let hours = (seconds + HOUR / 2) / HOUR;
    match (seconds, minutes, hours) {
        (0, ..) => "Less than a second".to_owned(),
        (1, ..) => "1 second".to_owned(),
        (s, ..) if s < MINUTE => format!("{s} seconds"),
        (_, 1, _) => "About a minute".to_owned(),
        (_, m, _) if m < 60 => format!("{m} minutes"),
        (_, _, 1) => "About an hour".to_owned(),
        (_, _, h) if h < 2 * DAY_HOURS => format!("{h} hours"),
        (_, _, h) if h < 14 * DAY_HOURS => format!("{} days", h / DAY_HOURS),
        (_, _, h) if h < 60 * DAY_HOURS => format!("{} weeks", h / DAY_HOURS / 7),
        (_, _, h) if h < 730 * DAY_HOURS => format!("{} months", h / DAY_HOURS / 30),
        _ => format!("{} years", seconds / HOUR / DAY_HOURS / 365),
    }
}

/// `0B`, `7.38MB`, `123kB`: powers of 1000, three significant digits.
#[expect(
    clippy::cast_precision_loss,
    reason = "three digits are shown, f64 has fifteen"
)]
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    // 999.5 would be rounded to 1000, which is the next unit's 1.
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    let digits = match value {
        v if v < 9.995 => 2,
        v if v < 99.95 => 1,
        _ => 0,
    };
    let text = format!("{value:.digits$}");
    let text = match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.'),
        false => &text,
    };
    format!("{text}{}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_dockers_words() {
        let day = 24 * 3600;
        let cases = [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (119, "About a minute"),
            (120, "2 minutes"),
            (59 * 60 + 59, "59 minutes"),
            (3600, "About an hour"),
            (3600 + 1799, "About an hour"),
            (3600 + 1800, "2 hours"),
            (47 * 3600, "47 hours"),
            (2 * day, "2 days"),
            (13 * day, "13 days"),
            (14 * day, "2 weeks"),
            (59 * day, "8 weeks"),
            (60 * day, "2 months"),
            (729 * day, "24 months"),
            (730 * day, "2 years"),
        ];
        for (seconds, words) in cases {
            assert_eq!(
                duration(Duration::from_secs(seconds)),
                words,
                "{seconds} seconds"
            );
        }
    }

    #[test]
    fn sizes_have_three_digits_and_a_decimal_unit() {
        let cases = [
            (0, "0B"),
            (999, "999B"),
            (1000, "1kB"),
            (1024, "1.02kB"),
            (7_380_000, "7.38MB"),
            (72_800_000, "72.8MB"),
            (123_456_789, "123MB"),
            (999_499, "999kB"),
            (999_500, "1MB"),
            (9_996, "10kB"),
            (99_960, "100kB"),
            (2_000_000_000, "2GB"),
            (u64::MAX, "18.4EB"),
        ];
        for (bytes, text) in cases {
            assert_eq!(size(bytes), text, "{bytes} bytes");
        }
    }
}
