//! Names that users give to containers and volumes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The text cannot be a name.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "invalid {what} name {name:?}: only [a-zA-Z0-9][a-zA-Z0-9_.-] and 2 to 255 characters are allowed"
)]
pub struct InvalidName {
    what: &'static str,
    name: String,
}

fn check(what: &'static str, text: &str) -> Result<String, InvalidName> {
    let first_ok = text
        .bytes()
        .next()
        .is_some_and(|b| b.is_ascii_alphanumeric());
    let rest_ok = text
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
    if first_ok && rest_ok && (2..=255).contains(&text.len()) {
        Ok(text.to_owned())
    } else {
        Err(InvalidName {
            what,
            name: text.chars().take(300).collect(),
        })
    }
}

macro_rules! name_type {
    ($(#[$doc:meta])* $type:ident, $what:literal, $clean:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(String);

        impl $type {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let clean: fn(&str) -> &str = $clean;
                check($what, clean(text)).map(Self)
            }
        }

        impl TryFrom<String> for $type {
            type Error = InvalidName;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> Self {
                name.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name_type!(
    /// A container's name; unique among containers. A leading `/`, docker's spelling in
    /// `inspect`, is dropped when text is read.
    ContainerName,
    "container",
    |text| text.strip_prefix('/').unwrap_or(text)
);
name_type!(
    /// A volume's name; unique among volumes and safe as a path component.
    VolumeName,
    "volume",
    |text| text
);

/// What a user typed to mean a container: a full id, a name or a prefix of an id.
///
/// Resolved by the database in that order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerQuery(String);

impl ContainerQuery {
    /// Takes the words as typed; a leading `/` is docker's and is dropped.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.strip_prefix('/').unwrap_or(text).to_owned())
    }

    /// The words to look up.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ContainerQuery {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self::new(text))
    }
}

impl fmt::Display for ContainerQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

const ADJECTIVES: [&str; 64] = [
    "able", "agile", "amber", "ample", "azure", "bold", "brave", "breezy", "bright", "brisk",
    "calm", "candid", "clever", "cool", "cosmic", "crisp", "daring", "deft", "eager", "early",
    "easy", "fair", "fancy", "fast", "fine", "fresh", "gentle", "glad", "golden", "grand", "happy",
    "hardy", "honest", "jolly", "keen", "kind", "light", "lively", "loyal", "lucid", "lucky",
    "merry", "mellow", "modest", "neat", "nimble", "noble", "patient", "plain", "polite", "proud",
    "quick", "quiet", "ready", "rapid", "sharp", "silent", "smart", "solid", "steady", "sunny",
    "swift", "tidy", "witty",
];

const SURNAMES: [&str; 64] = [
    "abel",
    "ada",
    "banach",
    "bardeen",
    "bell",
    "bohr",
    "boole",
    "born",
    "cantor",
    "carson",
    "cerf",
    "church",
    "clarke",
    "cori",
    "curie",
    "darwin",
    "dijkstra",
    "dirac",
    "euler",
    "faraday",
    "fermat",
    "fermi",
    "feynman",
    "floyd",
    "galois",
    "gauss",
    "goodall",
    "hamilton",
    "hertz",
    "hilbert",
    "hopper",
    "hubble",
    "hypatia",
    "joule",
    "kepler",
    "knuth",
    "lamarr",
    "lamport",
    "lovelace",
    "maxwell",
    "meitner",
    "mendel",
    "mirzakhani",
    "morse",
    "newton",
    "noether",
    "ohm",
    "pascal",
    "pasteur",
    "pauling",
    "planck",
    "ramanujan",
    "ritchie",
    "rubin",
    "sagan",
    "shannon",
    "thompson",
    "torvalds",
    "turing",
    "volta",
    "watt",
    "wiles",
    "wing",
    "wu",
];

/// A name of the form `adjective_surname` for a container that was given none.
///
/// `seed` comes from the kernel's random source; `attempt` > 0 appends a number, for when
/// the name was taken.
#[must_use]
pub fn random_name(seed: u64, attempt: u32) -> ContainerName {
    let pick = |words: &[&'static str; 64], bits: u64| words[usize::from((bits & 63) as u8)];
    let mut name = format!("{}_{}", pick(&ADJECTIVES, seed), pick(&SURNAMES, seed >> 8));
    if attempt > 0 {
        name.push_str(&((seed >> 16) % 10_000).to_string());
    }
    ContainerName(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_dockers_pattern() {
        for good in ["ab", "web-1", "a_b.c", "0x", "/web"] {
            assert!(good.parse::<ContainerName>().is_ok(), "{good}");
        }
        assert_eq!("/web".parse::<ContainerName>().unwrap().as_str(), "web");
        let long = "a".repeat(256);
        for bad in ["", "a", "-a", ".a", "a b", "a/b", "ä1", "a\n", "//x", &long] {
            assert!(bad.parse::<ContainerName>().is_err(), "{bad:?}");
        }
        assert!("/vol".parse::<VolumeName>().is_err());
    }

    #[test]
    fn random_names_are_names() {
        for seed in [0, 1, u64::MAX, 0xdead_beef_1234] {
            for attempt in [0, 1] {
                let name = random_name(seed, attempt);
                assert_eq!(name.as_str().parse::<ContainerName>().unwrap(), name);
            }
        }
    }
}
