//! Wall-clock time as the databases keep it.

use std::time::{SystemTime, UNIX_EPOCH};

/// Nanoseconds since 1970. 0 for a clock that stands before it.
pub(crate) fn now_ns() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// RFC 3339 in UTC with nine fraction digits, as docker prints times in JSON; `None` is
/// docker's "never".
pub(crate) fn rfc3339(ns: Option<i64>) -> String {
    let Some(ns) = ns else {
        return "0001-01-01T00:00:00Z".into();
    };
    let time = jiff::Timestamp::from_nanosecond(i128::from(ns)).unwrap_or_default();
    format!("{time:.9}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_nine_digits() {
        assert_eq!(
            rfc3339(Some(1_000_000_000)),
            "1970-01-01T00:00:01.000000000Z"
        );
        assert_eq!(rfc3339(Some(5)), "1970-01-01T00:00:00.000000005Z");
        assert_eq!(rfc3339(None), "0001-01-01T00:00:00Z");
    }
}
