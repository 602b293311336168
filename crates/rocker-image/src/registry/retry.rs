//! Which failures may pass, and how long to wait for that.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{Duration, SystemTime};

use reqwest::Response;
use reqwest::header::RETRY_AFTER;

use super::cause::Transience;
use super::{RegistryError, RetryPolicy};

/// Wait before a request is repeated that got somewhere the last time.
const AFTER_PROGRESS: Duration = Duration::from_millis(40);

/// A request that failed in a way that may pass, and will be repeated.
#[derive(Clone, Copy, Debug)]
pub(super) struct Retry<'a> {
    /// A URL without its query.
    pub(super) what: &'a str,
    /// Why it failed.
    pub(super) cause: &'a str,
    /// How long until the next attempt.
    pub(super) delay: Duration,
}

/// Counts the attempts at one request.
#[derive(Debug)]
pub(super) struct Attempts {
    policy: RetryPolicy,
    failed: u32,
    honoured: Duration,
}

impl Attempts {
    pub(super) const fn new(policy: RetryPolicy) -> Self {
        Self {
            policy,
            failed: 0,
            honoured: Duration::ZERO,
        }
    }

    /// How long to wait before the request is repeated; `None` when it should not be.
    pub(super) fn delay(&mut self, error: &RegistryError) -> Option<Duration> {
        match error.transience() {
            Transience::Permanent => None,
            _ if self.failed >= self.policy.retries => None,
            Transience::Passing => {
                let doubled = self.policy.delay.saturating_mul(1 << self.failed.min(16));
                self.failed += 1;
                Some(jitter(doubled.min(self.policy.max_delay)))
            }
            Transience::After(wait) => {
                self.failed += 1;
                self.honoured = self.honoured.saturating_add(wait);
                (self.honoured <= self.policy.max_retry_after).then_some(wait)
            }
        }
    }

    /// The same for a request that got further than the one before: such failures do not
    /// add up.
    pub(super) fn delay_after_progress(&mut self, error: &RegistryError) -> Option<Duration> {
        self.failed = 0;
        self.delay(error).map(|delay| match error.transience() {
            Transience::After(_) => delay,
            Transience::Passing | Transience::Permanent => delay.min(jitter(AFTER_PROGRESS)),
        })
    }
}

/// Something between a half of `delay` and all of it: clients that failed together shall
/// not come back together.
fn jitter(delay: Duration) -> Duration {
    // a hasher's keys are random, which is all the randomness that this needs
    let random = RandomState::new().build_hasher().finish();
    let part = u32::try_from(random % 1000).unwrap_or(0);
    delay / 2 + delay / 2 * part / 1000
}

/// How long an answer asks us to wait.
pub(super) fn retry_after(response: &Response) -> Option<Duration> {
    let value = response.headers().get(RETRY_AFTER)?.to_str().ok()?;
    parse_retry_after(value, SystemTime::now())
}

/// Whether an answer means "later": 503 does so only if it says when.
pub(super) const fn is_rate_limit(status: u16, retry_after: Option<Duration>) -> bool {
    status == 429 || (status == 503 && retry_after.is_some())
}

/// Reads `Retry-After`: seconds, or a date to be compared with `now`. Nonsense is `None`.
///
/// Source: RFC 9110, 10.2.3.
fn parse_retry_after(text: &str, now: SystemTime) -> Option<Duration> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        // more digits than a u64 has is a very long time as well
        return Some(Duration::from_secs(
            text.parse().unwrap_or(u64::from(u32::MAX)),
        ));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(now).unwrap_or(Duration::ZERO))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passing() -> RegistryError {
        RegistryError::Status {
            url: String::new(),
            status: 500,
            message: None,
        }
    }

    fn limited(seconds: u64) -> RegistryError {
        let retry_after = Some(Duration::from_secs(seconds));
        let registry = String::new();
        RegistryError::RateLimited {
            registry,
            status: 429,
            retry_after,
            authenticated: false,
            message: None,
        }
    }

    #[test]
    fn delays_double_up_to_a_limit_and_end() {
        let policy = RetryPolicy {
            retries: 5,
            delay: Duration::from_secs(1),
            max_delay: Duration::from_secs(4),
            ..RetryPolicy::default()
        };
        let mut attempts = Attempts::new(policy);
        for most in [1, 2, 4, 4, 4] {
            let delay = attempts.delay(&passing()).unwrap();
            let most = Duration::from_secs(most);
            assert!(delay >= most / 2 && delay <= most, "{delay:?} of {most:?}");
        }
        assert_eq!(attempts.delay(&passing()), None);
    }

    #[test]
    fn retry_after_is_honoured_up_to_a_minute_in_sum() {
        let mut attempts = Attempts::new(RetryPolicy::default());
        assert_eq!(attempts.delay(&limited(2)), Some(Duration::from_secs(2)));
        assert_eq!(attempts.delay(&limited(58)), Some(Duration::from_secs(58)));
        assert_eq!(attempts.delay(&limited(1)), None);
        assert_eq!(
            Attempts::new(RetryPolicy::default()).delay(&limited(3600)),
            None
        );
    }

    #[test]
    fn progress_resets_the_count() {
        let mut attempts = Attempts::new(RetryPolicy::default());
        for _ in 0..100 {
            assert!(attempts.delay_after_progress(&passing()).unwrap() <= AFTER_PROGRESS);
        }
    }

    #[test]
    fn permanent_failures_are_not_repeated() {
        let error = RegistryError::Status {
            url: String::new(),
            status: 400,
            message: None,
        };
        assert_eq!(Attempts::new(RetryPolicy::default()).delay(&error), None);
        assert_eq!(
            Attempts::new(RetryPolicy::default()).delay_after_progress(&error),
            None
        );
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let cases = [
            ("0", Some(0)),
            (" 120 ", Some(120)),
            ("99999999999999999999999", Some(u64::from(u32::MAX))),
            ("Sun, 06 Nov 1994 08:49:57 GMT", Some(20)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(0)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("", None),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
        ];
        for (text, seconds) in cases {
            assert_eq!(
                parse_retry_after(text, now),
                seconds.map(Duration::from_secs),
                "{text:?}"
            );
        }
    }
}
