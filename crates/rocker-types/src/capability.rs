//! Linux capabilities and sets of them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Names in the order of their numbers, `CAP_` left out. Source: `linux/capability.h`.
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// One capability, by its kernel number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Capability(u8);

/// No capability of this name.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("unknown capability {name:?}{}", .nearest.map_or(String::new(), |n| format!(": did you mean {n}?")))]
pub struct UnknownCapability {
    name: String,
    nearest: Option<&'static str>,
}

impl Capability {
    /// The kernel's number, below 64.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }

    /// The name without `CAP_`.
    #[must_use]
    pub fn name(self) -> &'static str {
        NAMES[usize::from(self.0)]
    }
}

impl FromStr for Capability {
    type Err = UnknownCapability;

    /// Reads a name of any case, with or without `CAP_`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("CAP_").unwrap_or(&upper);
        let found = NAMES
            .iter()
            .position(|n| *n == name)
            .and_then(|i| u8::try_from(i).ok());
        found.map(Self).ok_or_else(|| UnknownCapability {
            name: text.chars().take(60).collect(),
            nearest: NAMES.iter().copied().find(|n| alike(n, name)),
        })
    }
}

/// Whether two names differ by little: one edit, or underscores.
fn alike(a: &str, b: &str) -> bool {
    let bare = |s: &str| s.replace(['_', '-'], "");
    let common = a.bytes().zip(b.bytes()).take_while(|(x, y)| x == y).count();
    let tail = a
        .bytes()
        .rev()
        .zip(b.bytes().rev())
        .take_while(|(x, y)| x == y)
        .count();
    bare(a) == bare(b)
        || (a.len().abs_diff(b.len()) <= 1 && common + tail + 1 >= a.len().max(b.len()))
}

/// A set of capabilities, bit `n` for capability number `n`.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CapabilitySet(u64);

impl CapabilitySet {
    /// No capability.
    pub const EMPTY: Self = Self(0);
    /// Every capability that this version of rocker knows by name. What the running
    /// kernel knows is asked of the kernel, where the set is applied.
    pub const ALL: Self = Self((1 << NAMES.len()) - 1);
    /// What a container has unless told otherwise: podman's eleven (chown, dac_override,
    /// fowner, fsetid, kill, setgid, setuid, setpcap, net_bind_service, sys_chroot, setfcap).
    /// Against docker it lacks net_raw, mknod and audit_write.
    pub const DEFAULT: Self = Self(0x8004_05fb);

    /// The bits, as `/proc/PID/status` prints them.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// The set with these bits; unknown ones are kept.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// Whether `capability` is in the set.
    #[must_use]
    pub const fn contains(self, capability: Capability) -> bool {
        self.0 & (1 << capability.0) != 0
    }

    /// Whether a capability of this name (without `CAP_`, upper case) is in the set.
    #[must_use]
    pub fn has(self, name: &str) -> bool {
        NAMES
            .iter()
            .position(|n| *n == name)
            .is_some_and(|i| self.0 & (1 << i) != 0)
    }

    /// The set with `capability` added.
    #[must_use]
    pub const fn with(self, capability: Capability) -> Self {
        Self(self.0 | 1 << capability.0)
    }

    /// The set without `capability`.
    #[must_use]
    pub const fn without(self, capability: Capability) -> Self {
        Self(self.0 & !(1 << capability.0))
    }

    /// What both sets hold.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The capabilities in the set that have names, in the order of their numbers.
    pub fn iter(self) -> impl Iterator<Item = Capability> {
        (0_u8..41)
            .map(Capability)
            .filter(move |c| self.contains(*c))
    }

    /// Applies `--cap-add` and `--cap-drop` to the default set as docker does: `ALL` first,
    /// then single names, and a name both added and dropped is added.
    ///
    /// # Errors
    ///
    /// [`UnknownCapability`] for a name that is neither `ALL` nor a capability.
    pub fn from_flags(add: &[String], drop: &[String]) -> Result<Self, UnknownCapability> {
        let is_all = |name: &String| {
            name.eq_ignore_ascii_case("all") || name.eq_ignore_ascii_case("cap_all")
        };
        let named = |names: &[String]| -> Result<Vec<Capability>, UnknownCapability> {
            names
                .iter()
                .filter(|n| !is_all(n))
                .map(|n| n.parse())
                .collect()
        };
        let (added, dropped) = (named(add)?, named(drop)?);
        let base = if add.iter().any(is_all) {
            Self::ALL
        } else if drop.iter().any(is_all) {
            Self::EMPTY
        } else {
            Self::DEFAULT
        };
        let without = dropped.into_iter().fold(base, Self::without);
        Ok(added.into_iter().fold(without, Self::with))
    }
}

impl fmt::Debug for CapabilitySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(add: &[&str], drop: &[&str]) -> Result<CapabilitySet, UnknownCapability> {
        let own = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        CapabilitySet::from_flags(&own(add), &own(drop))
    }

    #[test]
    fn the_default_set_is_podmans_eleven() {
        let mut names: Vec<_> = CapabilitySet::DEFAULT
            .iter()
            .map(Capability::name)
            .collect();
        names.sort_unstable();
        let eleven = [
            "CHOWN",
            "DAC_OVERRIDE",
            "FOWNER",
            "FSETID",
            "KILL",
            "NET_BIND_SERVICE",
            "SETFCAP",
            "SETGID",
            "SETPCAP",
            "SETUID",
            "SYS_CHROOT",
        ];
        assert_eq!(names, eleven);
    }

    #[test]
    fn flags_add_and_drop() {
        assert_eq!(set(&["net_raw"], &[]).unwrap().bits(), 0x8004_25fb);
        assert_eq!(set(&[], &["CAP_KILL"]).unwrap().bits(), 0x8004_05db);
        assert_eq!(
            set(&["NET_BIND_SERVICE"], &["all"]).unwrap().bits(),
            1 << 10
        );
        assert_eq!(
            set(&["ALL"], &["SYS_ADMIN"]).unwrap(),
            CapabilitySet::ALL.without("SYS_ADMIN".parse().unwrap())
        );
        assert_eq!(set(&["ALL"], &[]).unwrap().bits(), 0x1ff_ffff_ffff);
    }

    #[test]
    fn an_unknown_name_suggests_the_nearest() {
        let error = set(&["NETADMIN"], &[]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "unknown capability \"NETADMIN\": did you mean NET_ADMIN?"
        );
        assert!(set(&[], &["nope"]).is_err());
    }
}
