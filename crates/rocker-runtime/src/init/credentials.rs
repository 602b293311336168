//! Who the program is and what it may: groups, ids, capabilities, no_new_privs.
//!
//! Order matters: the bounding set shrinks while `CAP_SETPCAP` is held, groups change before
//! the uid takes the right to it away, and what the seccomp filter still needs (`CAP_SYS_ADMIN`,
//! unless no_new_privs is set) goes last. Then everything is read back.

use rocker_types::{Capability, CapabilitySet};
use rustix::io::Errno;
use rustix::process::DumpableBehavior;
use rustix::thread::{
    CapabilitySets, capabilities, capability_is_in_bounding_set, clear_ambient_capability_set,
    configure_capability_in_ambient_set, remove_capability_from_bounding_set, set_capabilities,
    set_keep_capabilities, set_no_new_privs, set_thread_groups, set_thread_res_gid,
    set_thread_res_uid,
};
use rustix::thread::{Gid, Uid};

use crate::process::{At, InitFailure, InitStep};
use crate::users::Identity;

/// Rights, decided.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rights {
    /// The bounding set; root's effective and permitted sets.
    pub(crate) bounding: CapabilitySet,
    /// What another user keeps across execve.
    pub(crate) ambient: CapabilitySet,
    pub(crate) no_new_privileges: bool,
}

/// Bit of `CAP_SYS_ADMIN`.
const SYS_ADMIN: u64 = 1 << 21;

/// Capability numbers end here for good: the sets have 64 bits.
const NUMBERS: u32 = 64;

/// Rights between [`assume`] and [`settle`].
#[derive(Debug)]
pub(super) struct Provisional {
    last: u64,
    ambient: u64,
}

/// Becomes `identity` with `rights`, but for what loading a filter needs.
pub(super) fn assume(identity: &Identity, rights: &Rights) -> Result<Provisional, InitFailure> {
    shrink_bounding_set(rights.bounding)?;
    switch_user(identity)?;
    let ambient = if identity.uid == 0 {
        0
    } else {
        rights.ambient.bits()
    };
    let last = if identity.uid == 0 {
        rights.bounding.bits()
    } else {
        ambient
    };
    if rights.no_new_privileges {
        set_no_new_privs(true).at(InitStep::NoNewPrivileges, "")?;
    }
    let for_filter = if rights.no_new_privileges {
        0
    } else {
        SYS_ADMIN
    };
    set(last | for_filter, ambient)?;
    set_ambient(ambient)?;
    // Changing ids made the process as dumpable as fs.suid_dumpable says.
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .at(InitStep::SwitchUser, "dumpable")?;
    Ok(Provisional { last, ambient })
}

/// Gives up what only the filter needed and reads the sets back.
pub(super) fn settle(provisional: &Provisional) -> Result<(), InitFailure> {
    let Provisional { last, ambient } = *provisional;
    set(last, ambient)?;
    let sets = capabilities(None).at(InitStep::Verify, "capabilities")?;
    let found = [sets.effective, sets.permitted, sets.inheritable].map(|set| set.bits());
    if found == [last, last, ambient] {
        Ok(())
    } else {
        let text = format!("capability sets are {found:x?}");
        Err(InitFailure::refusal(InitStep::Verify, text))
    }
}

fn set(held: u64, inheritable: u64) -> Result<(), InitFailure> {
    let bits = rustix::thread::CapabilitySet::from_bits_retain;
    let sets = CapabilitySets {
        effective: bits(held),
        permitted: bits(held),
        inheritable: bits(inheritable),
    };
    set_capabilities(None, sets).at(InitStep::Capabilities, "permitted")
}

/// rustix takes capabilities as sets of one.
fn one(number: u32) -> rustix::thread::CapabilitySet {
    rustix::thread::CapabilitySet::from_bits_retain(1 << number)
}

/// Drops every capability that this kernel knows and `keep` does not hold, and reads all back.
fn shrink_bounding_set(keep: CapabilitySet) -> Result<(), InitFailure> {
    for number in (0..NUMBERS).filter(|number| keep.bits() & (1 << number) == 0) {
        match remove_capability_from_bounding_set(one(number)) {
            // The kernel's last capability is behind us.
            Err(Errno::INVAL) => break,
            result => result.at(InitStep::Capabilities, "bounding set")?,
        }
    }
    verify_bounding_set(keep)
}

fn verify_bounding_set(keep: CapabilitySet) -> Result<(), InitFailure> {
    let mut found = 0_u64;
    for number in 0..NUMBERS {
        match capability_is_in_bounding_set(one(number)) {
            Err(Errno::INVAL) => break,
            Ok(true) => found |= 1 << number,
            Ok(false) => {}
            Err(errno) => return Err(errno).at(InitStep::Verify, "bounding set"),
        }
    }
    if found == keep.bits() {
        Ok(())
    } else {
        let text = format!("the bounding set is {found:x}");
        Err(InitFailure::refusal(InitStep::Verify, text))
    }
}

fn switch_user(identity: &Identity) -> Result<(), InitFailure> {
    let name = format!("{}:{}", identity.uid, identity.gid);
    let groups: Vec<Gid> = identity
        .groups
        .iter()
        .map(|gid| Gid::from_raw(*gid))
        .collect();
    set_thread_groups(&groups).at(InitStep::SwitchUser, &name)?;
    let (uid, gid) = (Uid::from_raw(identity.uid), Gid::from_raw(identity.gid));
    set_thread_res_gid(gid, gid, gid).at(InitStep::SwitchUser, &name)?;
    if identity.uid != 0 {
        set_keep_capabilities(true).at(InitStep::SwitchUser, "keep capabilities")?;
    }
    set_thread_res_uid(uid, uid, uid).at(InitStep::SwitchUser, &name)?;
    if identity.uid != 0 {
        set_keep_capabilities(false).at(InitStep::SwitchUser, "keep capabilities")?;
    }
    Ok(())
}

fn set_ambient(ambient: u64) -> Result<(), InitFailure> {
    clear_ambient_capability_set().at(InitStep::Capabilities, "ambient")?;
    for number in (0..NUMBERS).filter(|number| ambient & (1 << number) != 0) {
        configure_capability_in_ambient_set(one(number), true)
            .at(InitStep::Capabilities, "ambient")?;
    }
    Ok(())
}

impl Rights {
    /// Names of what `available` lacks.
    pub(crate) fn missing_from(&self, available: CapabilitySet) -> Vec<&'static str> {
        let missing = self.bounding.bits() & !available.bits();
        let missing = CapabilitySet::from_bits(missing);
        missing.iter().map(Capability::name).collect()
    }
}
