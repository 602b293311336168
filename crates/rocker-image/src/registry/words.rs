//! A registry's own words in our messages.

use oci_client::errors::OciEnvelope;

pub(super) use crate::document::shorten;

/// The registry's own words in an error's body; `None` when there are none of the form that
/// distribution-spec gives them.
pub(super) fn parse_envelope(body: &[u8]) -> Option<String> {
    let envelope: OciEnvelope = serde_json::from_slice(body).ok()?;
    let error = envelope.errors.into_iter().next()?;
    let code = serde_json::to_value(&error.code).ok()?;
    let words = if error.message.trim().is_empty() {
        code.as_str()?
    } else {
        error.message.trim()
    };
    Some(shorten(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registrys_words_are_taken_over_safely() {
        let cases: &[(&str, Option<&str>)] = &[
            (
                r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown","detail":{"Tag":"x"}}]}"#,
                Some("manifest unknown"),
            ),
            (r#"{"errors":[{"code":"DENIED"}]}"#, Some("DENIED")),
            (
                r#"{"errors":[{"code":"CUSTOM","message":"a\u001b[31mb\nc\u202ed"}]}"#,
                Some("a [31mb c d"),
            ),
            (r#"{"errors":[]}"#, None),
            ("<html>", None),
            ("", None),
        ];
        for (body, words) in cases {
            assert_eq!(parse_envelope(body.as_bytes()).as_deref(), *words, "{body}");
        }
        assert_eq!(shorten(&"é".repeat(300)).chars().count(), 201);
    }
}
