//! The filter as a whole, and putting it in force.

use std::io;

use rocker_sys::seccomp::{Instruction, install};
use rocker_types::CapabilitySet;

use super::architecture::Architecture;
use super::profile::ranges;
use super::tree::{ABI, Builder, JUMP_IF_EQUAL, LOAD, NUMBER, RETURN, RETURN_KILL, plain};

/// Which system calls a container may make.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SeccompPolicy {
    /// The allow-list of this module.
    #[default]
    Default,
    /// All of them (`--security-opt seccomp=unconfined`, `--privileged`).
    Unconfined,
}

/// A filter, ready to be put in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    instructions: Vec<Instruction>,
}

/// Builds the filter for a container whose processes can have at most `capabilities` (its
/// bounding set), on this machine. `None` when the policy is not to filter.
#[must_use]
pub fn compile(policy: SeccompPolicy, capabilities: CapabilitySet) -> Option<Program> {
    match policy {
        SeccompPolicy::Default => Some(Program::new(Architecture::HOST, capabilities)),
        SeccompPolicy::Unconfined => None,
    }
}

impl Program {
    /// The default profile for `architecture`.
    #[must_use]
    pub fn new(architecture: Architecture, capabilities: CapabilitySet) -> Self {
        let mut program = Builder::default();
        let mut foreign = program.prepend(plain(RETURN, RETURN_KILL));
        for abi in architecture.abis().iter().rev() {
            program.tree(&ranges(*abi, capabilities));
            let filter = program.prepend(plain(LOAD, NUMBER));
            foreign = program.branch(JUMP_IF_EQUAL, abi.audit_number(), filter, foreign);
        }
        program.prepend(plain(LOAD, ABI));
        Self {
            instructions: program.finish(),
        }
    }

    /// Puts the filter in force for the calling thread and everything that it starts, for ever.
    ///
    /// Meant as the last step before `execve`, in the child. The thread must still have
    /// `CAP_SYS_ADMIN` or have set no_new_privs.
    ///
    /// # Errors
    ///
    /// What seccomp(2) says: `EACCES` without the right to do it, `EINVAL` or `ENOSYS` on a
    /// kernel without filters. The container must not start then.
    pub fn load(&self) -> io::Result<()> {
        install(&self.instructions)
    }

    /// The filter as the kernel takes it.
    #[must_use]
    pub fn instructions(&self) -> &[Instruction] {
        &self.instructions
    }
}

#[cfg(test)]
mod tests;
