//! Ranges of call numbers as a BPF program.
//!
//! Classic BPF jumps only forwards; a comparison skips at most 255 instructions, an
//! unconditional jump any number. So the program is written from its end: whatever a
//! comparison leads to is there already, its distance is known, and equal answers are shared
//! as far as a comparison reaches.

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

/// A program under construction, last instruction first.
#[derive(Debug, Default)]
pub(super) struct Builder {
    reversed: Vec<Instruction>,
    answers: Vec<(Action, Label)>,
}

/// A place in a program: how many instructions stand from there to the end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Label(usize);

impl Builder {
    /// The instructions in the order in which they run.
    pub(super) fn finish(mut self) -> Vec<Instruction> {
        self.reversed.reverse();
        self.reversed
    }

    /// Puts `instruction` before everything written so far.
    pub(super) fn prepend(&mut self, instruction: Instruction) -> Label {
        self.reversed.push(instruction);
        Label(self.reversed.len())
    }

    /// Puts a comparison with `operand` in front, which leads to `then` when it holds.
    pub(super) fn branch(
        &mut self,
        code: u16,
        operand: u32,
        then: Label,
        otherwise: Label,
    ) -> Label {
        let then = self.in_reach(then);
        let otherwise = self.in_reach(otherwise);
        let (then, otherwise) = (self.skip(then), self.skip(otherwise));
        self.prepend(compare(code, operand, then, otherwise))
    }

    /// The tree over `ranges`; expects the call number in the accumulator, always returns.
    pub(super) fn tree(&mut self, ranges: &[Range]) -> Label {
        match ranges {
            [] => self.answer(UNKNOWN),
            [only] => self.answer(only.action),
            _ => {
                let (lower, upper) = ranges.split_at(ranges.len() / 2);
                let start = upper[0].start;
                let upper = self.tree(upper);
                let lower = self.tree(lower);
                self.branch(JUMP_IF_AT_LEAST, start, upper, lower)
            }
        }
    }

    /// Where `action` is carried out: an earlier place in reach, else a new one.
    fn answer(&mut self, action: Action) -> Label {
        let written = self
            .answers
            .iter()
            .rev()
            .find(|(known, _)| *known == action);
        if let Some((_, label)) = written.filter(|(_, label)| self.distance(*label) < REACH) {
            return *label;
        }
        let block = block(action);
        for instruction in block.into_iter().rev() {
            self.prepend(instruction);
        }
        let label = Label(self.reversed.len());
        self.answers.push((action, label));
        label
    }

    /// `label` itself, or a jump to it where a comparison put in front now could not skip so
    /// far.
    fn in_reach(&mut self, label: Label) -> Label {
        if self.distance(label) < REACH {
            return label;
        }
        let distance = u32::try_from(self.distance(label)).unwrap_or(u32::MAX);
        self.prepend(plain(JUMP, distance))
    }

    /// How many instructions lie between one put in front now and `label`.
    const fn distance(&self, label: Label) -> usize {
        self.reversed.len() - label.0
    }

    fn skip(&self, label: Label) -> u8 {
        u8::try_from(self.distance(label)).unwrap_or(u8::MAX)
    }
}

/// How far a comparison certainly reaches: 255 less the jumps that may come between it and
/// what it leads to.
const REACH: usize = 250;

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

/// The instructions that carry out `action`; they end in returns.
fn block(action: Action) -> Vec<Instruction> {
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
