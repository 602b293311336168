//! Who may read: no questions, a name and a password, or a token.

use hyper::Request;
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use serde_json::json;

use super::serve::{Answer, error, header, respond, with_header};
use super::{Auth, Shared};
use crate::image::sha256;

/// `None` if the caller may go on, else the 401.
pub(super) fn refuse(shared: &Shared, request: &Request<Incoming>) -> Option<Answer> {
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
            let scope = scope_of(request.uri().path());
            let token = given.and_then(|value| value.strip_prefix("Bearer "));
            if token.is_some_and(|token| token_is_good(shared, token, scope.as_deref())) {
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

fn token_is_good(shared: &Shared, token: &str, scope: Option<&str>) -> bool {
    let content = shared.content();
    content
        .tokens
        .iter()
        .any(|(known, granted)| known == token && scope.is_none_or(|scope| scope == granted))
}

/// `repository:NAME:pull` of a manifest's or blob's path.
fn scope_of(path: &str) -> Option<String> {
    let rest = path.strip_prefix("/v2/")?;
    let (repository, _) = rest
        .split_once("/manifests/")
        .or_else(|| rest.split_once("/blobs/"))?;
    Some(format!("repository:{repository}:pull"))
}

/// Hands out a token for the scope that is asked for.
pub(super) fn token(shared: &Shared, request: &Request<Incoming>) -> Answer {
    let Auth::Token { user } = &shared.auth else {
        return error(404, "NOT_FOUND", "this registry hands out no tokens");
    };
    let wanted = user.as_ref().map(|(user, password)| basic(user, password));
    if wanted.is_some() && header(request, AUTHORIZATION) != wanted.as_deref() {
        return error(401, "UNAUTHORIZED", "wrong name or password");
    }
    let scope = request
        .uri()
        .query()
        .and_then(|query| {
            query
                .split('&')
                .find_map(|pair| pair.strip_prefix("scope="))
        })
        .map(percent_decode)
        .unwrap_or_default();
    let mut content = shared.content();
    // Looks like a token, and differs from every other one of this registry.
    let token = sha256(format!("{}{scope}{}", shared.address, content.tokens.len()).as_bytes())
        .replace(':', "-");
    content.tokens.push((token.clone(), scope));
    let document = json!({ "token": token, "access_token": token, "expires_in": 300 });
    with_header(
        respond(200, document.to_string().into()),
        CONTENT_TYPE,
        "application/json",
    )
}

fn percent_decode(text: &str) -> String {
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

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", base64(format!("{user}:{password}").as_bytes()))
}

fn base64(bytes: &[u8]) -> String {
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
    fn percent_decoding_leaves_what_is_not_an_escape() {
        assert_eq!(
            percent_decode("repository%3Ateam%2Fapp:pull"),
            "repository:team/app:pull"
        );
        assert_eq!(percent_decode("100%"), "100%");
    }
}
