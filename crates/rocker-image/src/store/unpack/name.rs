//! Names of archive members, made harmless.

use crate::store::text::printable;
use crate::store::{LimitExceeded, UnpackError, UnpackLimits};

/// Where an entry goes, relative to the layer's root: plain components joined by single
/// slashes; empty for the root itself.
///
/// Never holds `.`, `..`, a NUL, or a leading or trailing slash, so each component is safe
/// to hand to a system call that does not follow links.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct EntryPath(Vec<u8>);

impl EntryPath {
    /// Clamps absolute names into the root, as docker does; refuses `..`, which no tool
    /// that makes layers writes.
    pub(crate) fn parse(raw: &[u8], limits: &UnpackLimits) -> Result<Self, UnpackError> {
        let refuse = |reason| {
            Err(UnpackError::Entry {
                path: printable(raw),
                reason,
            })
        };
        let exceeds = |limit, allowed: usize| {
            Err(LimitExceeded {
                limit,
                allowed: allowed as u64,
                object: format!("the name {:?}", printable(raw)),
            }
            .into())
        };
        if raw.is_empty() {
            return refuse("its name is empty");
        }
        if raw.len() > limits.path_bytes {
            return exceeds("path_bytes", limits.path_bytes);
        }
        if raw.contains(&0) {
            return refuse("its name holds a NUL");
        }
        let mut path = Vec::with_capacity(raw.len());
        for component in raw.split(|b| *b == b'/') {
            match component {
                b"" | b"." => continue,
                b".." => return refuse("its name climbs with \"..\""),
                _ if component.len() > limits.component_bytes => {
                    return exceeds("component_bytes", limits.component_bytes);
                }
                _ if !path.is_empty() => path.push(b'/'),
                _ => {}
            }
            path.extend_from_slice(component);
        }
        Ok(Self(path))
    }

    /// The path as bytes; empty for the root.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The directory and the name in it; `None` for the root.
    pub(crate) fn split(&self) -> Option<(&[u8], &[u8])> {
        if self.0.is_empty() {
            None
        } else {
            Some(split(&self.0))
        }
    }
}

/// Splits a plain path at its last slash.
pub(crate) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|b| *b == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

/// Puts a component below a plain path.
pub(crate) fn join(directory: &[u8], leaf: &[u8]) -> Vec<u8> {
    if directory.is_empty() {
        leaf.to_vec()
    } else {
        [directory, b"/", leaf].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(raw: &[u8]) -> Result<EntryPath, UnpackError> {
        EntryPath::parse(raw, &UnpackLimits::default())
    }

    #[test]
    fn names_become_plain_relative_paths() {
        let cases: [(&[u8], &[u8]); 9] = [
            (b"a", b"a"),
            (b"./a/b", b"a/b"),
            (b"/a//b/", b"a/b"),
            (b"././/a/./b/.", b"a/b"),
            (b"/", b""),
            (b"./", b""),
            (b".", b""),
            (b"...", b"..."),
            (b"a\xff\n/b", b"a\xff\n/b"),
        ];
        for (raw, want) in cases {
            assert_eq!(
                parse(raw).unwrap().as_bytes(),
                want,
                "{}",
                raw.escape_ascii()
            );
        }
    }

    #[test]
    fn names_that_climb_or_do_not_fit_are_refused() {
        let long = [b'a'; 256];
        let deep = b"a/".repeat(2049);
        let cases: [&[u8]; 8] = [
            b"", b"..", b"a/..", b"../a", b"/../a", b"a\0b", &long, &deep,
        ];
        for raw in cases {
            assert!(parse(raw).is_err(), "{}", raw.escape_ascii());
        }
    }

    proptest::proptest! {
        #[test]
        fn any_name_is_refused_or_plain(raw in proptest::collection::vec(
            proptest::sample::select(&b"/.a\0\x80"[..]), 0..24,
        )) {
            if let Ok(path) = parse(&raw) {
                let path = path.as_bytes();
                proptest::prop_assert!(!path.contains(&0));
                for component in path.split(|b| *b == b'/').filter(|_| !path.is_empty()) {
                    proptest::prop_assert!(!matches!(component, b"" | b"." | b".."));
                }
                // What is plain already stays as it is.
                if !path.is_empty() {
                    let again = parse(path).unwrap();
                    proptest::prop_assert_eq!(again.as_bytes(), path);
                }
            }
        }
    }
}
