//! A stranger's words in our messages.

use rocker_types::is_plain;

/// A stranger's text for a message: one line, nothing that a terminal acts on, not long.
pub(crate) fn shorten(text: &str) -> String {
    const MAX_CHARS: usize = 200;
    let mut plain = text.chars().map(|c| if is_plain(c) { c } else { ' ' });
    let mut shown: String = plain.by_ref().take(MAX_CHARS).collect();
    if plain.next().is_some() {
        shown.push('…');
    }
    shown
}
