//! What happens to each system call number of an ABI.

use nix::libc;
use rocker_types::CapabilitySet;

use super::allowed::ALLOWED;
use super::architecture::Abi;
use super::restricted::{ADMIN, AUDIT_WRITE, RESTRICTED};
use super::table::{Call, Policy, Rule};

/// What the kernel does with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Allow,
    /// The call fails with this error number.
    Errno(u32),
    /// The arguments decide.
    Inspect(Inspection),
}

/// What to look for in the arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Inspection {
    Clone,
    Socket { audit: Audit },
    Socketcall,
    Personality,
    Ioctl,
}

/// Whether the container may speak to the audit subsystem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Audit {
    Allowed,
    Refused,
}

/// What happens to a call that is on no list.
pub(super) const UNKNOWN: Action = Action::Errno(libc::ENOSYS.cast_unsigned());
const FORBIDDEN: Action = Action::Errno(libc::EPERM.cast_unsigned());

/// Call numbers from `start` up to the next range, which all end the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) start: u32,
    pub(super) action: Action,
}

/// Above the greatest number in the tables.
const TABLE_SIZE: usize = 512;

/// The profile for a container with these capabilities as ranges that cover every number, in
/// ascending order; neighbours differ.
pub(super) fn ranges(abi: Abi, capabilities: CapabilitySet) -> Vec<Range> {
    let mut actions = [UNKNOWN; TABLE_SIZE];
    for call in ALLOWED.iter().chain(RESTRICTED) {
        if let Some(slot) = abi.number(call).and_then(|number| actions.get_mut(number)) {
            *slot = action(call, capabilities);
        }
    }
    let mut ranges: Vec<Range> = Vec::with_capacity(256);
    for (start, action) in (0_u32..).zip(actions.into_iter().chain([UNKNOWN])) {
        if ranges.last().is_none_or(|range| range.action != action) {
            ranges.push(Range { start, action });
        }
    }
    ranges
}

fn action(call: &Call, capabilities: CapabilitySet) -> Action {
    let has = |bits: u64| capabilities.bits() & bits != 0;
    let if_allowed = |allowed: bool, otherwise: Action| {
        if allowed { Action::Allow } else { otherwise }
    };
    match call.policy {
        Policy::Allow => Action::Allow,
        Policy::Refuse => FORBIDDEN,
        Policy::Needs(any) => if_allowed(has(any.bits()), FORBIDDEN),
        Policy::Inspect(Rule::Clone) => if_allowed(has(ADMIN), Action::Inspect(Inspection::Clone)),
        Policy::Inspect(Rule::Clone3) => if_allowed(has(ADMIN), UNKNOWN),
        Policy::Inspect(Rule::Socket) => Action::Inspect(Inspection::Socket {
            audit: if has(AUDIT_WRITE) {
                Audit::Allowed
            } else {
                Audit::Refused
            },
        }),
        Policy::Inspect(Rule::Socketcall) => Action::Inspect(Inspection::Socketcall),
        Policy::Inspect(Rule::Personality) => Action::Inspect(Inspection::Personality),
        Policy::Inspect(Rule::Ioctl) => Action::Inspect(Inspection::Ioctl),
    }
}
