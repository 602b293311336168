//! A writer of lines that text cannot break out of.

use rocker_types::{Diagnose, ErrorKind};

/// Text that must not be written into a container's file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} {text:?} contains {what}")]
pub struct UnsafeText {
    field: &'static str,
    text: String,
    what: &'static str,
}

impl Diagnose for UnsafeText {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

/// Collects lines of fields.
#[derive(Debug, Default)]
pub(super) struct Lines {
    text: String,
}

impl Lines {
    /// Adds a line of `words`, each named for the error message, between single spaces.
    pub(super) fn push(&mut self, words: &[(&'static str, &str)]) -> Result<(), UnsafeText> {
        for (field, word) in words {
            check(field, word)?;
        }
        let words: Vec<&str> = words.iter().map(|(_, word)| *word).collect();
        self.text.push_str(&words.join(" "));
        self.text.push('\n');
        Ok(())
    }

    pub(super) fn finish(self) -> String {
        self.text
    }
}

/// Colons are left to the caller: addresses have them, names must not; see [`check_name`].
pub(super) fn check(field: &'static str, word: &str) -> Result<(), UnsafeText> {
    let refuse = |what| {
        Err(UnsafeText {
            field,
            text: word.chars().take(200).collect(),
            what,
        })
    };
    if word.is_empty() {
        return refuse("nothing");
    }
    if word.bytes().any(|byte| byte < 0x20 || byte == 0x7f) {
        return refuse("a control character");
    }
    if word.chars().any(char::is_whitespace) {
        return refuse("a space");
    }
    if word.contains(['#', ';']) {
        return refuse("a comment sign");
    }
    Ok(())
}

/// As for every word, and no colon: in most files of this kind it separates fields.
pub(super) fn check_name(field: &'static str, name: &str) -> Result<(), UnsafeText> {
    check(field, name)?;
    if name.contains(':') {
        return Err(UnsafeText {
            field,
            text: name.chars().take(200).collect(),
            what: "a colon",
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_word_can_end_its_line_or_field() {
        let cases = [
            "", "a\nb", "a\rb", "a\0b", "a b", "a\tb", "a\x7fb", "a\u{85}b", "a#b", "a;b",
        ];
        for word in cases {
            let result = Lines::default().push(&[("host name", word)]);
            assert!(
                result.is_err_and(|error| error.to_string().contains("host name")),
                "{word:?}"
            );
        }
    }

    #[test]
    fn the_two_characters_backslash_and_n_are_no_line_end_and_pass() {
        let mut lines = Lines::default();
        lines.push(&[("option", r"a\nb")]).unwrap();

        assert_eq!(lines.finish(), "a\\nb\n");
    }

    #[test]
    fn names_may_not_hold_a_colon() {
        assert!(check_name("host name", "a:b").is_err());
        assert!(check_name("host name", "web.example").is_ok());
    }
}
