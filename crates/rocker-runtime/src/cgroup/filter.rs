//! The device rules as a BPF program, which is how cgroup v2 takes them.
//!
//! The kernel calls the program with a `struct bpf_cgroup_dev_ctx` for every open and mknod of
//! a device node and takes 0 for no. One block per rule: compare, skip to the next block on a
//! difference, return 1 at its end; behind the last block stands `return 0`.

use rocker_sys::bpf::Instruction;

use super::devices::{DeviceKind, DeviceRule};

// Source: linux/bpf_common.h and linux/bpf.h.
const LOAD_WORD: u8 = 0x61;
const AND_IMMEDIATE: u8 = 0x54;
const SHIFT_RIGHT_IMMEDIATE: u8 = 0x74;
const MOVE_REGISTER: u8 = 0xbc;
const MOVE_IMMEDIATE: u8 = 0xb7;
const JUMP_UNLESS_EQUAL_IMMEDIATE: u8 = 0x55;
const EXIT: u8 = 0x95;

const RESULT: u8 = 0;
const CONTEXT: u8 = 1;
const KIND: u8 = 2;
const WANTED: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

const BLOCK_DEVICE: i32 = 1;
const CHAR_DEVICE: i32 = 2;
const ACCESS_MKNOD: i32 = 1;
const ACCESS_READ: i32 = 2;
const ACCESS_WRITE: i32 = 4;

/// Compiles `rules` into a program that allows exactly what one of them allows.
pub(super) fn compile(rules: &[DeviceRule]) -> Vec<Instruction> {
    // access_type: the kind of node in the low half, the wanted access in the high half.
    let mut program = vec![
        load(KIND, 0),
        immediate(AND_IMMEDIATE, KIND, 0xffff),
        load(WANTED, 0),
        immediate(SHIFT_RIGHT_IMMEDIATE, WANTED, 16),
        load(MAJOR, 4),
        load(MINOR, 8),
    ];
    program.extend(rules.iter().flat_map(block));
    program.extend([immediate(MOVE_IMMEDIATE, RESULT, 0), immediate(EXIT, 0, 0)]);
    program
}

/// One rule: falls off its end when the rule does not apply.
fn block(rule: &DeviceRule) -> Vec<Instruction> {
    let kind = match rule.kind {
        DeviceKind::Block => BLOCK_DEVICE,
        DeviceKind::Char => CHAR_DEVICE,
    };
    let mut block = vec![
        unless_equal(KIND, kind),
        // What is wanted beyond what the rule allows must be nothing.
        Instruction {
            code: MOVE_REGISTER,
            registers: RESULT | WANTED << 4,
            offset: 0,
            immediate: 0,
        },
        immediate(AND_IMMEDIATE, RESULT, !access_bits(rule)),
        unless_equal(RESULT, 0),
    ];
    block.extend(rule.major.map(|n| unless_equal(MAJOR, n.cast_signed())));
    block.extend(rule.minor.map(|n| unless_equal(MINOR, n.cast_signed())));
    block.extend([immediate(MOVE_IMMEDIATE, RESULT, 1), immediate(EXIT, 0, 0)]);

    let length = block.len();
    for (at, instruction) in block.iter_mut().enumerate() {
        if instruction.code == JUMP_UNLESS_EQUAL_IMMEDIATE {
            instruction.offset = i16::try_from(length - at - 1).unwrap_or(i16::MAX);
        }
    }
    block
}

fn access_bits(rule: &DeviceRule) -> i32 {
    let bit = |on: bool, bit: i32| if on { bit } else { 0 };
    bit(rule.access.mknod, ACCESS_MKNOD)
        | bit(rule.access.read, ACCESS_READ)
        | bit(rule.access.write, ACCESS_WRITE)
}

const fn load(register: u8, offset: i16) -> Instruction {
    Instruction {
        code: LOAD_WORD,
        registers: register | CONTEXT << 4,
        offset,
        immediate: 0,
    }
}

const fn immediate(code: u8, register: u8, value: i32) -> Instruction {
    Instruction {
        code,
        registers: register,
        offset: 0,
        immediate: value,
    }
}

/// Leaves the block when `register` is not `value`; the distance is filled in at the end.
const fn unless_equal(register: u8, value: i32) -> Instruction {
    immediate(JUMP_UNLESS_EQUAL_IMMEDIATE, register, value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::devices::DeviceRules;

    /// Runs a program as the kernel would; covers the instructions that `compile` emits.
    fn run(program: &[Instruction], context: [u32; 3]) -> u64 {
        let mut registers = [0_u64; 11];
        let mut at = 0;
        loop {
            let now = program[at];
            let (to, from) = (
                usize::from(now.registers & 15),
                usize::from(now.registers >> 4),
            );
            at += 1;
            match now.code {
                LOAD_WORD => {
                    assert_eq!(from, usize::from(CONTEXT));
                    registers[to] = context[usize::try_from(now.offset).unwrap() / 4].into();
                }
                AND_IMMEDIATE => {
                    let low = u32::try_from(registers[to] & 0xffff_ffff).unwrap();
                    registers[to] = (low & now.immediate.cast_unsigned()).into();
                }
                SHIFT_RIGHT_IMMEDIATE => {
                    registers[to] = (registers[to] & 0xffff_ffff) >> now.immediate
                }
                MOVE_REGISTER => registers[to] = registers[from] & 0xffff_ffff,
                MOVE_IMMEDIATE => registers[to] = i64::from(now.immediate).cast_unsigned(),
                JUMP_UNLESS_EQUAL_IMMEDIATE => {
                    if registers[to] != i64::from(now.immediate).cast_unsigned() {
                        at += usize::try_from(now.offset).unwrap();
                    }
                }
                EXIT => return registers[0],
                other => panic!("code {other:#x} at {}", at - 1),
            }
        }
    }

    fn allows(rules: &[&str], kind: i32, access: i32, major: u32, minor: u32) -> bool {
        let rules: Vec<DeviceRule> = rules.iter().map(|r| r.parse().unwrap()).collect();
        let access_type = (access << 16 | kind).cast_unsigned();
        run(&compile(&rules), [access_type, major, minor]) == 1
    }

    #[test]
    fn only_what_a_rule_allows_is_allowed() {
        let rules = ["c 1:3 rw", "b 8:* r", "c 5:* m"];
        for (kind, access, major, minor, expected) in [
            (CHAR_DEVICE, ACCESS_READ, 1, 3, true),
            (CHAR_DEVICE, ACCESS_READ | ACCESS_WRITE, 1, 3, true),
            (CHAR_DEVICE, ACCESS_MKNOD, 1, 3, false),
            (CHAR_DEVICE, ACCESS_READ | ACCESS_MKNOD, 1, 3, false),
            (CHAR_DEVICE, ACCESS_READ, 1, 4, false),
            (CHAR_DEVICE, ACCESS_READ, 2, 3, false),
            (BLOCK_DEVICE, ACCESS_READ, 1, 3, false),
            (BLOCK_DEVICE, ACCESS_READ, 8, 17, true),
            (BLOCK_DEVICE, ACCESS_WRITE, 8, 17, false),
            (CHAR_DEVICE, ACCESS_MKNOD, 5, 77, true),
        ] {
            assert_eq!(
                allows(&rules, kind, access, major, minor),
                expected,
                "kind {kind} access {access} {major}:{minor}"
            );
        }
    }

    #[test]
    fn numbers_beyond_the_signed_range_compare_by_value() {
        assert!(allows(
            &["c 1:1048575 r"],
            CHAR_DEVICE,
            ACCESS_READ,
            1,
            1_048_575
        ));
        assert!(!allows(&["c 1:1048575 r"], CHAR_DEVICE, ACCESS_READ, 1, 0));
    }

    #[test]
    fn no_rules_allow_nothing_and_the_default_allows_null_but_no_disk() {
        assert_eq!(run(&compile(&[]), [0x2_0002, 1, 3]), 0);
        let DeviceRules::Only(rules) = DeviceRules::default() else {
            panic!("devices are restricted by default")
        };
        let program = compile(&rules);
        assert_eq!(run(&program, [0x6_0002, 1, 3]), 1);
        assert_eq!(run(&program, [0x2_0001, 8, 0]), 0);
        assert_eq!(run(&program, [0x1_0002, 10, 200]), 0);
    }
}
