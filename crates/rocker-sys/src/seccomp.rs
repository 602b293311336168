//! Installing a seccomp filter.
//!
//! A filter cannot be taken back: after [`install`] every later system call of the calling
//! thread, and of everything it starts, goes through it.
#![expect(unsafe_code, reason = "seccomp(2) has no safe wrapper")]

use std::io;

/// One instruction of a classic BPF program, laid out as the kernel's `struct sock_filter`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// What to do: class, mode and operand source of `linux/filter.h`.
    pub code: u16,
    /// How many instructions to skip when the comparison holds.
    pub jump_true: u8,
    /// How many instructions to skip when it does not.
    pub jump_false: u8,
    /// The operand.
    pub operand: u32,
}

/// The kernel's `struct sock_fprog`.
#[repr(C)]
struct Program {
    len: libc::c_ushort,
    filter: *const Instruction,
}

/// Adds `program` to the filters of the calling thread.
///
/// Speculative store bypass is left to the default of the machine (`SPEC_ALLOW`): before
/// Linux 5.16 a filter otherwise slows every program down, against an attack inside one
/// address space, which is not a boundary that a container adds.
///
/// # Errors
///
/// `EACCES` unless the thread has `CAP_SYS_ADMIN` in its user namespace or no_new_privs is
/// set; `EINVAL` for an empty, too long (4,096) or malformed program. See seccomp(2).
pub fn install(program: &[Instruction]) -> io::Result<()> {
    let len = libc::c_ushort::try_from(program.len())
        .map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    let program = Program {
        len,
        filter: program.as_ptr(),
    };

    // SAFETY: `program` and the instructions it points at live until the call returns, because
    // the slice is borrowed; `len` is the slice's length and `Instruction` has the layout of
    // `struct sock_filter`. The kernel copies and checks the instructions and keeps no pointer.
    let rc = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW,
            &raw const program,
        )
    };
    if rc == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
