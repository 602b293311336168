//! The system call ABIs that a container can reach.

use super::table::Call;

/// A system call ABI with a table of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Abi {
    X86_64,
    I386,
    Aarch64,
}

impl Abi {
    /// What the kernel calls it in `seccomp_data.arch`. Source: linux/audit.h.
    pub(super) const fn audit_number(self) -> u32 {
        match self {
            Self::X86_64 => 0xc000_003e,
            Self::I386 => 0x4000_0003,
            Self::Aarch64 => 0xc000_00b7,
        }
    }

    /// The call's number, if the ABI has it.
    pub(super) fn number(self, call: &Call) -> Option<usize> {
        let number = match self {
            Self::X86_64 => call.x86_64,
            Self::I386 => call.i386,
            Self::Aarch64 => call.aarch64,
        };
        usize::try_from(number).ok()
    }
}

/// A machine, which may run programs of several ABIs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// 64-bit x86; also runs i386 programs.
    X86_64,
    /// 64-bit ARM.
    Aarch64,
}

impl Architecture {
    /// The one this program was compiled for.
    #[cfg(target_arch = "x86_64")]
    pub const HOST: Self = Self::X86_64;
    /// The one this program was compiled for.
    #[cfg(target_arch = "aarch64")]
    pub const HOST: Self = Self::Aarch64;

    /// The ABIs to filter, the most used first.
    pub(super) const fn abis(self) -> &'static [Abi] {
        match self {
            Self::X86_64 => &[Abi::X86_64, Abi::I386],
            Self::Aarch64 => &[Abi::Aarch64],
        }
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
compile_error!("rocker has system call tables for x86_64 and aarch64 only");
