//! `HEALTHCHECK` of a Dockerfile.

use crate::HealthConfig;

/// Units of Go's durations, in nanoseconds; the longer name first where one begins another.
const UNITS: [(&str, i64); 7] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Below this docker takes no time of a check but 0, which is the default.
const LEAST_NS: i64 = 1_000_000;

/// Reads `NONE`, or `[--interval=30s …] CMD command`.
pub(super) fn parse(text: &str) -> Result<HealthConfig, String> {
    let mut health = HealthConfig::default();
    let mut rest = text.trim();
    while rest.starts_with("--") {
        let (option, after) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        set(&mut health, option)?;
        rest = after.trim_start();
    }
    let (kind, command) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let command = command.trim();
    match kind.to_ascii_uppercase().as_str() {
        "NONE" if health != HealthConfig::default() => {
            Err("options make no sense with NONE".to_owned())
        }
        "NONE" if !command.is_empty() => Err("NONE takes no command".to_owned()),
        "NONE" => {
            health.test = vec!["NONE".to_owned()];
            Ok(health)
        }
        "CMD" => {
            health.test = match serde_json::from_str::<Vec<String>>(command) {
                Ok(words) if words.is_empty() => return Err("CMD needs a command".to_owned()),
                Ok(words) => std::iter::once("CMD".to_owned()).chain(words).collect(),
                Err(_) if command.is_empty() => return Err("CMD needs a command".to_owned()),
                Err(_) => vec!["CMD-SHELL".to_owned(), command.to_owned()],
            };
            Ok(health)
        }
        _ => Err("it is NONE, or CMD and a command".to_owned()),
    }
}

fn set(health: &mut HealthConfig, option: &str) -> Result<(), String> {
    let (name, value) = option.split_once('=').unwrap_or((option, ""));
    let place = match name {
        "--interval" => &mut health.interval,
        "--timeout" => &mut health.timeout,
        "--start-period" => &mut health.start_period,
        "--start-interval" => &mut health.start_interval,
        "--retries" => {
            let retries = value.parse::<u32>();
            let retries = retries.map_err(|_| format!("{value:?} is no number of retries"))?;
            health.retries = Some(retries.into());
            return Ok(());
        }
        _ => return Err(format!("there is no option {name}")),
    };
    match nanoseconds(value) {
        Some(time) if time == 0 || time >= LEAST_NS => *place = Some(time),
        Some(_) => return Err(format!("{value:?} is less than a millisecond")),
        None => return Err(format!("{value:?} is no time like 30s or 1m30s")),
    }
    Ok(())
}

/// Go's spelling of a duration: `1h30m`, `1.5s`, `0`.
fn nanoseconds(text: &str) -> Option<i64> {
    if text == "0" {
        return Some(0);
    }
    let mut rest = text;
    let mut total: i64 = 0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(end);
        let unit_end = after
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_end);
        let (_, scale) = UNITS.iter().find(|(name, _)| *name == unit)?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let whole: i64 = match whole {
            "" => 0,
            digits => digits.parse().ok()?,
        };
        let mut part = whole.checked_mul(*scale)?;
        let mut place = *scale;
        for digit in fraction.bytes() {
            place /= 10;
            part = part.checked_add(place.checked_mul(i64::from(digit.checked_sub(b'0')?))?)?;
        }
        total = total.checked_add(part)?;
        rest = after;
    }
    (!text.is_empty()).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_gos() {
        for (text, want) in [
            ("0", Some(0)),
            ("30s", Some(30_000_000_000)),
            ("1m30s", Some(90_000_000_000)),
            ("1.5s", Some(1_500_000_000)),
            (".5ms", Some(500_000)),
            ("2h", Some(7_200_000_000_000)),
            ("", None),
            ("5", None),
            ("s", None),
            ("-1s", None),
            ("1d", None),
            ("99999999999h", None),
            ("1.2.3s", None),
        ] {
            assert_eq!(nanoseconds(text), want, "{text:?}");
        }
    }

    #[test]
    fn checks_are_read_as_docker_reads_them() {
        let test = |text: &str| parse(text).map(|health| health.test);
        assert_eq!(test("none"), Ok(vec!["NONE".to_owned()]));
        let words = |words: &[&str]| Ok(words.iter().map(|word| (*word).to_owned()).collect());
        assert_eq!(test("CMD a  b"), words(&["CMD-SHELL", "a  b"]));
        assert_eq!(test(r#"CMD ["a", "b c"]"#), words(&["CMD", "a", "b c"]));
        let full = parse("--interval=1m --timeout=3s --start-period=0 --retries=5 cmd x").unwrap();
        assert_eq!(
            (full.interval, full.timeout, full.start_period, full.retries),
            (Some(60_000_000_000), Some(3_000_000_000), Some(0), Some(5))
        );
        for bad in [
            "",
            "CMD",
            "CMD []",
            "x",
            "NONE x",
            "--retries=1 NONE",
            "--retries=-1 CMD x",
            "--interval=1us CMD x",
            "--interval CMD x",
            "--every=1s CMD x",
        ] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }
}
