//! Who may do what: no questions, a name and a password, or a token.

use hyper::Method;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use serde_json::json;

use super::serve::{Answer, Head, error, header, respond, with_header};
use super::{Auth, Shared};
use crate::image::sha256;

/// `None` if the caller may go on, else the 401.
pub(super) fn refuse(shared: &Shared, request: &Head) -> Option<Answer> {
    let given = header(request, AUTHORIZATION);
    let challenge = match &shared.auth {
        Auth::Open => return None,
        Auth::Basic { user, password } => {
            if given == Some(&basic(user, password)) {
                return None;
            }
            "Basic realm=\"test registry\"".to_owned()
        }
        Auth::Token { .. } => {
            let scope = scope_of(&request.method, request.uri.path());
            if may(shared, request, scope.as_deref()) {
                return None;
            }
            let scope = scope.map_or_else(String::new, |scope| format!(",scope=\"{scope}\""));
            format!(
                "Bearer realm=\"http://{}/token\",service=\"test-registry\"{scope}",
                shared.address
            )
        }
    };
    Some(with_header(
        error(401, "UNAUTHORIZED", "authentication required"),
        WWW_AUTHENTICATE,
        &challenge,
    ))
}

/// Whether the request's token is good for `scope`.
fn may(shared: &Shared, request: &Head, scope: Option<&str>) -> bool {
    let given = header(request, AUTHORIZATION);
    let Some(token) = given.and_then(|value| value.strip_prefix("Bearer ")) else {
        return false;
    };
    let content = shared.content();
    let granted = content.tokens.iter().find(|(known, _)| known == token);
    granted.is_some_and(|(_, granted)| {
        scope.is_none_or(|scope| granted.iter().any(|granted| covers(granted, scope)))
    })
}

/// Whether the request may read a repository, which is not the one that it is about.
pub(super) fn may_read(shared: &Shared, request: &Head, repository: &str) -> bool {
    match &shared.auth {
        Auth::Open | Auth::Basic { .. } => true,
        Auth::Token { .. } => may(
            shared,
            request,
            Some(&format!("repository:{repository}:pull")),
        ),
    }
}

/// Whether `granted` is about the same repository and has every action of `wanted`.
fn covers(granted: &str, wanted: &str) -> bool {
    let (Some((have, can)), Some((need, must))) =
        (granted.rsplit_once(':'), wanted.rsplit_once(':'))
    else {
        return false;
    };
    have == need
        && must
            .split(',')
            .all(|must| can.split(',').any(|can| can == must))
}

/// `repository:NAME:pull` of a manifest's or blob's path, with `push` where it is written to.
fn scope_of(method: &Method, path: &str) -> Option<String> {
    let rest = path.strip_prefix("/v2/")?;
    let (repository, rest) = rest
        .split_once("/manifests/")
        .or_else(|| rest.split_once("/blobs/"))?;
    let reads = matches!(*method, Method::GET | Method::HEAD) && !rest.starts_with("uploads/");
    let actions = if reads { "pull" } else { "pull,push" };
    Some(format!("repository:{repository}:{actions}"))
}

/// Hands out a token for the scope that is asked for.
pub(super) fn token(shared: &Shared, request: &Head) -> Answer {
    let Auth::Token { user } = &shared.auth else {
        return error(404, "NOT_FOUND", "this registry hands out no tokens");
    };
    let wanted = user.as_ref().map(|(user, password)| basic(user, password));
    if wanted.is_some() && header(request, AUTHORIZATION) != wanted.as_deref() {
        return error(401, "UNAUTHORIZED", "wrong name or password");
    }
    let query = request.uri.query().unwrap_or_default();
    let scopes: Vec<String> = query
        .split('&')
        .filter_map(|pair| pair.strip_prefix("scope="))
        .map(percent_decode)
        .collect();
    let mut content = shared.content();
    if let Some((only, status)) = &content.strict {
        let own = format!("repository:{only}:");
        if scopes.iter().any(|scope| !scope.starts_with(&own)) {
            return error(*status, "DENIED", "not all of these scopes are yours");
        }
    }
    // Looks like a token, and differs from every other one of this registry.
    let token = sha256(format!("{}{scopes:?}{}", shared.address, content.tokens.len()).as_bytes())
        .replace(':', "-");
    content.tokens.push((token.clone(), scopes));
    let document = json!({ "token": token, "access_token": token, "expires_in": 300 });
    with_header(
        respond(200, document.to_string().into()),
        CONTENT_TYPE,
        "application/json",
    )
}

pub(super) fn percent_decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let escaped = (first == b'%').then(|| tail.get(..2)).flatten();
        let value =
            escaped.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        bytes.push(value.unwrap_or(first));
        rest = if value.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

pub(super) fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", base64(format!("{user}:{password}").as_bytes()))
}

pub(super) fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let group = chunk
            .iter()
            .fold(0_usize, |bits, byte| (bits << 8) | usize::from(*byte))
            << (8 * (3 - chunk.len()));
        for digit in 0..4 {
            let index = (group >> (18 - 6 * digit)) & 63;
            text.push(if digit <= chunk.len() {
                char::from(ALPHABET[index])
            } else {
                '='
            });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_pads_to_groups_of_four() {
        for (plain, coded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
        ] {
            assert_eq!(base64(plain.as_bytes()), coded, "{plain}");
        }
    }

    #[test]
    fn a_scope_covers_its_parts() {
        for (granted, wanted, covered) in [
            ("repository:a:pull,push", "repository:a:pull", true),
            ("repository:a:pull", "repository:a:pull,push", false),
            ("repository:b:pull,push", "repository:a:pull", false),
            ("", "repository:a:pull", false),
        ] {
            assert_eq!(covers(granted, wanted), covered, "{granted} {wanted}");
        }
    }

    #[test]
    fn percent_decoding_leaves_what_is_not_an_escape() {
        assert_eq!(
            percent_decode("repository%3Ateam%2Fapp:pull"),
            "repository:team/app:pull"
        );
        assert_eq!(percent_decode("100%"), "100%");
    }
}
