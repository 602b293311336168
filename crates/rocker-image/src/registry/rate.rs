//! What a registry tells about the number of pulls that it allows.

use reqwest::header::HeaderMap;

/// What is left of a limit, in words: Docker Hub tells it with every manifest, as
/// `ratelimit-limit: 100;w=21600` and `ratelimit-remaining: 76;w=21600`, a number of pulls in a
/// window of seconds.
pub(super) fn allowance(headers: &HeaderMap) -> Option<String> {
    let text = |name| headers.get(name)?.to_str().ok();
    let (remaining, _) = parse(text("ratelimit-remaining")?)?;
    let limit = text("ratelimit-limit").and_then(parse);
    Some(match limit {
        Some((limit, Some(window))) => {
            format!("{remaining} of {limit} pulls in {} are left", span(window))
        }
        Some((limit, None)) => format!("{remaining} of {limit} pulls are left"),
        None => format!("{remaining} pulls are left"),
    })
}

/// A number of pulls, and the window in seconds.
fn parse(text: &str) -> Option<(u64, Option<u64>)> {
    let mut parts = text.split(';').map(str::trim);
    let number = parts.next()?.parse().ok()?;
    let window = parts.find_map(|part| part.strip_prefix("w=")?.parse().ok());
    Some((number, window))
}

fn span(seconds: u64) -> String {
    match seconds {
        seconds if seconds > 0 && seconds % 3600 == 0 => format!("{} h", seconds / 3600),
        seconds if seconds > 0 && seconds % 60 == 0 => format!("{} min", seconds / 60),
        seconds => format!("{seconds} s"),
    }
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn limits_are_told_as_far_as_they_are_known() {
        for (limit, remaining, expected) in [
            (
                Some("100;w=21600"),
                Some("76;w=21600"),
                Some("76 of 100 pulls in 6 h are left"),
            ),
            (
                Some("100;w=90"),
                Some("0"),
                Some("0 of 100 pulls in 90 s are left"),
            ),
            (Some("100"), Some("0;w=60"), Some("0 of 100 pulls are left")),
            (None, Some("5; w=60"), Some("5 pulls are left")),
            (Some("many"), Some("5"), Some("5 pulls are left")),
            (Some("100;w=21600"), None, None),
            (Some("100"), Some("-1"), None),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in [
                ("ratelimit-limit", limit),
                ("ratelimit-remaining", remaining),
            ] {
                let name = HeaderName::from_static(name);
                value.map(|value| headers.insert(name, HeaderValue::from_static(value)));
            }
            assert_eq!(
                allowance(&headers).as_deref(),
                expected,
                "{limit:?} {remaining:?}"
            );
        }
    }
}
