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

    /// Whether an image for `self` is what `wanted` asks for. A missing variant on either
    /// side matches, except that arm64's `v8` and no variant are the same thing.
    #[must_use]
    pub fn satisfies(&self, wanted: &Self) -> bool {
        let variant = |p: &Self| match (p.architecture.as_str(), p.variant.as_deref()) {
            ("arm64", Some("v8")) | (_, None) => None,
            (_, Some(v)) => Some(v.to_owned()),
        };
        let same_variant = variant(wanted).is_none_or(|w| variant(self).is_none_or(|v| v == w));
        self.os == wanted.os && self.architecture == wanted.architecture && same_variant
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
        assert!(!p("linux/arm/v6").satisfies(&p("linux/arm/v7")));
        assert!(!p("windows/amd64").satisfies(&p("linux/amd64")));
        for bad in ["", "/", "linux/", "a/b/c/d", "linux/a b", "linux//v7"] {
            assert!(bad.parse::<Platform>().is_err(), "{bad:?}");
        }
    }
}
