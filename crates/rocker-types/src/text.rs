//! What a stranger's text may do where it is shown.

/// Whether `c` is shown where it stands, and does nothing else: a terminal obeys control
/// characters, and some that have no shape of their own change the order of the text around them,
/// hide in it, or break a line.
#[must_use]
pub fn is_plain(c: char) -> bool {
    !c.is_control()
        && !matches!(
            c,
            '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_shown_where_it_stands_is_not_plain() {
        for c in ['a', ' ', 'ä', '→', '字', '😀'] {
            assert!(is_plain(c), "{c:?}");
        }
        for c in [
            '\n', '\t', '\u{1b}', '\u{7f}', '\u{9b}', '\u{200b}', '\u{202e}', '\u{2066}',
            '\u{2069}', '\u{feff}',
        ] {
            assert!(!is_plain(c), "{c:?}");
        }
    }
}
