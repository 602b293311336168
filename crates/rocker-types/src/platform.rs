//! Platforms of images.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Operating system, architecture and variant, in Go's spelling (`linux/arm64/v8`).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Platform {
    /// `linux` is all that rocker runs.
    pub os: String,
    /// `amd64`, `arm64`, …
    pub architecture: String,
    /// `v7`, `v8`, …; empty in most images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

/// The text is not a platform.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("invalid platform {0:?}: want OS[/ARCH[/VARIANT]], like linux/arm64")]
pub struct InvalidPlatform(String);

impl Platform {
    /// The platform that this binary was built for.
    #[must_use]
    pub fn host() -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            "x86" => "386",
            "powerpc64" => "ppc64le",
            other => other,
        };
        Self {
            os: "linux".into(),
            architecture: architecture.into(),
            variant: None,
        }
    }

    /// Whether an image for `self` is what `wanted` asks for: it runs there, as far as is said. A
    /// missing variant on either side matches.
    #[must_use]
    pub fn satisfies(&self, wanted: &Self) -> bool {
        let is_open = self.variant.is_none() || wanted.variant.is_none();
        let is_same = (&self.os, &self.architecture) == (&wanted.os, &wanted.architecture);
        is_same && (is_open || self.distance(wanted).is_some())
    }

    /// How far what runs on `self` is from `wanted`: 0 for the same variant, more the older it is,
    /// `None` when it cannot run there. A CPU runs code for older variants of its architecture,
    /// not for newer ones. A missing variant is the one that each architecture has for that.
    #[must_use]
    pub fn distance(&self, wanted: &Self) -> Option<u32> {
        if self.os != wanted.os || self.architecture != wanted.architecture {
            return None;
        }
        match (self.level(), wanted.level()) {
            (Some(own), Some(wanted)) => wanted.checked_sub(own),
            // a variant that is no version number must be met exactly
            _ => (self.variant == wanted.variant).then_some(0),
        }
    }

    /// The variant as a number that grows with each generation of CPUs.
    fn level(&self) -> Option<u32> {
        let Some(variant) = self.variant.as_deref() else {
            return match self.architecture.as_str() {
                "amd64" => Some(100),
                "arm" => Some(700),
                "arm64" => Some(800),
                _ => None,
            };
        };
        let (major, minor) = match variant.strip_prefix('v')?.split_once('.') {
            Some((major, minor)) => (major, minor),
            None => (variant.strip_prefix('v')?, "0"),
        };
        let number = |text: &str| {
            let digits = (1..=2).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
            digits.then(|| text.parse::<u32>().ok()).flatten()
        };
        Some(number(major)? * 100 + number(minor)?)
    }
}

impl FromStr for Platform {
    type Err = InvalidPlatform;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts: Vec<&str> = text.split('/').collect();
        let word = |part: &str| {
            !part.is_empty()
                && part.len() <= 64
                && part
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
        };
        if parts.len() > 3 || !parts.iter().all(|part| word(part)) {
            return Err(InvalidPlatform(text.to_owned()));
        }
        let architecture = match parts.get(1).copied() {
            None => Self::host().architecture,
            Some("x86_64" | "x86-64") => "amd64".to_owned(),
            Some("aarch64") => "arm64".to_owned(),
            Some("i386" | "i686") => "386".to_owned(),
            Some(other) => other.to_ascii_lowercase(),
        };
        Ok(Self {
            os: parts[0].to_ascii_lowercase(),
            architecture,
            variant: parts.get(2).map(|v| v.to_ascii_lowercase()),
        })
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant
            .as_ref()
            .map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_parse_and_match() {
        let p = |text: &str| text.parse::<Platform>().unwrap();
        assert_eq!(p("linux/x86_64").to_string(), "linux/amd64");
        assert_eq!(p("linux/arm/v7").to_string(), "linux/arm/v7");
        assert!(p("linux/arm64").satisfies(&p("linux/arm64/v8")));
        assert!(p("linux/arm64/v8").satisfies(&p("linux/arm64")));
        assert!(p("linux/arm/v6").satisfies(&p("linux/arm/v7")));
        assert!(!p("linux/arm/v7").satisfies(&p("linux/arm/v6")));
        assert!(p("linux/arm").satisfies(&p("linux/arm/v6")));
        assert!(p("linux/amd64/v3").satisfies(&p("linux/amd64")));
        assert!(!p("linux/amd64/v3").satisfies(&p("linux/amd64/v2")));
        assert!(!p("windows/amd64").satisfies(&p("linux/amd64")));
        for bad in ["", "/", "linux/", "a/b/c/d", "linux/a b", "linux//v7"] {
            assert!(bad.parse::<Platform>().is_err(), "{bad:?}");
        }
    }
}
