//! Interface names, checked where text becomes one.

use std::fmt;
use std::str::FromStr;

use rocker_types::ContainerId;

/// The name of a network interface: 1 to 15 bytes (`IFNAMSIZ` counts the final NUL).
///
/// Narrower than the kernel: letters, digits, `-`, `_` and `.` only, beginning with a letter,
/// so that a name is safe as a path component below `/proc/sys/net` and as a table's name.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct InterfaceName(String);

/// The text cannot name an interface.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} cannot name a network interface: want a letter, then up to 14 of a-z A-Z 0-9 - _ ."
)]
pub struct InvalidInterfaceName {
    text: String,
}

impl InterfaceName {
    const MAX_LEN: usize = 15;

    /// The host's end of a container's veth pair: `rk` and the id's first eleven digits.
    #[must_use]
    pub fn of_container(id: &ContainerId) -> Self {
        let digits = id.as_str().get(..11).unwrap_or_default();
        Self(format!("rk{digits}"))
    }

    /// Whether [`of_container`](Self::of_container) may have made this name.
    pub(crate) fn is_of_container(name: &str) -> bool {
        let digits = name.strip_prefix("rk").unwrap_or_default();
        digits.len() == 11 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for InterfaceName {
    type Err = InvalidInterfaceName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        let starts_well = text
            .bytes()
            .next()
            .is_some_and(|byte| byte.is_ascii_alphabetic());
        if starts_well && text.len() <= Self::MAX_LEN && text.bytes().all(good) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidInterfaceName {
                text: text.chars().take(64).collect(),
            })
        }
    }
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_the_kernel_or_a_path_would_misread_are_refused() {
        let cases = [
            ("rocker0", true),
            ("rk0123456789abc", true),
            ("br-lan.7_x", true),
            ("", false),
            ("rk0123456789abcd", false),
            (".", false),
            ("..", false),
            ("a/b", false),
            ("a b", false),
            ("a\0", false),
            ("a%d", false),
            ("0br", false),
            ("brücke", false),
        ];
        for (text, valid) in cases {
            assert_eq!(text.parse::<InterfaceName>().is_ok(), valid, "{text:?}");
        }
    }

    #[test]
    fn every_container_id_gives_a_valid_name_of_at_most_fifteen_bytes() {
        let name = InterfaceName::of_container(&ContainerId::from_bytes([0xa7; 32]));

        assert!(name.as_str().parse::<InterfaceName>().is_ok(), "{name}");
        assert!(InterfaceName::is_of_container(name.as_str()), "{name}");
        for other in [
            "rocker0",
            "rk01234567",
            "rk0123456789a0",
            "tap0",
            "rk0123456789-",
        ] {
            assert!(!InterfaceName::is_of_container(other), "{other}");
        }
    }
}
