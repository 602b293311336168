//! `--ulimit`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A kind of resource limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names are those of getrlimit(2)")]
pub enum UlimitKind {
    Core,
    Cpu,
    Data,
    Fsize,
    Locks,
    Memlock,
    Msgqueue,
    Nice,
    Nofile,
    Nproc,
    Rss,
    Rtprio,
    Rttime,
    Sigpending,
    Stack,
}

/// `KIND=SOFT[:HARD]`; `u64::MAX` is unlimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ulimit {
    /// Which resource.
    pub kind: UlimitKind,
    /// What the program gets.
    pub soft: u64,
    /// What it may raise it to.
    pub hard: u64,
}

/// The text is not a limit.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("invalid ulimit {0:?}: want KIND=SOFT[:HARD] with SOFT at most HARD and KIND one of {list}", list = list())]
pub struct InvalidUlimit(String);

const KINDS: [(&str, UlimitKind, u32); 15] = [
    ("core", UlimitKind::Core, 4),
    ("cpu", UlimitKind::Cpu, 0),
    ("data", UlimitKind::Data, 2),
    ("fsize", UlimitKind::Fsize, 1),
    ("locks", UlimitKind::Locks, 10),
    ("memlock", UlimitKind::Memlock, 8),
    ("msgqueue", UlimitKind::Msgqueue, 12),
    ("nice", UlimitKind::Nice, 13),
    ("nofile", UlimitKind::Nofile, 7),
    ("nproc", UlimitKind::Nproc, 6),
    ("rss", UlimitKind::Rss, 5),
    ("rtprio", UlimitKind::Rtprio, 14),
    ("rttime", UlimitKind::Rttime, 15),
    ("sigpending", UlimitKind::Sigpending, 11),
    ("stack", UlimitKind::Stack, 3),
];

fn list() -> String {
    KINDS.map(|(name, ..)| name).join(" ")
}

impl UlimitKind {
    /// The number that `prlimit(2)` takes on Linux (not on MIPS and SPARC).
    #[must_use]
    pub fn resource(self) -> u32 {
        KINDS
            .iter()
            .find(|(_, kind, _)| *kind == self)
            .map_or(0, |(.., number)| *number)
    }

    /// The word before the `=`.
    #[must_use]
    pub fn name(self) -> &'static str {
        KINDS
            .iter()
            .find(|(_, kind, _)| *kind == self)
            .map_or("", |(name, ..)| name)
    }
}

impl FromStr for Ulimit {
    type Err = InvalidUlimit;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidUlimit(text.chars().take(80).collect());
        let (name, values) = text.split_once('=').ok_or_else(invalid)?;
        let kind = KINDS
            .iter()
            .find(|(n, ..)| *n == name)
            .map(|(_, kind, _)| *kind)
            .ok_or_else(invalid)?;
        let value = |text: &str| match text {
            "-1" | "unlimited" => Ok(u64::MAX),
            digits if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => {
                digits.parse().map_err(|_| invalid())
            }
            _ => Err(invalid()),
        };
        let (soft, hard) = match values.split_once(':') {
            Some((soft, hard)) => (value(soft)?, value(hard)?),
            None => (value(values)?, value(values)?),
        };
        if soft > hard {
            Err(invalid())
        } else {
            Ok(Self { kind, soft, hard })
        }
    }
}

impl fmt::Display for Ulimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = |v: u64| {
            if v == u64::MAX {
                "-1".to_owned()
            } else {
                v.to_string()
            }
        };
        write!(
            f,
            "{}={}:{}",
            self.kind.name(),
            value(self.soft),
            value(self.hard)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ulimits_parse() {
        assert_eq!(
            "nofile=1024:2048".parse::<Ulimit>().unwrap().to_string(),
            "nofile=1024:2048"
        );
        assert_eq!("core=-1".parse::<Ulimit>().unwrap().hard, u64::MAX);
        assert_eq!(
            "nproc=unlimited".parse::<Ulimit>().unwrap().kind.resource(),
            6
        );
        for bad in [
            "",
            "nofile",
            "nofile=",
            "nofile=2:1",
            "nope=1",
            "nofile=-2",
            "nofile=1:2:3",
            "nofile=+1",
            "NOFILE=1",
        ] {
            assert!(bad.parse::<Ulimit>().is_err(), "{bad:?}");
        }
    }
}
