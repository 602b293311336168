//! A FORWARD policy of DROP in `iptables-legacy`, the firewall before nftables.
//!
//! Its tables can only be replaced whole, so changing them is left to its own program, which
//! knows how; looking is done here, because it happens for every container. Hosts without
//! legacy tables (nearly all) pay for one look into `/proc`.

use std::io;
use std::process::{Command, Stdio};

use crate::bridge::Direction;
use crate::name::InterfaceName;
use rocker_sys::iptables::FilterTable;

const PROGRAM: &str = "iptables-legacy";
/// Names the legacy tables of the network namespace that exist.
const TABLE_NAMES: &str = "/proc/thread-self/net/ip_tables_names";

/// Why a firewall of `iptables-legacy` could not be passed.
#[derive(Debug, thiserror::Error)]
pub enum LegacyError {
    /// The table could not be read.
    #[error("cannot read the filter table of iptables-legacy")]
    Read {
        /// What the kernel said.
        source: io::Error,
    },
    /// There is such a firewall but not its program.
    #[error("the FORWARD policy of iptables-legacy is DROP, and the program {PROGRAM} is missing")]
    ProgramMissing,
    /// The program could not be run.
    #[error("cannot run {PROGRAM}")]
    Run {
        /// What the kernel said.
        source: io::Error,
    },
    /// The program failed.
    #[error("{PROGRAM} failed: {message}")]
    Failed {
        /// The last line it wrote.
        message: String,
    },
}

impl LegacyError {
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::ProgramMissing | Self::Run { .. } | Self::Failed { .. } => Some(
                "install iptables, or accept forwarding to and from the bridge yourself, \
                 or use --network host"
                    .to_owned(),
            ),
            Self::Read { .. } => None,
        }
    }
}

/// Sees to it that a FORWARD policy of DROP lets our bridge pass. Idempotent.
pub(crate) fn ensure_legacy_forward_accepts(bridge: &InterfaceName) -> Result<(), LegacyError> {
    let Some(chain) = load()? else { return Ok(()) };
    if !chain.drops {
        return Ok(());
    }
    for direction in Direction::ALL {
        if chain.count(direction, bridge) == 0 {
            run("-I", direction, bridge)?;
        }
    }
    Ok(())
}

/// Takes our rules out again, all of them: of two containers that join at the same time both
/// may have put them in.
pub(crate) fn remove_legacy_forward_accepts(bridge: &InterfaceName) -> Result<(), LegacyError> {
    let Some(chain) = load()? else { return Ok(()) };
    for direction in Direction::ALL {
        for _ in 0..chain.count(direction, bridge) {
            run("-D", direction, bridge)?;
        }
    }
    Ok(())
}

/// Whether `iptables-legacy` drops forwarded packets; none if there is no such firewall.
pub(crate) fn legacy_forward_drops() -> Result<Option<bool>, LegacyError> {
    Ok(load()?.map(|chain| chain.drops))
}

const fn flag(direction: Direction) -> &'static str {
    match direction {
        Direction::FromBridge => "-i",
        Direction::ToBridge => "-o",
    }
}

fn run(verb: &str, direction: Direction, bridge: &InterfaceName) -> Result<(), LegacyError> {
    let output = Command::new(PROGRAM)
        .args([
            "-w",
            "5",
            verb,
            "FORWARD",
            flag(direction),
            bridge.as_str(),
            "-j",
            "ACCEPT",
        ])
        .stdin(Stdio::null())
        .output()
        .map_err(|source| {
            if source.kind() == io::ErrorKind::NotFound {
                LegacyError::ProgramMissing
            } else {
                LegacyError::Run { source }
            }
        })?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let message = text.lines().last().unwrap_or("it said nothing").to_owned();
    Err(LegacyError::Failed { message })
}

fn load() -> Result<Option<ForwardChain>, LegacyError> {
    // Absent unless the kernel has legacy iptables; the table is listed once it is used.
    let Ok(names) = fs_err::read_to_string(TABLE_NAMES) else {
        return Ok(None);
    };
    if !names.lines().any(|name| name == "filter") {
        return Ok(None);
    }
    let table =
        rocker_sys::iptables::filter_table().map_err(|source| LegacyError::Read { source })?;
    let malformed = || LegacyError::Read {
        source: io::ErrorKind::InvalidData.into(),
    };
    ForwardChain::parse(&table).map(Some).ok_or_else(malformed)
}

/// What matters of the FORWARD chain.
#[derive(Debug, PartialEq, Eq)]
struct ForwardChain {
    /// Its policy is DROP.
    drops: bool,
    /// Rules that accept everything of one interface.
    accepted: Vec<(Direction, String)>,
}

/// `NF_INET_FORWARD`.
const FORWARD: usize = 2;
/// Standard verdicts: `-NF_DROP - 1` and `-NF_ACCEPT - 1`.
const VERDICT_DROP: i32 = -1;
const VERDICT_ACCEPT: i32 = -2;

impl ForwardChain {
    /// How many rules accept everything of the bridge in this direction.
    fn count(&self, direction: Direction, bridge: &InterfaceName) -> usize {
        let accepted = self.accepted.iter();
        accepted
            .filter(|(d, name)| *d == direction && name == bridge.as_str())
            .count()
    }

    /// `struct ipt_getinfo`: name, valid_hooks, hook_entry\[5\] at 36, underflow\[5\] at 56.
    fn parse(table: &FilterTable) -> Option<Self> {
        let first = number(&table.info, 36 + 4 * FORWARD)?;
        let policy = number(&table.info, 56 + 4 * FORWARD)?;
        let mut chain = Self {
            drops: Entry::at(&table.entries, policy)?.verdict() == Some(VERDICT_DROP),
            accepted: vec![],
        };
        let mut offset = first;
        while offset < policy {
            let entry = Entry::at(&table.entries, offset)?;
            chain.accepted.extend(entry.accepted_interface());
            offset = offset.checked_add(entry.next()?)?;
        }
        Some(chain)
    }
}

fn number(bytes: &[u8], offset: usize) -> Option<usize> {
    let bytes = bytes.get(offset..)?.first_chunk()?;
    usize::try_from(u32::from_ne_bytes(*bytes)).ok()
}

/// One `struct ipt_entry`.
struct Entry<'a>(&'a [u8]);

/// Bytes of `struct ipt_entry`: where matches begin.
const ENTRY_LEN: usize = 112;

impl<'a> Entry<'a> {
    fn at(entries: &'a [u8], offset: usize) -> Option<Self> {
        entries
            .get(offset..)
            .filter(|bytes| bytes.len() >= ENTRY_LEN)
            .map(Self)
    }

    fn short(&self, offset: usize) -> Option<usize> {
        let bytes = self.0.get(offset..)?.first_chunk()?;
        Some(usize::from(u16::from_ne_bytes(*bytes)))
    }

    /// Length of the entry; 0 would never end.
    fn next(&self) -> Option<usize> {
        self.short(90).filter(|length| *length >= ENTRY_LEN)
    }

    /// The verdict, if the target is a standard one (its name is empty).
    fn verdict(&self) -> Option<i32> {
        let target = self.0.get(self.short(88)?..)?;
        let named = *target.get(2)? != 0;
        let verdict = target
            .get(32..)?
            .first_chunk()
            .map(|bytes| i32::from_ne_bytes(*bytes));
        if named { None } else { verdict }
    }

    /// The interface, if this rule accepts everything from or to exactly one.
    fn accepted_interface(&self) -> Option<(Direction, String)> {
        // struct ipt_ip: addresses and masks to 16, iniface 16, outiface 32, their masks 48
        // and 64, proto 80, flags 82, invflags 83. No matches: the target follows at once.
        let unconditional = |range: std::ops::Range<usize>| {
            self.0
                .get(range)
                .is_some_and(|bytes| bytes.iter().all(|byte| *byte == 0))
        };
        let plain =
            unconditional(0..16) && unconditional(80..84) && self.short(88) == Some(ENTRY_LEN);
        if !plain || self.verdict() != Some(VERDICT_ACCEPT) {
            return None;
        }
        let input = self.exact_interface(16, 48);
        let output = self.exact_interface(32, 64);
        match (input, output) {
            (Some(name), None) if unconditional(64..80) => Some((Direction::FromBridge, name)),
            (None, Some(name)) if unconditional(48..64) => Some((Direction::ToBridge, name)),
            _ => None,
        }
    }

    /// A name whose mask covers its final NUL; a shorter mask means "and all that begin so".
    fn exact_interface(&self, name: usize, mask: usize) -> Option<String> {
        let bytes = self.0.get(name..name + 16)?;
        let length = bytes.iter().position(|byte| *byte == 0)?;
        let covered = self
            .0
            .get(mask..mask + 16)?
            .iter()
            .take_while(|byte| **byte == 0xff)
            .count();
        let exact = length > 0 && covered == length + 1;
        exact.then(|| String::from_utf8_lossy(&bytes[..length]).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An entry with a standard target and nothing matched.
    fn entry(verdict: i32) -> Vec<u8> {
        let mut bytes = vec![0; ENTRY_LEN + 40];
        bytes[88..90].copy_from_slice(&112u16.to_ne_bytes());
        bytes[90..92].copy_from_slice(&152u16.to_ne_bytes());
        bytes[ENTRY_LEN + 32..ENTRY_LEN + 36].copy_from_slice(&verdict.to_ne_bytes());
        bytes
    }

    fn from_interface(name: &[u8], mask_len: usize) -> Vec<u8> {
        let mut bytes = entry(VERDICT_ACCEPT);
        bytes[16..16 + name.len()].copy_from_slice(name);
        bytes[48..48 + mask_len].fill(0xff);
        bytes
    }

    fn table(entries: &[Vec<u8>]) -> FilterTable {
        let mut info = [0; 84];
        let last: usize = entries[..entries.len() - 1].iter().map(Vec::len).sum();
        info[64..68].copy_from_slice(&u32::try_from(last).unwrap().to_ne_bytes());
        FilterTable {
            info,
            entries: entries.concat(),
        }
    }

    #[test]
    fn only_a_rule_for_exactly_this_interface_counts() {
        let bridge: InterfaceName = "rocker0".parse().unwrap();
        let cases = [
            (vec![from_interface(b"rocker0", 8)], 1),
            (vec![from_interface(b"rocker0", 8); 2], 2),
            (vec![from_interface(b"rocker0", 7)], 0),
            (vec![from_interface(b"rocker01", 9)], 0),
            (vec![from_interface(b"", 0)], 0),
        ];
        for (mut rules, expected) in cases {
            rules.push(entry(VERDICT_DROP));
            let chain = ForwardChain::parse(&table(&rules)).unwrap();
            assert!(chain.drops);
            assert_eq!(
                chain.count(Direction::FromBridge, &bridge),
                expected,
                "{chain:?}"
            );
        }
    }

    #[test]
    fn a_table_that_lies_about_its_lengths_is_refused() {
        let mut endless = entry(VERDICT_ACCEPT);
        endless[90..92].copy_from_slice(&0u16.to_ne_bytes());
        let mut beyond = table(&[entry(VERDICT_ACCEPT)]);
        beyond.info[64..68].copy_from_slice(&9999u32.to_ne_bytes());

        assert_eq!(
            ForwardChain::parse(&table(&[endless, entry(VERDICT_DROP)])),
            None
        );
        assert_eq!(ForwardChain::parse(&beyond), None);
    }
}
