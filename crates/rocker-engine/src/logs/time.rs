//! Times of entries, made comparable as text.

use jiff::Timestamp;
use rustix::event::Timespec;

/// A time as `2026-01-02T03:04:05.000000009Z`: compares as bytes like the times do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PaddedTime([u8; Self::LEN]);

impl PaddedTime {
    const LEN: usize = 30;
    const SECONDS: usize = 19;

    /// Reads the time of an entry. What rocker and docker write, UTC with up to nine digits after
    /// the second, costs only a copy.
    pub(super) fn parse(time: &str) -> Option<Self> {
        Self::pad(time.as_bytes()).or_else(|| Self::of(time.parse().ok()?))
    }

    fn pad(time: &[u8]) -> Option<Self> {
        let (seconds, rest) = time.split_at_checked(Self::SECONDS)?;
        let fraction = match rest.strip_suffix(b"Z")? {
            [] => &[],
            [b'.', digits @ ..] if digits.len() <= 9 => digits,
            _ => return None,
        };
        let shape = |(&byte, &like): (&u8, &u8)| {
            if like == b'0' {
                byte.is_ascii_digit()
            } else {
                byte == like
            }
        };
        let is_time = seconds.iter().zip(b"0000-00-00T00:00:00").all(shape);
        if !is_time || !fraction.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let mut padded = *b"0000-00-00T00:00:00.000000000Z";
        padded[..Self::SECONDS].copy_from_slice(seconds);
        padded[Self::SECONDS + 1..][..fraction.len()].copy_from_slice(fraction);
        Some(Self(padded))
    }

    fn of(time: Timestamp) -> Option<Self> {
        // Years beyond 9999 and before 0 have another length: there is no such log.
        Some(Self(format!("{time:.9}").as_bytes().try_into().ok()?))
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The span of time that a reader wants.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    since: Option<PaddedTime>,
    until: Option<PaddedTime>,
    end: Option<Timestamp>,
}

impl Window {
    pub(super) fn new(since: Option<Timestamp>, until: Option<Timestamp>) -> Self {
        Self {
            since: since.and_then(PaddedTime::of),
            until: until.and_then(PaddedTime::of),
            end: until,
        }
    }

    /// Whether every time is wanted.
    pub(super) fn is_open(&self) -> bool {
        self.since.is_none() && self.until.is_none()
    }

    pub(super) fn admits(&self, time: &PaddedTime) -> bool {
        self.since.is_none_or(|since| *time >= since) && !self.is_over(time)
    }

    /// Whether nothing later than `time` is wanted.
    pub(super) fn is_over(&self, time: &PaddedTime) -> bool {
        self.until.is_some_and(|until| *time > until)
    }

    /// How long it takes until nothing that is written then is wanted.
    pub(super) fn remaining(&self) -> Option<Timespec> {
        let left = self.end?.duration_since(Timestamp::now());
        let left = std::time::Duration::try_from(left).unwrap_or_default();
        Timespec::try_from(left).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn padded(time: &str) -> Option<String> {
        let padded = PaddedTime::parse(time)?;
        Some(String::from_utf8(padded.as_bytes().to_vec()).unwrap())
    }

    #[test]
    fn times_get_nine_digits() {
        let cases = [
            (
                "2026-01-02T03:04:05Z",
                Some("2026-01-02T03:04:05.000000000Z"),
            ),
            (
                "2026-01-02T03:04:05.1Z",
                Some("2026-01-02T03:04:05.100000000Z"),
            ),
            (
                "2026-01-02T03:04:05.123456789Z",
                Some("2026-01-02T03:04:05.123456789Z"),
            ),
            (
                "2026-01-02T05:04:05+02:00",
                Some("2026-01-02T03:04:05.000000000Z"),
            ),
            ("2026-01-02T03:04:05.1234567890Z", None),
            ("yesterday", None),
            ("", None),
        ];

        for (time, expected) in cases {
            assert_eq!(padded(time).as_deref(), expected, "{time}");
        }
    }

    #[test]
    fn a_window_includes_both_its_ends() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let window = Window::new(
            Some(at("2026-01-01T00:00:05Z")),
            Some(at("2026-01-01T00:00:06Z")),
        );
        let cases = [
            ("2026-01-01T00:00:04.999999999Z", false),
            ("2026-01-01T00:00:05Z", true),
            ("2026-01-01T00:00:05.5Z", true),
            ("2026-01-01T00:00:06Z", true),
            ("2026-01-01T00:00:06.000000001Z", false),
        ];

        for (time, wanted) in cases {
            assert_eq!(
                window.admits(&PaddedTime::parse(time).unwrap()),
                wanted,
                "{time}"
            );
        }
    }
}
