//! Values of flags: text to something that cannot be wrong.
//!
//! Errors say what is wrong with the value; the flag's name is put before them by
//! [`UsageError`](super::UsageError).

use std::path::PathBuf;
use std::time::Duration;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Span, SpanRelativeTo, Timestamp};
use rocker_engine::StopTimeout;
use rocker_engine::logs::Tail;
use rocker_types::{ByteSize, Capability, CpuQuota, VolumeSpec};

/// Go's spellings of a truth value, which docker takes for `--flag=…`.
pub(crate) fn truth(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(format!("{text:?} is neither true nor false")),
    }
}

/// A path that does not depend on where one stands.
pub(crate) fn absolute_path(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() {
        return Err("the path is empty".to_owned());
    }
    std::path::absolute(text).map_err(|error| format!("{text:?}: {error}"))
}

/// A directory inside the container.
pub(crate) fn working_directory(text: &str) -> Result<String, String> {
    if text.starts_with('/') {
        Ok(text.to_owned())
    } else {
        Err(format!("{text:?} is not an absolute path"))
    }
}

/// `-e`: a variable with its value, or one to copy from the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum EnvVar {
    /// `KEY=VALUE`, as it goes into the container.
    Set(String),
    /// The name alone: left out when the caller has no such variable.
    Copy(String),
}

impl EnvVar {
    /// `KEY=VALUE`, with the caller's value where none was given.
    pub(crate) fn resolve(self) -> Option<String> {
        match self {
            Self::Set(pair) => Some(pair),
            Self::Copy(name) => {
                let value = std::env::var(&name).ok()?;
                Some(format!("{name}={value}"))
            }
        }
    }
}

/// `KEY=VALUE` or `KEY`.
pub(crate) fn env_var(text: &str) -> Result<EnvVar, String> {
    match text.split_once('=') {
        Some(("", _)) => Err(format!("{text:?} has no name before the =")),
        Some(_) => Ok(EnvVar::Set(text.to_owned())),
        None if text.is_empty() => Err("the name is empty".to_owned()),
        None => Ok(EnvVar::Copy(text.to_owned())),
    }
}

/// `KEY[=VALUE]`.
pub(crate) fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    if key.is_empty() {
        return Err(format!("{text:?} has no key"));
    }
    Ok((key.to_owned(), value.to_owned()))
}

/// `--entrypoint`: a program, or a JSON array of a program and its first arguments. Empty text
/// means that the image's entrypoint is dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entrypoint(pub(crate) Vec<String>);

/// Reads [`Entrypoint`].
pub(crate) fn entrypoint(text: &str) -> Result<Entrypoint, String> {
    if text.trim_start().starts_with('[') {
        let words = serde_json::from_str(text)
            .map_err(|error| format!("{text:?} is not a JSON array of strings: {error}"))?;
        return Ok(Entrypoint(words));
    }
    Ok(Entrypoint(match text {
        "" => Vec::new(),
        program => vec![program.to_owned()],
    }))
}

/// `--volume`; a relative source starts where the caller stands.
pub(crate) fn volume(text: &str) -> Result<VolumeSpec, String> {
    let here = std::env::current_dir()
        .map_err(|error| format!("{text:?}: cannot tell the current directory: {error}"))?;
    VolumeSpec::parse(text, &here).map_err(|error| error.to_string())
}

/// `--cpus`; `None` is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cpus(pub(crate) Option<CpuQuota>);

/// Reads [`Cpus`]: no more than this host has.
pub(crate) fn cpus(text: &str) -> Result<Cpus, String> {
    CpuQuota::from_cpus(text, online_cpus())
        .map(Cpus)
        .map_err(|error| error.to_string())
}

/// How many processors the host has, whatever rocker itself may use of them.
pub(crate) fn online_cpus() -> usize {
    let listed = fs_err::read_to_string("/sys/devices/system/cpu/online").ok();
    let own = || std::thread::available_parallelism().map_or(1, usize::from);
    listed.and_then(|list| in_list(&list)).unwrap_or_else(own)
}

/// The length of a list of the kernel's: `0-3,8` has five.
fn in_list(list: &str) -> Option<usize> {
    list.trim().split(',').try_fold(0_usize, |sum, range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        sum.checked_add(last.checked_sub(first)?)?.checked_add(1)
    })
}

/// `--memory`; `None` is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Memory(pub(crate) Option<ByteSize>);

/// With less than this, docker's minimum too, the kernel kills most programs at their start.
const LEAST_MEMORY: u64 = 6 << 20;

/// Reads [`Memory`].
pub(crate) fn memory(text: &str) -> Result<Memory, String> {
    let size: ByteSize = text.parse().map_err(|error| format!("{error}"))?;
    match size.bytes() {
        0 => Ok(Memory(None)),
        bytes if bytes < LEAST_MEMORY => Err(format!("{text:?} is less than the minimum, 6m")),
        _ => Ok(Memory(Some(size))),
    }
}

/// `--pids-limit`; `None` is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PidsLimit(pub(crate) Option<u64>);

/// The kernel's greatest number of processes.
const MOST_PIDS: u64 = 1 << 22;

/// Reads [`PidsLimit`]: -1 and 0 are no limit.
pub(crate) fn pids_limit(text: &str) -> Result<PidsLimit, String> {
    match text.parse::<i64>() {
        Ok(-1 | 0) => Ok(PidsLimit(None)),
        Ok(number) => match u64::try_from(number) {
            Ok(limit) if limit <= MOST_PIDS => Ok(PidsLimit(Some(limit))),
            Ok(_) | Err(_) => Err(format!("{text:?} is not between -1 and {MOST_PIDS}")),
        },
        Err(_) => Err(format!("{text:?} is not a whole number")),
    }
}

/// The name of a capability, or `ALL`.
pub(crate) fn capability(text: &str) -> Result<String, String> {
    let all = ["ALL", "CAP_ALL"]
        .iter()
        .any(|all| text.eq_ignore_ascii_case(all));
    if !all {
        text.parse::<Capability>()
            .map_err(|error| error.to_string())?;
    }
    Ok(text.to_owned())
}

/// `--hostname`.
pub(crate) fn hostname(text: &str) -> Result<String, String> {
    match rocker_engine::check_hostname(text) {
        Ok(()) => Ok(text.to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// `--timeout` of stop and restart: seconds, -1 is for ever.
pub(crate) fn patience(text: &str) -> Result<StopTimeout, String> {
    match text.parse::<i64>() {
        Ok(-1) => Ok(StopTimeout::Never),
        Ok(seconds) => u64::try_from(seconds)
            .map(|seconds| StopTimeout::After(Duration::from_secs(seconds)))
            .map_err(|_| format!("{text:?} is less than -1")),
        Err(_) => Err(format!("{text:?} is not a number of seconds")),
    }
}

/// A span of time: a number of seconds, or one with a unit: ms, s, m or h.
pub(crate) fn span(text: &str) -> Result<Duration, String> {
    let refused = || format!("{text:?} is no time such as 500ms, 30s or 2m");
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| refused())?;
    let milliseconds = match unit {
        "ms" => Some(number),
        "" | "s" => number.checked_mul(1000),
        "m" => number.checked_mul(60_000),
        "h" => number.checked_mul(3_600_000),
        _ => None,
    };
    milliseconds.map(Duration::from_millis).ok_or_else(refused)
}

/// The same, and not nothing.
pub(crate) fn some_time(text: &str) -> Result<Duration, String> {
    match span(text)? {
        Duration::ZERO => Err("it has to be more than nothing".to_owned()),
        span => Ok(span),
    }
}

/// `--tail`: a number of lines, or all (docker reads every negative number as all).
pub(crate) fn tail(text: &str) -> Result<Tail, String> {
    if text == "all" {
        return Ok(Tail::All);
    }
    match text.parse::<i64>() {
        Ok(number) => Ok(u64::try_from(number).map_or(Tail::All, Tail::Last)),
        Err(_) => Err(format!("{text:?} is neither a number of lines nor \"all\"")),
    }
}

/// A point in time: RFC 3339, without an offset in the user's zone, seconds since 1970, or how
/// long ago as a duration.
pub(crate) fn moment(text: &str) -> Result<Timestamp, String> {
    let wrong =
        || format!("{text:?} is no point in time such as 2026-01-31, 2026-01-31T15:04:05Z or 24h");
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
    if is_number(seconds) && is_number(fraction) {
        let nanoseconds = format!("{fraction:0<9}");
        let nanoseconds = nanoseconds.get(..9).and_then(|digits| digits.parse().ok());
        return seconds
            .parse()
            .ok()
            .zip(nanoseconds)
            .and_then(|(seconds, nanoseconds)| Timestamp::new(seconds, nanoseconds).ok())
            .ok_or_else(wrong);
    }
    if let Ok(exact) = text.parse() {
        return Ok(exact);
    }
    if let Ok(local) = text.parse::<DateTime>() {
        let zoned = local.to_zoned(TimeZone::system());
        return zoned.map(|zoned| zoned.timestamp()).map_err(|_| wrong());
    }
    text.parse::<Span>()
        .and_then(|ago| ago.to_duration(SpanRelativeTo::days_are_24_hours()))
        .and_then(|ago| Timestamp::now().checked_sub(ago))
        .map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_lists_are_counted() {
        for (list, expected) in [
            ("0\n", Some(1)),
            ("0-3", Some(4)),
            ("0-3,8,10-11\n", Some(7)),
            ("", None),
            ("3-1", None),
            ("x", None),
        ] {
            assert_eq!(in_list(list), expected, "{list:?}");
        }
    }

    #[test]
    fn spans_have_units_or_are_seconds() {
        let milliseconds = |number| Ok(Duration::from_millis(number));
        for (text, expected) in [
            ("30", milliseconds(30_000)),
            ("500ms", milliseconds(500)),
            ("2m", milliseconds(120_000)),
            ("1h", milliseconds(3_600_000)),
            ("0", milliseconds(0)),
        ] {
            assert_eq!(span(text), expected, "{text}");
        }
        for text in [
            "",
            "s",
            "-1",
            "1.5s",
            "1 s",
            "1d",
            "99999999999999999999",
            "18446744073709551615h",
        ] {
            assert!(span(text).is_err(), "{text}");
        }
        assert!(some_time("0ms").is_err());
    }

    #[test]
    fn moments_are_dates_seconds_or_a_while_ago() {
        let at = |text: &str| moment(text).map(|at| at.to_string());
        let cases = [
            ("1136073600", "2006-01-01T00:00:00Z"),
            ("1136073600.123", "2006-01-01T00:00:00.123Z"),
            ("2006-01-01T00:00:00Z", "2006-01-01T00:00:00Z"),
            ("2006-01-01T01:00:00.5+01:00", "2006-01-01T00:00:00.5Z"),
        ];
        for (text, expected) in cases {
            assert_eq!(at(text).as_deref(), Ok(expected), "{text}");
        }
        let midnight: DateTime = "2006-01-02T00:00:00".parse().expect("a time");
        let midnight = midnight
            .to_zoned(TimeZone::system())
            .expect("a zone")
            .timestamp();
        assert_eq!(moment("2006-01-02"), Ok(midnight));
        assert_eq!(moment("2006-01-02T00:00:00"), Ok(midnight));
        for (text, minutes) in [
            ("36h", 36 * 60),
            ("1.5h", 90),
            ("1h30m", 90),
            ("7d", 7 * 24 * 60),
        ] {
            let ago = Timestamp::now() - jiff::SignedDuration::from_mins(minutes);
            let off = moment(text).expect("a duration").duration_since(ago);
            assert!(off.as_secs().abs() < 60, "{text}: {off}");
        }
        for bad in [
            "",
            "soon",
            "1.2.3",
            "2006-13-01",
            "99999999999999999999",
            "-",
        ] {
            assert!(moment(bad).is_err(), "{bad:?}");
        }
    }
}
