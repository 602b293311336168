//! What a registry says in `WWW-Authenticate`.
//!
//! Source: RFC 9110, 11; distribution `docs/spec/auth/token.md`.

/// What a registry wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    Basic,
    Bearer {
        realm: String,
        service: Option<String>,
    },
}

/// The best challenge of several headers: a token is narrower than a password.
pub(super) fn choose_challenge<'a>(headers: impl Iterator<Item = &'a str>) -> Option<Challenge> {
    let challenges: Vec<Challenge> = headers.flat_map(parse_challenges).collect();
    let bearer = challenges
        .iter()
        .find(|challenge| matches!(challenge, Challenge::Bearer { .. }));
    bearer.or(challenges.first()).cloned()
}

/// The challenges of one header that we know; what follows a syntax error is not looked at.
fn parse_challenges(header: &str) -> Vec<Challenge> {
    /// Challenges in one header; more are noise.
    const MOST: usize = 16;
    let parsed = http_auth::parser::ChallengeParser::new(header)
        .take(MOST)
        .map_while(Result::ok);
    parsed
        .filter_map(|challenge| known_challenge(&challenge))
        .collect()
}

fn known_challenge(challenge: &http_auth::ChallengeRef<'_>) -> Option<Challenge> {
    if challenge.scheme.eq_ignore_ascii_case("basic") {
        return Some(Challenge::Basic);
    }
    let parameter = |name: &str| {
        let mut named = challenge
            .params
            .iter()
            .filter(|(key, _)| key.eq_ignore_ascii_case(name));
        let value = named.next().map(|(_, value)| value.to_unescaped());
        // twice is ambiguous, and so worth nothing
        if named.next().is_some() { None } else { value }
    };
    let is_bearer = challenge.scheme.eq_ignore_ascii_case("bearer");
    is_bearer
        .then(|| parameter("realm"))
        .flatten()
        .map(|realm| Challenge::Bearer {
            realm,
            service: parameter("service"),
        })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bearer(realm: &str, service: Option<&str>) -> Option<Challenge> {
        Some(Challenge::Bearer {
            realm: realm.to_owned(),
            service: service.map(str::to_owned),
        })
    }

    #[test]
    fn challenges_are_read() {
        let cases: &[(&[&str], Option<Challenge>)] = &[
            (&["Basic realm=\"x\""], Some(Challenge::Basic)),
            (&["basic"], Some(Challenge::Basic)),
            (
                &["Bearer realm=\"https://a/t\""],
                bearer("https://a/t", None),
            ),
            (
                &[
                    "Bearer realm=\"https://auth.docker.io/token\",service=\"registry.docker.io\",scope=\"repository:x:pull\"",
                ],
                bearer("https://auth.docker.io/token", Some("registry.docker.io")),
            ),
            (
                &["bearer realm=\"https://a/t\" , service=s"],
                bearer("https://a/t", Some("s")),
            ),
            (
                &["Bearer realm=\"https://a/\\\"q\\\"\""],
                bearer("https://a/\"q\"", None),
            ),
            (
                &["Basic realm=\"x\", Bearer realm=\"https://a/t\""],
                bearer("https://a/t", None),
            ),
            (
                &["Basic realm=\"x\"", "Bearer realm=\"https://a/t\""],
                bearer("https://a/t", None),
            ),
            (&["Negotiate", "Basic realm=\"x\""], Some(Challenge::Basic)),
            (&["Bearer service=\"s\""], None),
            (&["Bearer realm=\"https://a\", realm=\"https://b\""], None),
            (&["Digest realm=\"x\""], None),
            (&[""], None),
            (&[], None),
            (&["Bearer realm=\"https://a"], None),
        ];
        for (headers, expected) in cases {
            assert_eq!(
                &choose_challenge(headers.iter().copied()),
                expected,
                "{headers:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_header_makes_the_parser_panic(header in ".{0,200}") {
            let _ = parse_challenges(&header);
        }
    }
}
