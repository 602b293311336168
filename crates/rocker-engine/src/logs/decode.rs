//! Docker's JSON back to text.

use super::Stream;

/// One line of the file, its text still escaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RawEntry<'a> {
    pub(super) stream: Stream,
    pub(super) time: &'a str,
    escaped: &'a [u8],
}

const START: &[u8] = br#"{"log":""#;
const STDOUT: &[u8] = br#"","stream":"stdout","time":"#;
const STDERR: &[u8] = br#"","stream":"stderr","time":"#;

impl<'a> RawEntry<'a> {
    /// Reads a line as [`LogWriter`](super::LogWriter) and docker write it, without its newline.
    ///
    /// The end is looked at first: a time has no quotes in it, and what precedes it has a fixed
    /// length, so that the text need not be searched for its end.
    pub(super) fn parse(line: &'a [u8]) -> Option<Self> {
        let rest = line.strip_prefix(START)?.strip_suffix(b"\"}")?;
        let quote = memchr::memrchr(b'"', rest)?;
        let (before, time) = (&rest[..quote], &rest[quote + 1..]);
        let (stream, escaped) = match before.strip_suffix(STDOUT) {
            Some(escaped) => (Stream::Stdout, escaped),
            None => (Stream::Stderr, before.strip_suffix(STDERR)?),
        };
        let time = std::str::from_utf8(time).ok()?;
        Some(Self {
            stream,
            time,
            escaped,
        })
    }

    /// Appends the text to `out`; `None`, and nothing appended, if it is no JSON string: two
    /// halves of torn lines can look like one entry.
    pub(super) fn unescape(&self, out: &mut Vec<u8>) -> Option<()> {
        let start = out.len();
        let mut rest = self.escaped;
        while let Some(at) = memchr::memchr2(b'\\', b'"', rest) {
            if rest[at] == b'"' {
                out.truncate(start);
                return None;
            }
            out.extend_from_slice(&rest[..at]);
            rest = unescape_one(&rest[at..], out);
        }
        out.extend_from_slice(rest);
        Some(())
    }
}

/// Appends what the escape at the start of `text` stands for, and returns what follows it.
fn unescape_one<'a>(text: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
    let (escape, rest) = text.split_at(text.len().min(2));
    let byte = match escape {
        b"\\n" => b'\n',
        b"\\r" => b'\r',
        b"\\t" => b'\t',
        b"\\b" => 8,
        b"\\f" => 12,
        b"\\u" => return unescape_number(rest, out),
        // `\"`, `\\`, `\/`; a lone `\` at the end is no escape.
        &[_, literal] => literal,
        _ => b'\\',
    };
    out.push(byte);
    rest
}

/// The part of a `\u` escape after the `u`.
fn unescape_number<'a>(text: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
    let Some((high, rest)) = hex(text) else {
        out.extend_from_slice(b"\\u");
        return text;
    };
    // Docker and rocker write characters beyond U+FFFF as they are; others may use pairs.
    let pair = rest.strip_prefix(b"\\u").and_then(hex);
    let (character, rest) = match (char::from_u32(high), pair) {
        (Some(character), _) => (character, rest),
        (None, Some((low, rest))) => {
            let halves = [high, low].map(|half| u16::try_from(half).unwrap_or(0));
            match char::decode_utf16(halves).next() {
                Some(Ok(character)) => (character, rest),
                _ => (char::REPLACEMENT_CHARACTER, rest),
            }
        }
        (None, None) => (char::REPLACEMENT_CHARACTER, rest),
    };
    out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    rest
}

fn hex(text: &[u8]) -> Option<(u32, &[u8])> {
    let (digits, rest) = text.split_first_chunk::<4>()?;
    let mut value = 0;
    for &digit in digits {
        value = value * 16 + char::from(digit).to_digit(16)?;
    }
    Some((value, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(line: &str) -> Option<(Stream, String, String)> {
        let raw = RawEntry::parse(line.as_bytes())?;
        let mut out = Vec::new();
        raw.unescape(&mut out)?;
        Some((
            raw.stream,
            String::from_utf8(out).unwrap(),
            raw.time.to_owned(),
        ))
    }

    fn entry(escaped: &str) -> String {
        format!(r#"{{"log":"{escaped}","stream":"stderr","time":"T"}}"#)
    }

    #[test]
    fn every_escape_of_json_is_read() {
        let cases = [
            ("", ""),
            ("plain", "plain"),
            (r"a\r\n\t\b\f", "a\r\n\t\u{8}\u{c}"),
            (r#"\"\\\/"#, r#""\/"#),
            (r"\u003c\u0026\u001b", "<&\u{1b}"),
            (r"\u2028\ufffd", "\u{2028}\u{fffd}"),
            (r"\ud83e\udd80!", "\u{1f980}!"),
            (r"\ud83e!", "\u{fffd}!"),
            (r"\u00zz", r"\u00zz"),
            (
                r#"\",\"stream\":\"stdout\",\"time\":\"X"#,
                r#"","stream":"stdout","time":"X"#,
            ),
        ];

        for (escaped, expected) in cases {
            let got = text(&entry(escaped));
            assert_eq!(
                got,
                Some((Stream::Stderr, expected.to_owned(), "T".to_owned()))
            );
        }
    }

    #[test]
    fn what_is_no_entry_is_refused() {
        let torn = [
            "",
            "{",
            r#"{"log":"half"#,
            r#"{"log":"x","stream":"stdlog","time":"T"}"#,
            r#"{"log":"x","stream":"stdout","time":"T"#,
            r#"log":"x","stream":"stdout","time":"T"}"#,
            r#"{"log":"half{"log":"x","stream":"stdout","time":"T"}"#,
        ];

        for line in torn {
            assert_eq!(text(line), None, "{line}");
        }
    }
}
