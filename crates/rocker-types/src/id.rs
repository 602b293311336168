//! Container identities.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A container's identity: 64 lowercase hex digits, as Docker and the OCI tools print it.
///
/// A value of this type is always well formed, so it is safe as a path component
/// and as a cgroup name without further checks.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContainerId(String);

/// The text is not a container id.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("container ID must be 64 lowercase hex digits, got {0:?}")]
pub struct InvalidContainerId(String);

impl ContainerId {
    /// How many digits `rocker ps` shows.
    const SHORT_LEN: usize = 12;

    /// Makes an id of 32 random bytes, which the caller took from the kernel.
    #[must_use]
    pub fn from_bytes(random: [u8; 32]) -> Self {
        Self(crate::digest::hex(&random))
    }

    /// The twelve digits that tables show.
    #[must_use]
    pub fn short(&self) -> &str {
        &self.0[..Self::SHORT_LEN]
    }

    /// All 64 digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ContainerId {
    type Err = InvalidContainerId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_lower_hex = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
        if text.len() == 64 && text.bytes().all(is_lower_hex) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidContainerId(text.to_owned()))
        }
    }
}

impl TryFrom<String> for ContainerId {
    type Error = InvalidContainerId;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<ContainerId> for String {
    fn from(id: ContainerId) -> Self {
        id.0
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.short())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_64_lowercase_hex_digits_are_an_id() {
        let good = "0123456789abcdef".repeat(4);
        assert_eq!(good.parse::<ContainerId>().unwrap().short(), "0123456789ab");
        for bad in [
            "",
            "abc",
            &good.to_uppercase(),
            &good[1..],
            &format!("{good}0"),
            &good.replace('0', "/"),
        ] {
            assert!(bad.parse::<ContainerId>().is_err(), "{bad:?}");
        }
    }
}
