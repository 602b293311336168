//! The parts in which the rest of a broken upload goes, and what a registry says of those it has.

use std::collections::VecDeque;

use bytes::Bytes;

/// The rest of a broken upload goes in pieces of this many bytes; some registries take no
/// smaller ones.
pub(super) const CHUNK: usize = 5 << 20;

/// A chunk in pieces that a progress bar can follow.
pub(super) fn split(mut chunk: Bytes) -> VecDeque<Bytes> {
    const PIECE: usize = 64 << 10;
    let mut pieces = VecDeque::new();
    while !chunk.is_empty() {
        pieces.push_back(chunk.split_to(chunk.len().min(PIECE)));
    }
    pieces
}

/// How many bytes `0-LAST` is; `0-0` may be none, and is taken for none.
pub(super) fn parse_range(text: &str) -> Option<u64> {
    let text = text.trim();
    let text = text.strip_prefix("bytes=").unwrap_or(text);
    let last = text.strip_prefix("0-")?;
    let last: u64 = last
        .bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| last.parse().ok())??;
    match last {
        0 => Some(0),
        last => last.checked_add(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_uploads_are_read() {
        for (text, arrived) in [
            ("0-0", Some(0)),
            ("0-1", Some(2)),
            ("bytes=0-99", Some(100)),
            (" 0-7 ", Some(8)),
            ("0-", None),
            ("1-2", None),
            ("0--1", None),
            ("0-18446744073709551615", None),
            ("0-18446744073709551616", None),
            ("", None),
        ] {
            assert_eq!(parse_range(text), arrived, "{text:?}");
        }
    }

    #[test]
    fn a_chunk_in_pieces_is_the_chunk() {
        let chunk = Bytes::from(vec![7; 200_000]);
        let pieces = split(chunk.clone());
        assert_eq!(pieces.len(), 4);
        assert_eq!(pieces.into_iter().flatten().collect::<Vec<_>>(), chunk);
    }
}
