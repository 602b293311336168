//! CPU bandwidth.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How much CPU a container may use: `quota` microseconds in every `period`.
///
/// `--cpus 1.5` is 150 ms of CPU time in every 100 ms of wall time. Source: Linux
/// `Documentation/admin-guide/cgroup-v2.rst`, `cpu.max`; v1: `cpu.cfs_quota_us`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuQuota {
    /// Microseconds of CPU time per period.
    pub quota_us: u64,
    /// Length of a period in microseconds.
    pub period_us: u64,
}

/// The text is not a number of CPUs that this host can give.
#[derive(Debug, PartialEq, Eq)]
pub struct InvalidCpus {
    asked: String,
    online: usize,
}

impl std::error::Error for InvalidCpus {}

impl fmt::Display for InvalidCpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "invalid number of CPUs {:?}: want a decimal from 0.01 to {}, as many as this host has",
            self.asked, self.online
        )
    }
}

impl CpuQuota {
    /// The kernel's default period; shorter ones cost more in scheduler overhead.
    const PERIOD_US: u64 = 100_000;

    /// Reads `--cpus`: a decimal number of whole CPUs with at most nine fraction digits,
    /// rounded down to the microsecond. `0` means no limit and gives `None`.
    ///
    /// # Errors
    ///
    /// [`InvalidCpus`] unless the number is 0 or between 0.01 (the kernel's least quota is
    /// 1 ms) and `online`.
    pub fn from_cpus(text: &str, online: usize) -> Result<Option<Self>, InvalidCpus> {
        let invalid = || InvalidCpus {
            asked: text.chars().take(40).collect(),
            online,
        };
        let nanos = parse_nanos(text).ok_or_else(invalid)?;
        if nanos == 0 {
            return Ok(None);
        }
        let quota_us = nanos / (1_000_000_000 / Self::PERIOD_US);
        let most = u64::try_from(online)
            .unwrap_or(u64::MAX)
            .saturating_mul(Self::PERIOD_US);
        if quota_us < 1_000 || quota_us > most {
            return Err(invalid());
        }
        Ok(Some(Self {
            quota_us,
            period_us: Self::PERIOD_US,
        }))
    }

    /// The same amount in docker's unit, a billionth of a CPU.
    #[must_use]
    pub const fn nano_cpus(self) -> u64 {
        self.quota_us * 1_000_000_000 / self.period_us
    }
}

fn parse_nanos(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty())
        || fraction.len() > 9
        || !digits(whole)
        || !digits(fraction)
    {
        return None;
    }
    let whole: u64 = if whole.is_empty() {
        0
    } else {
        whole.parse().ok()?
    };
    let fraction: u64 = format!("{fraction:0<9}").parse().ok()?;
    whole.checked_mul(1_000_000_000)?.checked_add(fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpus_become_quota_and_period() {
        let quota = |text| CpuQuota::from_cpus(text, 2).map(|q| q.map(|q| q.quota_us));
        assert_eq!(quota("0"), Ok(None));
        assert_eq!(quota("0.5"), Ok(Some(50_000)));
        assert_eq!(quota(".5"), Ok(Some(50_000)));
        assert_eq!(quota("1.5"), Ok(Some(150_000)));
        assert_eq!(quota("2"), Ok(Some(200_000)));
        assert_eq!(
            CpuQuota::from_cpus("1.25", 2).unwrap().unwrap().nano_cpus(),
            1_250_000_000
        );
        for bad in [
            "",
            ".",
            "-1",
            "NaN",
            "inf",
            "1e-9",
            "0.0000000001",
            "0.009",
            "2.00001",
            "100000",
            "1,5",
            "٣",
        ] {
            assert!(quota(bad).is_err(), "{bad:?}");
        }
    }
}
