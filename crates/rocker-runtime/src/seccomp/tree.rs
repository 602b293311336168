//! Ranges of call numbers as a BPF program.
//!
//! Classic BPF jumps only forwards; a comparison skips at most 255 instructions, an
//! unconditional jump any number. So a branch of the tree is laid out as comparison, lower
//! half, upper half, and the comparison skips the lower half.

use nix::libc;
use rocker_sys::seccomp::Instruction;

use super::profile::{Action, Audit, Inspection, Range, UNKNOWN};

// Source: linux/bpf_common.h: class, then size and mode, operation and operand.
pub(super) const LOAD: u16 = 0x20;
pub(super) const JUMP: u16 = 0x05;
pub(super) const JUMP_IF_EQUAL: u16 = 0x15;
pub(super) const JUMP_IF_AT_LEAST: u16 = 0x35;
pub(super) const JUMP_IF_ANY_BIT: u16 = 0x45;
pub(super) const RETURN: u16 = 0x06;

// Offsets in struct seccomp_data. Of the 64-bit arguments only the low half, which comes first
// on the little-endian machines that we have, reaches the kernel functions judged here: they
// take `int` or `unsigned int`, or look at flags below bit 32.
pub(super) const NUMBER: u32 = 0;
pub(super) const ABI: u32 = 4;
const ARGUMENT_0: u32 = 16;
const ARGUMENT_1: u32 = 24;
const ARGUMENT_2: u32 = 32;

pub(super) const RETURN_ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
pub(super) const RETURN_KILL: u32 = libc::SECCOMP_RET_KILL_PROCESS;

/// `CLONE_NEW*` but for time, which clone cannot ask for. Source: linux/sched.h.
const NAMESPACE_FLAGS: u32 = 0x7e02_0000;
/// The usual personality and the 32-bit one, each with and without the old uname version, and
/// the question for the present one.
const HARMLESS_PERSONALITIES: [u32; 5] = [0, 8, 0x2_0000, 0x2_0008, 0xffff_ffff];
const AF_NETLINK: u32 = 16;
const AF_ALG: u32 = 38;
const AF_VSOCK: u32 = 40;
const NETLINK_AUDIT: u32 = 9;
const TIOCSTI: u32 = 0x5412;
const TIOCLINUX: u32 = 0x541c;
/// The first argument of `socketcall` that makes a socket. Source: linux/net.h.
const SYS_SOCKET: u32 = 1;

/// The tree over `ranges`; expects the call number in the accumulator, always returns.
pub(super) fn tree(ranges: &[Range]) -> Vec<Instruction> {
    match ranges {
        [] => returning(UNKNOWN),
        [only] => leaf(only.action),
        _ => {
            let (lower, upper) = ranges.split_at(ranges.len() / 2);
            let (start, lower, upper) = (upper[0].start, tree(lower), tree(upper));
            let mut branch = Vec::with_capacity(lower.len() + upper.len() + 2);
            match u8::try_from(lower.len()) {
                Ok(skip) => branch.push(compare(JUMP_IF_AT_LEAST, start, skip, 0)),
                Err(_) => branch.extend([
                    compare(JUMP_IF_AT_LEAST, start, 0, 1),
                    plain(JUMP, distance(&lower)),
                ]),
            }
            branch.extend(lower);
            branch.extend(upper);
            branch
        }
    }
}

pub(super) fn distance(skipped: &[Instruction]) -> u32 {
    // A program has at most 4,096 instructions.
    u32::try_from(skipped.len()).unwrap_or(u32::MAX)
}

pub(super) const fn plain(code: u16, operand: u32) -> Instruction {
    compare(code, operand, 0, 0)
}

pub(super) const fn compare(code: u16, operand: u32, then: u8, otherwise: u8) -> Instruction {
    Instruction {
        code,
        jump_true: then,
        jump_false: otherwise,
        operand,
    }
}

fn leaf(action: Action) -> Vec<Instruction> {
    let any = |argument, comparison, values: &[u32], hit: u32, miss: u32| {
        let mut block = vec![plain(LOAD, argument)];
        let mut to_hit = u8::try_from(values.len()).unwrap_or(u8::MAX);
        for value in values {
            block.push(compare(comparison, *value, to_hit, 0));
            to_hit -= 1;
        }
        block.extend([plain(RETURN, miss), plain(RETURN, hit)]);
        block
    };
    let refuse = errno(libc::EPERM);
    match action {
        Action::Allow | Action::Errno(_) => returning(action),
        Action::Inspect(Inspection::Clone) => any(
            ARGUMENT_0,
            JUMP_IF_ANY_BIT,
            &[NAMESPACE_FLAGS],
            refuse,
            RETURN_ALLOW,
        ),
        Action::Inspect(Inspection::Personality) => any(
            ARGUMENT_0,
            JUMP_IF_EQUAL,
            &HARMLESS_PERSONALITIES,
            RETURN_ALLOW,
            refuse,
        ),
        Action::Inspect(Inspection::Ioctl) => any(
            ARGUMENT_1,
            JUMP_IF_EQUAL,
            &[TIOCSTI, TIOCLINUX],
            refuse,
            RETURN_ALLOW,
        ),
        Action::Inspect(Inspection::Socketcall) => any(
            ARGUMENT_0,
            JUMP_IF_EQUAL,
            &[SYS_SOCKET],
            errno(libc::ENOSYS),
            RETURN_ALLOW,
        ),
        Action::Inspect(Inspection::Socket { audit }) => socket(audit),
    }
}

/// Families that a container has no business with look as if the kernel lacked them.
fn socket(audit: Audit) -> Vec<Instruction> {
    let no_family = plain(RETURN, errno(libc::EAFNOSUPPORT));
    let allow = plain(RETURN, RETURN_ALLOW);
    match audit {
        Audit::Allowed => vec![
            plain(LOAD, ARGUMENT_0),
            compare(JUMP_IF_EQUAL, AF_VSOCK, 1, 0),
            compare(JUMP_IF_EQUAL, AF_ALG, 0, 1),
            no_family,
            allow,
        ],
        // libaudit, and so every login program, takes EINVAL for a kernel without audit.
        Audit::Refused => vec![
            plain(LOAD, ARGUMENT_0),
            compare(JUMP_IF_EQUAL, AF_VSOCK, 1, 0),
            compare(JUMP_IF_EQUAL, AF_ALG, 0, 1),
            no_family,
            compare(JUMP_IF_EQUAL, AF_NETLINK, 0, 3),
            plain(LOAD, ARGUMENT_2),
            compare(JUMP_IF_EQUAL, NETLINK_AUDIT, 0, 1),
            plain(RETURN, errno(libc::EINVAL)),
            allow,
        ],
    }
}

fn returning(action: Action) -> Vec<Instruction> {
    let value = match action {
        Action::Errno(number) => libc::SECCOMP_RET_ERRNO | number,
        Action::Allow | Action::Inspect(_) => RETURN_ALLOW,
    };
    vec![plain(RETURN, value)]
}

const fn errno(number: i32) -> u32 {
    libc::SECCOMP_RET_ERRNO | number.cast_unsigned()
}
