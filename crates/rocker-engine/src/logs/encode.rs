//! Text to docker's JSON, byte for byte.

/// `text` as the content of a JSON string, appended to `out`.
///
/// The escapes are the ones of docker's json-file driver: `"`, `\`, `\n`, `\r` by a letter; other
/// control characters, `<`, `>`, `&` and the two line separators of JavaScript by number; every
/// byte that is not UTF-8 becomes `\ufffd`.
///
/// Source: moby `daemon/logger/jsonfilelog/jsonlog/jsonlogbytes.go`.
pub(super) fn escape(text: &[u8], out: &mut Vec<u8>) {
    let mut rest = text;
    loop {
        let (plain, special) = rest.split_at(plain_len(rest));
        out.extend_from_slice(plain);
        let Some(&byte) = special.first() else { return };
        if byte.is_ascii() {
            escape_ascii(byte, out);
            rest = &special[1..];
        } else {
            let len = special
                .iter()
                .position(u8::is_ascii)
                .unwrap_or(special.len());
            escape_wide(&special[..len], out);
            rest = &special[len..];
        }
    }
}

/// How many bytes at the start of `text` need no attention.
fn plain_len(text: &[u8]) -> usize {
    const STEP: usize = 32;
    let (blocks, _) = text.as_chunks::<STEP>();
    // A block at a time: without an early exit inside, the compiler compares all 32 at once.
    let clean = blocks
        .iter()
        .take_while(|block| !block.iter().fold(false, |any, &b| any | special(b)));
    let start = clean.count() * STEP;
    let tail = &text[start..];
    start + tail.iter().position(|&b| special(b)).unwrap_or(tail.len())
}

fn special(byte: u8) -> bool {
    // `|`, not `||`: no branches.
    !(0x20..0x80).contains(&byte)
        | (byte == b'"')
        | (byte == b'\\')
        | (byte == b'<')
        | (byte == b'>')
        | (byte == b'&')
}

fn escape_ascii(byte: u8, out: &mut Vec<u8>) {
    match byte {
        b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
        b'\n' => out.extend_from_slice(b"\\n"),
        b'\r' => out.extend_from_slice(b"\\r"),
        _ => {
            const HEX: &[u8; 16] = b"0123456789abcdef";
            let digits = [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
            out.extend_from_slice(b"\\u00");
            out.extend_from_slice(&digits);
        }
    }
}

/// `text` has no ASCII.
fn escape_wide(text: &[u8], out: &mut Vec<u8>) {
    for chunk in text.utf8_chunks() {
        let mut valid = chunk.valid().as_bytes();
        // U+2028 and U+2029 are E2 80 A8 and E2 80 A9.
        while let Some(at) = valid
            .windows(3)
            .position(|w| matches!(w, [0xe2, 0x80, 0xa8 | 0xa9]))
        {
            out.extend_from_slice(&valid[..at]);
            out.extend_from_slice(if valid[at + 2] == 0xa8 {
                b"\\u2028"
            } else {
                b"\\u2029"
            });
            valid = &valid[at + 3..];
        }
        out.extend_from_slice(valid);
        for _ in chunk.invalid() {
            out.extend_from_slice(b"\\ufffd");
        }
    }
}

/// How much of `piece`, a part of a line that goes on, can be written without cutting a
/// character in two: all but its last up to three bytes. (Docker cuts, and loses the character.)
pub(super) fn whole_characters(piece: &[u8]) -> usize {
    let last = &piece[piece.len().saturating_sub(4)..];
    let begun = last
        .utf8_chunks()
        .last()
        .map_or(&[][..], |chunk| chunk.invalid());
    let unfinished = std::str::from_utf8(begun).is_err_and(|error| error.error_len().is_none());
    if unfinished {
        piece.len() - begun.len()
    } else {
        piece.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escaped(text: &[u8]) -> String {
        let mut out = Vec::new();
        escape(text, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn escapes_are_dockers() {
        let cases: [(&[u8], &str); 17] = [
            (b"", ""),
            (
                b"plain text, 32 bytes and some more of it",
                "plain text, 32 bytes and some more of it",
            ),
            (b"say \"hi\" \\", r#"say \"hi\" \\"#),
            (b"a\r\n", r"a\r\n"),
            (b"\ttab", r"\u0009tab"),
            (b"\x1b[31m", r"\u001b[31m"),
            (b"\x00\x1f", r"\u0000\u001f"),
            (b"\x7f", "\x7f"),
            (b"<a&b>", r"\u003ca\u0026b\u003e"),
            ("ä€🦀".as_bytes(), "ä€🦀"),
            ("x\u{2028}ä\u{2029}".as_bytes(), "x\\u2028ä\\u2029"),
            ("\u{2027}\u{202a}".as_bytes(), "\u{2027}\u{202a}"),
            (b"\xff", r"\ufffd"),
            (b"\xe2\x82a", r"\ufffd\ufffda"),
            (b"\xe2\x82", r"\ufffd\ufffd"),
            (b"\xed\xa0\x80", r"\ufffd\ufffd\ufffd"),
            ("\u{fffd}".as_bytes(), "\u{fffd}"),
        ];

        for (text, expected) in cases {
            assert_eq!(escaped(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_special_byte_is_found_at_every_distance() {
        for len in 0..100 {
            let mut text = vec![b'a'; len];
            text.push(b'<');
            assert_eq!(plain_len(&text), len);
        }
    }

    #[test]
    fn pieces_end_between_characters() {
        let cases: [(&[u8], usize); 8] = [
            (b"", 0),
            (b"abcdef", 6),
            ("ab€".as_bytes(), 5),
            (b"ab\xe2\x82", 2),
            (b"ab\xe2", 2),
            (b"a\xf0\x9f\xa6", 1),
            (b"ab\x80\x80\x80\x80\x80", 7),
            (b"ab\xff\xc0", 4),
        ];

        for (piece, len) in cases {
            assert_eq!(whole_characters(piece), len, "{piece:?}");
        }
    }
}
