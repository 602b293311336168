//! When a container is started again.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// `--restart`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestartPolicy {
    /// Never.
    #[default]
    No,
    /// After a non-zero exit, at most `max_retries` times (`None`: without end).
    OnFailure {
        /// How many times; `None` is without end.
        max_retries: Option<u32>,
    },
    /// Whenever it ends, unless it was stopped by hand.
    Always,
}

/// The text is not a restart policy.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "invalid restart policy {0:?}: want no, on-failure[:N] or always (until it is stopped by hand)"
)]
pub struct InvalidRestartPolicy(String);

impl RestartPolicy {
    /// Docker's name of the policy, without the number.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::OnFailure { .. } => "on-failure",
            Self::Always => "always",
        }
    }

    /// Whether a container that ended with `code` after `restarts` restarts starts again.
    #[must_use]
    pub const fn restarts_after(self, code: i32, restarts: u32) -> bool {
        match self {
            Self::No => false,
            Self::Always => true,
            Self::OnFailure { max_retries: None } => code != 0,
            Self::OnFailure {
                max_retries: Some(most),
            } => code != 0 && restarts < most,
        }
    }
}

impl FromStr for RestartPolicy {
    type Err = InvalidRestartPolicy;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidRestartPolicy(text.chars().take(80).collect());
        match text.split_once(':') {
            None if text == "no" || text.is_empty() => Ok(Self::No),
            None if text == "always" => Ok(Self::Always),
            None if text == "on-failure" => Ok(Self::OnFailure { max_retries: None }),
            Some(("on-failure", count))
                if !count.is_empty() && count.bytes().all(|b| b.is_ascii_digit()) =>
            {
                let count: u32 = count.parse().map_err(|_| invalid())?;
                // docker reads 0 as "no limit"
                Ok(Self::OnFailure {
                    max_retries: (count > 0).then_some(count),
                })
            }
            _ => Err(invalid()),
        }
    }
}

impl fmt::Display for RestartPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OnFailure {
                max_retries: Some(most),
            } => write!(f, "on-failure:{most}"),
            Self::No | Self::Always | Self::OnFailure { .. } => f.write_str(self.name()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_parse() {
        for text in ["no", "always", "on-failure", "on-failure:3"] {
            assert_eq!(text.parse::<RestartPolicy>().unwrap().to_string(), text);
        }
        for bad in [
            "x",
            "x:-1",
            "on-failure:-1",
            "on-failure:+1",
            "on-failure:",
            "always:3",
            "no:1",
            "on-failure:99999999999",
        ] {
            assert!(bad.parse::<RestartPolicy>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn on_failure_counts() {
        let policy: RestartPolicy = "on-failure:2".parse().unwrap();
        assert!(policy.restarts_after(1, 1));
        assert!(!policy.restarts_after(1, 2));
        assert!(!policy.restarts_after(0, 0));
        assert!(RestartPolicy::Always.restarts_after(0, 999));
    }
}
