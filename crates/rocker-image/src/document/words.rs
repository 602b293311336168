//! A stranger's words in our messages.

/// A stranger's text for a message: one line, nothing that a terminal acts on, not long.
pub(crate) fn shorten(text: &str) -> String {
    const MAX_CHARS: usize = 200;
    // besides control characters, those that reorder the text around them
    let is_plain = |c: &char| {
        !c.is_control()
            && !matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut plain = text.chars().map(|c| if is_plain(&c) { c } else { ' ' });
    let mut shown: String = plain.by_ref().take(MAX_CHARS).collect();
    if plain.next().is_some() {
        shown.push('…');
    }
    shown
}
