//! The keys that leave a container without stopping it.

use std::str::FromStr;

/// The text is not a list of keys.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("invalid key {key:?}: want a letter or ctrl-X, where X is a-z or one of @ [ \\ ] ^ _")]
pub(crate) struct InvalidDetachKeys {
    key: String,
}

/// A sequence of keys, as bytes that a terminal in raw mode sends. Empty: never detach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DetachKeys(Vec<u8>);

impl Default for DetachKeys {
    /// Docker's: Ctrl-P, Ctrl-Q.
    fn default() -> Self {
        Self(vec![0x10, 0x11])
    }
}

impl FromStr for DetachKeys {
    type Err = InvalidDetachKeys;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() {
            return Ok(Self(Vec::new()));
        }
        text.split(',')
            .map(parse_key)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

fn parse_key(key: &str) -> Result<u8, InvalidDetachKeys> {
    let lower = key.to_ascii_lowercase();
    let (control, letter) = match lower.strip_prefix("ctrl-") {
        Some(letter) => (true, letter.as_bytes()),
        None => (false, key.as_bytes()),
    };
    match (control, letter) {
        // A control key is its letter without the upper three bits.
        (true, [c @ (b'a'..=b'z' | b'@' | b'[' | b'\\' | b']' | b'^' | b'_')]) => Ok(c & 0x1f),
        (false, [c @ 0x21..=0x7e]) => Ok(*c),
        _ => Err(InvalidDetachKeys {
            key: key.chars().take(40).collect(),
        }),
    }
}

/// What to do with bytes that were typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Typed {
    /// They are for the container; maybe fewer than were typed, as the rest may be the start
    /// of the sequence.
    Forward(Vec<u8>),
    /// The sequence is complete; these came before it.
    Detach(Vec<u8>),
}

/// Watches what is typed for the sequence, over the boundaries of reads.
#[derive(Debug)]
pub(crate) struct DetachWatch {
    keys: Vec<u8>,
    /// The last bytes typed, as long as they are the start of the sequence.
    pending: Vec<u8>,
}

impl DetachWatch {
    pub(crate) fn new(keys: DetachKeys) -> Self {
        Self {
            keys: keys.0,
            pending: Vec::new(),
        }
    }

    /// Takes what was typed. Bytes after a complete sequence are dropped: nobody is there to read
    /// them any more.
    pub(crate) fn typed(&mut self, bytes: &[u8]) -> Typed {
        if self.keys.is_empty() {
            return Typed::Forward(bytes.to_vec());
        }
        let mut forward = Vec::with_capacity(bytes.len());
        for byte in bytes {
            self.pending.push(*byte);
            while !self.keys.starts_with(&self.pending) {
                forward.push(self.pending.remove(0));
            }
            if self.pending.len() == self.keys.len() {
                self.pending.clear();
                return Typed::Detach(forward);
            }
        }
        Typed::Forward(forward)
    }

    /// Whether bytes are held back because they may be the start of the sequence.
    pub(crate) fn is_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Gives up waiting for the rest of the sequence: the held back bytes were meant for the
    /// container after all (a shell's Ctrl-P).
    pub(crate) fn flush(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.pending)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keys_are_spelt_as_docker_spells_them() {
        let cases: &[(&str, &[u8])] = &[
            ("ctrl-p,ctrl-q", &[16, 17]),
            (
                "ctrl-@,ctrl-[,ctrl-\\,ctrl-],ctrl-^,ctrl-_",
                &[0, 27, 28, 29, 30, 31],
            ),
            ("a,Z,CTRL-C", &[b'a', b'Z', 3]),
            ("", &[]),
        ];
        for (text, bytes) in cases {
            assert_eq!(text.parse(), Ok(DetachKeys(bytes.to_vec())), "{text:?}");
        }
        for bad in [",", "ctrl-", "ctrl-1", "ctrl-pq", "ab", "é", "ctrl-p,", " "] {
            assert!(bad.parse::<DetachKeys>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_start_of_the_sequence_is_held_back_until_it_is_decided() {
        let mut watch = DetachWatch::new(DetachKeys::default());

        assert_eq!(watch.typed(b"ls\x10"), Typed::Forward(b"ls".to_vec()));
        assert!(watch.is_pending());
        assert_eq!(watch.typed(b"\x10"), Typed::Forward(b"\x10".to_vec()));
        assert_eq!(watch.flush(), b"\x10");
        assert!(!watch.is_pending());
        assert_eq!(watch.typed(b"\x11"), Typed::Forward(b"\x11".to_vec()));
        assert_eq!(watch.typed(b"a\x10\x11b"), Typed::Detach(b"a".to_vec()));
    }

    #[test]
    fn a_sequence_that_overlaps_itself_is_found() {
        let mut watch = DetachWatch::new("a,a,b".parse().expect("keys"));

        assert_eq!(watch.typed(b"aaab"), Typed::Detach(b"a".to_vec()));
    }

    proptest! {
        /// However typing is cut into reads: without the sequence every byte arrives once and in
        /// order, with it exactly what came before.
        #[test]
        fn the_boundaries_of_reads_do_not_matter(
            keys in prop::collection::vec(b'a'..=b'b', 1..4),
            typed in prop::collection::vec(b'a'..=b'c', 0..40),
            cuts in prop::collection::vec(0_usize..40, 0..6),
        ) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c.min(typed.len())).collect();
            cuts.sort_unstable();
            cuts.push(typed.len());

            let mut watch = DetachWatch::new(DetachKeys(keys.clone()));
            let (mut got, mut from, mut detached) = (Vec::new(), 0, false);
            for cut in cuts {
                match watch.typed(&typed[from..cut]) {
                    Typed::Forward(bytes) => got.extend(bytes),
                    Typed::Detach(bytes) => {
                        got.extend(bytes);
                        detached = true;
                        break;
                    }
                }
                from = cut;
            }
            got.extend(watch.flush());

            let found = typed.windows(keys.len()).position(|w| w == keys);
            prop_assert_eq!(detached, found.is_some());
            prop_assert_eq!(got, &typed[..found.unwrap_or(typed.len())]);
        }
    }
}
