//! Device control of cgroup v2: a BPF program that the kernel asks about each open and mknod.
#![expect(unsafe_code, reason = "bpf(2) has no safe wrapper")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// One instruction of an extended BPF program, laid out as the kernel's `struct bpf_insn`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// Class, operation and operand source of `linux/bpf.h`.
    pub code: u8,
    /// Destination register in the low half, source register in the high half.
    pub registers: u8,
    /// How many instructions to skip, or an offset into memory.
    pub offset: i16,
    /// The immediate operand.
    pub immediate: i32,
}

const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_PROG_ATTACH: libc::c_long = 8;
const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
/// Programs of ancestors and of other tools stay in force: every one must agree.
const BPF_F_ALLOW_MULTI: u32 = 2;

/// The head of `union bpf_attr` as `BPF_PROG_LOAD` reads it; what follows counts as zero.
#[repr(C)]
struct LoadAttributes {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
}

/// The head of `union bpf_attr` as `BPF_PROG_ATTACH` reads it.
#[repr(C)]
struct AttachAttributes {
    target_fd: u32,
    attach_bpf_fd: u32,
    attach_type: u32,
    attach_flags: u32,
}

/// Loads `program` as a device filter. The descriptor is close-on-exec; the program lives
/// as long as something holds it, which an attached cgroup does.
///
/// # Errors
///
/// `EPERM` without `CAP_BPF` or `CAP_SYS_ADMIN` (before Linux 5.11 also when the memlock
/// limit is used up), `EINVAL` when the verifier refuses the program or the kernel lacks
/// `CONFIG_CGROUP_BPF`. See bpf(2).
pub fn load_device_filter(program: &[Instruction]) -> io::Result<OwnedFd> {
    let insn_cnt =
        u32::try_from(program.len()).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    let mut prog_name = [0; 16];
    prog_name[..b"rocker_devices".len()].copy_from_slice(b"rocker_devices");
    let attributes = LoadAttributes {
        prog_type: BPF_PROG_TYPE_CGROUP_DEVICE,
        insn_cnt,
        insns: program.as_ptr().expose_provenance() as u64,
        license: c"Apache-2.0".as_ptr().expose_provenance() as u64,
        log_level: 0,
        log_size: 0,
        log_buf: 0,
        kern_version: 0,
        prog_flags: 0,
        prog_name,
    };

    // SAFETY: the attributes, the borrowed instructions and the static licence text live until
    // the call returns; the kernel reads exactly the sizes announced, copies them and keeps no
    // pointer.
    let rc = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_PROG_LOAD,
            &raw const attributes,
            size_of::<LoadAttributes>(),
        )
    };
    if rc < 0 {
        return Err(io::Error::last_os_error());
    }
    let fd = RawFd::try_from(rc).map_err(|_| io::Error::from_raw_os_error(libc::EBADF))?;
    // SAFETY: the kernel just made this descriptor for us (bpf(2): close-on-exec), so nobody
    // else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Puts the device filter `program` in force for every process in the v2 cgroup directory
/// `cgroup`, beside the filters of its ancestors.
///
/// # Errors
///
/// `EPERM` without `CAP_NET_ADMIN` or `CAP_SYS_ADMIN`, or when an ancestor's filter may not be
/// combined; `EBADF` or `EINVAL` when `cgroup` is not a v2 cgroup. See bpf(2).
pub fn attach_device_filter(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    let attributes = AttachAttributes {
        target_fd: cgroup.as_raw_fd().cast_unsigned(),
        attach_bpf_fd: program.as_raw_fd().cast_unsigned(),
        attach_type: BPF_CGROUP_DEVICE,
        attach_flags: BPF_F_ALLOW_MULTI,
    };

    // SAFETY: both descriptors are borrowed and so open during the call; the attributes live on
    // this stack frame, the kernel reads the announced size and takes its own references.
    let rc = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_PROG_ATTACH,
            &raw const attributes,
            size_of::<AttachAttributes>(),
        )
    };
    if rc == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
