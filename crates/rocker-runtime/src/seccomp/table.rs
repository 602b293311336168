//! What the profile says about one system call.

use rocker_types::CapabilitySet;

/// Marks an ABI that does not have the call.
pub(super) const NO: i16 = -1;

/// One system call by its numbers, [`NO`] where an ABI lacks it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "the tables are read by name, by people and tests")
    )]
    pub(super) name: &'static str,
    pub(super) x86_64: i16,
    pub(super) i386: i16,
    pub(super) aarch64: i16,
    pub(super) policy: Policy,
}

/// When a call is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Policy {
    Allow,
    /// Never; `EPERM`.
    Refuse,
    /// With one of these capabilities, else `EPERM`.
    Needs(CapabilitySet),
    /// It depends on the arguments.
    Inspect(Rule),
}

/// How a call's arguments decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// No new namespaces without `CAP_SYS_ADMIN`.
    Clone,
    /// Takes its flags in memory, where a filter cannot look: unknown without `CAP_SYS_ADMIN`,
    /// and the C libraries fall back to clone.
    Clone3,
    /// No vsock (reaches the host of a virtual machine), no kernel crypto sockets, and audit
    /// only with `CAP_AUDIT_WRITE`.
    Socket,
    /// i386's older way to the socket calls takes arguments in memory. Making a socket this
    /// way would go round [`Rule::Socket`], the rest is harmless.
    Socketcall,
    /// No personality that weakens memory protection.
    Personality,
    /// Nothing that types into a terminal.
    Ioctl,
}

pub(super) const fn allow(name: &'static str, x86_64: i16, i386: i16, aarch64: i16) -> Call {
    Call {
        name,
        x86_64,
        i386,
        aarch64,
        policy: Policy::Allow,
    }
}

pub(super) const fn refuse(name: &'static str, x86_64: i16, i386: i16, aarch64: i16) -> Call {
    Call {
        policy: Policy::Refuse,
        ..allow(name, x86_64, i386, aarch64)
    }
}

pub(super) const fn needs(
    capabilities: u64,
    name: &'static str,
    x86_64: i16,
    i386: i16,
    aarch64: i16,
) -> Call {
    Call {
        policy: Policy::Needs(CapabilitySet::from_bits(capabilities)),
        ..allow(name, x86_64, i386, aarch64)
    }
}

pub(super) const fn inspect(
    rule: Rule,
    name: &'static str,
    x86_64: i16,
    i386: i16,
    aarch64: i16,
) -> Call {
    Call {
        policy: Policy::Inspect(rule),
        ..allow(name, x86_64, i386, aarch64)
    }
}
