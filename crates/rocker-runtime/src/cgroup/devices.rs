//! Which device nodes the programs of a container may use.
//!
//! This is the second fence: without `CAP_MKNOD`, which containers do not have by default, the
//! only nodes are those that init made. A node that comes in through an image layer, a volume
//! or an added capability opens only if a rule here allows it.

use std::fmt;
use std::str::FromStr;

/// Which nodes a rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceKind {
    /// Character devices.
    Char,
    /// Block devices.
    Block,
}

/// What a rule allows; at least one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceAccess {
    /// Opening for reading.
    pub read: bool,
    /// Opening for writing.
    pub write: bool,
    /// Making a node.
    pub mknod: bool,
}

impl DeviceAccess {
    /// Reading, writing and making nodes.
    pub const ALL: Self = Self {
        read: true,
        write: true,
        mknod: true,
    };
}

/// One thing that is allowed. Numbers left out mean any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceRule {
    /// Character or block.
    pub kind: DeviceKind,
    /// Major number.
    pub major: Option<u32>,
    /// Minor number.
    pub minor: Option<u32>,
    /// What may be done.
    pub access: DeviceAccess,
}

impl DeviceRule {
    /// Everything about one character device, or all of one major number.
    const fn char(major: u32, minor: Option<u32>) -> Self {
        Self {
            kind: DeviceKind::Char,
            major: Some(major),
            minor,
            access: DeviceAccess::ALL,
        }
    }
}

/// What every container may use: null, zero, full, random, urandom, tty, console, ptmx and the
/// pseudo terminals. Numbers: Linux `Documentation/admin-guide/devices.txt`.
const DEFAULT: [DeviceRule; 9] = [
    DeviceRule::char(1, Some(3)),
    DeviceRule::char(1, Some(5)),
    DeviceRule::char(1, Some(7)),
    DeviceRule::char(1, Some(8)),
    DeviceRule::char(1, Some(9)),
    DeviceRule::char(5, Some(0)),
    DeviceRule::char(5, Some(1)),
    DeviceRule::char(5, Some(2)),
    DeviceRule::char(136, None),
];

/// Which devices a container may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceRules {
    /// All of them (`--privileged`).
    Unrestricted,
    /// Those that a rule allows, no other.
    Only(Vec<DeviceRule>),
}

impl Default for DeviceRules {
    fn default() -> Self {
        Self::Only(DEFAULT.to_vec())
    }
}

impl DeviceRules {
    /// These rules and `rule` (`--device`, `--device-cgroup-rule`).
    #[must_use]
    pub fn allowing(self, rule: DeviceRule) -> Self {
        match self {
            Self::Unrestricted => self,
            Self::Only(mut rules) => {
                rules.push(rule);
                Self::Only(rules)
            }
        }
    }
}

/// The text is not a device rule.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("invalid device rule {0:?}: want c or b, MAJOR:MINOR (numbers or *), and some of rwm")]
pub struct InvalidDeviceRule(String);

impl FromStr for DeviceRule {
    type Err = InvalidDeviceRule;

    /// Reads docker's form, which is also the kernel's: `c 1:3 rwm`, `b 8:* r`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).ok_or_else(|| InvalidDeviceRule(text.chars().take(60).collect()))
    }
}

fn parse(text: &str) -> Option<DeviceRule> {
    let mut words = text.split_ascii_whitespace();
    let kind = match words.next()? {
        "c" => DeviceKind::Char,
        "b" => DeviceKind::Block,
        _ => return None,
    };
    let (major, minor) = words.next()?.split_once(':')?;
    let access = words.next()?;
    let known = |b: u8| matches!(b, b'r' | b'w' | b'm');
    if words.next().is_some() || access.is_empty() || !access.bytes().all(known) {
        return None;
    }
    Some(DeviceRule {
        kind,
        major: parse_number(major)?,
        minor: parse_number(minor)?,
        access: DeviceAccess {
            read: access.contains('r'),
            write: access.contains('w'),
            mknod: access.contains('m'),
        },
    })
}

fn parse_number(text: &str) -> Option<Option<u32>> {
    match text {
        "*" => Some(None),
        _ if text.bytes().all(|b| b.is_ascii_digit()) => text.parse().ok().map(Some),
        _ => None,
    }
}

impl fmt::Display for DeviceRule {
    /// The form that v1's `devices.allow` reads.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            DeviceKind::Char => 'c',
            DeviceKind::Block => 'b',
        };
        let number = |n: Option<u32>| n.map_or_else(|| "*".to_owned(), |n| n.to_string());
        let (major, minor) = (number(self.major), number(self.minor));
        write!(f, "{kind} {major}:{minor} ")?;
        let letters = [
            (self.access.read, 'r'),
            (self.access.write, 'w'),
            (self.access.mknod, 'm'),
        ];
        let mut allowed = letters.iter().filter(|(on, _)| *on);
        allowed.try_for_each(|(_, letter)| write!(f, "{letter}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_read_and_print_as_the_kernel_writes_them() {
        for text in ["c 1:3 rwm", "b 8:* r", "c *:* m", "c 10:200 rw"] {
            assert_eq!(text.parse::<DeviceRule>().unwrap().to_string(), text);
        }
        for bad in [
            "",
            "c",
            "c 1:3",
            "c 1:3 ",
            "c 1:3 x",
            "a *:* rwm",
            "c 1 rwm",
            "c 1:3 rwm b",
            "c +1:3 r",
            "c 1:4294967296 r",
            "c : r",
        ] {
            assert!(bad.parse::<DeviceRule>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_default_allows_no_node_but_the_usual_ones() {
        let DeviceRules::Only(rules) = DeviceRules::default() else {
            panic!("devices are restricted by default")
        };
        let texts: Vec<String> = rules.iter().map(ToString::to_string).collect();
        assert!(texts.contains(&"c 1:3 rwm".to_owned()));
        assert!(
            rules
                .iter()
                .all(|r| r.kind == DeviceKind::Char && r.major.is_some())
        );
        assert!(
            !texts.contains(&"c 10:200 rwm".to_owned()),
            "tun is asked for"
        );
    }
}
