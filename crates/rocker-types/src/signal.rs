//! Signals by name and number.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A signal number between 1 and 64, Linux's numbering on x86-64 and arm64.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Signal(u8);

/// The text is not a signal.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("invalid signal {0:?}: want a name like TERM or SIGTERM, or a number from 1 to 64")]
pub struct InvalidSignal(String);

const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// First real-time signal that the C libraries leave to programs.
const RTMIN: u8 = 34;
const RTMAX: u8 = 64;

impl Signal {
    /// Ends a process, which may catch it.
    pub const TERM: Self = Self(15);
    /// Ends a process, whatever it does.
    pub const KILL: Self = Self(9);
    /// The terminal was closed.
    pub const HUP: Self = Self(1);
    /// Ctrl-C.
    pub const INT: Self = Self(2);

    /// The kernel's number.
    #[must_use]
    pub const fn number(self) -> i32 {
        self.0 as i32
    }

    /// A signal by its number.
    ///
    /// # Errors
    ///
    /// [`InvalidSignal`] unless `1 <= number <= 64`.
    pub fn from_number(number: i32) -> Result<Self, InvalidSignal> {
        u8::try_from(number)
            .ok()
            .filter(|n| (1..=RTMAX).contains(n))
            .map(Self)
            .ok_or_else(|| InvalidSignal(number.to_string()))
    }
}

impl FromStr for Signal {
    type Err = InvalidSignal;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidSignal(text.chars().take(40).collect());
        if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
            return text
                .parse()
                .map_err(|_| invalid())
                .and_then(|n| Self::from_number(n).map_err(|_| invalid()));
        }
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        let offset = |digits: &str| digits.parse::<u8>().ok().filter(|n| *n <= RTMAX - RTMIN);
        let number = match name {
            "CLD" => Some(17),
            "IOT" => Some(6),
            "POLL" => Some(29),
            "RTMIN" => Some(RTMIN),
            "RTMAX" => Some(RTMAX),
            _ => {
                if let Some(digits) = name.strip_prefix("RTMIN+") {
                    offset(digits).map(|n| RTMIN + n)
                } else if let Some(digits) = name.strip_prefix("RTMAX-") {
                    offset(digits).map(|n| RTMAX - n)
                } else {
                    NAMES
                        .iter()
                        .position(|n| *n == name)
                        .and_then(|i| u8::try_from(i + 1).ok())
                }
            }
        };
        number.map(Self).ok_or_else(invalid)
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.get(usize::from(self.0) - 1) {
            Some(name) => write!(f, "SIG{name}"),
            None if self.0 >= RTMIN => write!(f, "SIGRTMIN+{}", self.0 - RTMIN),
            None => write!(f, "{}", self.0),
        }
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl TryFrom<String> for Signal {
    type Error = InvalidSignal;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Signal> for String {
    fn from(signal: Signal) -> Self {
        signal.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_by_name_and_number() {
        let table = [
            ("TERM", 15),
            ("sigterm", 15),
            ("SIGUSR1", 10),
            ("9", 9),
            ("RTMIN+3", 37),
            ("SIGRTMAX", 64),
            ("RTMAX-1", 63),
            ("64", 64),
        ];
        for (text, number) in table {
            let signal: Signal = text.parse().unwrap();
            assert_eq!(signal.number(), number, "{text}");
            assert_eq!(signal.to_string().parse(), Ok(signal), "{text}");
        }
        for bad in [
            "", "0", "65", "200", "-1", "+9", "SIGNOPE", "SIG", "RTMIN+31", "RTMIN-1", "TERM ",
        ] {
            assert!(bad.parse::<Signal>().is_err(), "{bad:?}");
        }
    }
}
