//! Sizes in bytes, as users write them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A number of bytes. Text may carry a binary unit: `b k kb kib m … p`, any case, base 1024.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ByteSize(pub u64);

/// The text is not a size.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("invalid size {0:?}: want a number and an optional unit, like 512m or 1.5g")]
pub struct InvalidByteSize(String);

impl ByteSize {
    /// The number of bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for ByteSize {
    type Err = InvalidByteSize;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text)
            .map(Self)
            .ok_or_else(|| InvalidByteSize(text.chars().take(80).collect()))
    }
}

/// Exact decimal arithmetic: `0.1g` is 107374182, not what a float makes of it.
fn parse(text: &str) -> Option<u64> {
    let unit_at = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let shift = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        "p" | "pb" | "pib" => 50,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || fraction.len() > 9 || fraction.contains('.') || number.ends_with('.') {
        return None;
    }
    let whole = whole.parse::<u64>().ok()?.checked_mul(1 << shift)?;
    let scale = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    let digits = if fraction.is_empty() {
        0
    } else {
        fraction.parse::<u128>().ok()?
    };
    let part = u64::try_from((digits << shift) / scale).ok()?;
    whole.checked_add(part)
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_exact() {
        let table = [
            ("0", 0),
            ("64m", 64 << 20),
            ("1.5g", 3 << 29),
            ("512K", 512 << 10),
            ("10kib", 10 << 10),
            ("7b", 7),
            ("0.1g", 107_374_182),
            ("18446744073709551615", u64::MAX),
        ];
        for (text, bytes) in table {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
        }
        for bad in [
            "",
            "m",
            "-1",
            "1x",
            "1 g",
            "4m-1",
            "1e9",
            "٣m",
            ".5g",
            "1.g",
            "1.2.3",
            "18446744073709551616",
            "99999999999p",
        ] {
            assert!(bad.parse::<ByteSize>().is_err(), "{bad:?}");
        }
    }
}
