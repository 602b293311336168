//! Hostile names in messages.

/// A name from an archive as text for an error: one line, plain ASCII, not endless.
pub(crate) fn printable(raw: &[u8]) -> String {
    const SHOWN: usize = 160;
    let shown = raw[..raw.len().min(SHOWN)].escape_ascii();
    if raw.len() > SHOWN {
        format!("{shown}…")
    } else {
        shown.to_string()
    }
}
