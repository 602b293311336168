mod default_profile;
mod numbers;

use std::collections::HashMap;

use nix::libc;

use super::super::allowed::ALLOWED;
use super::super::architecture::Abi;
use super::super::profile::{Action, Range};
use super::super::restricted::RESTRICTED;
use super::super::table::Call;
use super::super::tree::{JUMP, JUMP_IF_ANY_BIT, JUMP_IF_AT_LEAST, RETURN_ALLOW};
use super::*;

const ABIS: [(Architecture, Abi); 3] = [
    (Architecture::X86_64, Abi::X86_64),
    (Architecture::X86_64, Abi::I386),
    (Architecture::Aarch64, Abi::Aarch64),
];

fn errno(number: i32) -> u32 {
    libc::SECCOMP_RET_ERRNO | number.cast_unsigned()
}

/// Runs a filter as the kernel would. Returns its answer and how many instructions it took.
fn run(program: &Program, abi: u32, number: u32, arguments: [u64; 6]) -> (u32, usize) {
    let low = |value: u64| u32::try_from(value & 0xffff_ffff).unwrap();
    let (mut at, mut accumulator) = (0, 0);
    for taken in 1.. {
        let now = program.instructions[at];
        at += 1;
        let mut jump = |condition: bool| {
            at += usize::from(if condition {
                now.jump_true
            } else {
                now.jump_false
            });
        };
        match now.code {
            LOAD => {
                accumulator = match now.operand {
                    0 => number,
                    4 => abi,
                    offset => low(arguments[usize::try_from((offset - 16) / 8).unwrap()]),
                }
            }
            JUMP => at += usize::try_from(now.operand).unwrap(),
            JUMP_IF_EQUAL => jump(accumulator == now.operand),
            JUMP_IF_AT_LEAST => jump(accumulator >= now.operand),
            JUMP_IF_ANY_BIT => jump(accumulator & now.operand != 0),
            RETURN => return (now.operand, taken),
            other => panic!("code {other:#x} at {}", at - 1),
        }
    }
    unreachable!("classic BPF only jumps forwards")
}

fn default_program(architecture: Architecture) -> Program {
    Program::new(architecture, CapabilitySet::DEFAULT)
}

fn tables() -> impl Iterator<Item = &'static Call> {
    ALLOWED.iter().chain(RESTRICTED)
}

fn call(name: &str) -> &'static Call {
    tables()
        .find(|call| call.name == name)
        .unwrap_or_else(|| panic!("no {name}"))
}

fn number_of(abi: Abi, name: &str) -> Option<u32> {
    abi.number(call(name)).map(|n| u32::try_from(n).unwrap())
}

/// What the default filter answers to `name` on every ABI that has it.
fn answers(name: &str, capabilities: CapabilitySet, arguments: [u64; 6]) -> Vec<u32> {
    let mut answers = Vec::new();
    for (architecture, abi) in ABIS {
        if let Some(number) = number_of(abi, name) {
            let program = Program::new(architecture, capabilities);
            answers.push(run(&program, abi.audit_number(), number, arguments).0);
        }
    }
    assert!(!answers.is_empty(), "{name}");
    answers
}

fn assert_answer(name: &str, arguments: [u64; 6], expected: u32) {
    for answer in answers(name, CapabilitySet::DEFAULT, arguments) {
        assert_eq!(answer, expected, "{name} {arguments:x?}: {answer:#x}");
    }
}

#[test]
fn each_number_of_each_abi_ends_as_the_table_says() {
    for capabilities in [
        CapabilitySet::DEFAULT,
        CapabilitySet::EMPTY,
        CapabilitySet::ALL,
    ] {
        for (architecture, abi) in ABIS {
            let program = Program::new(architecture, capabilities);
            let by_number: HashMap<u32, &Call> = tables()
                .filter_map(|c| Some((u32::try_from(abi.number(c)?).unwrap(), c)))
                .collect();
            let ranges = ranges(abi, capabilities);
            let border = [511, 512, 513, 1 << 16, u32::MAX - 1, u32::MAX];
            for number in (0..1_000).chain(border) {
                let (answer, _) = run(&program, abi.audit_number(), number, [0; 6]);
                let range = ranges.iter().rfind(|r| r.start <= number).unwrap();
                let expected = match (by_number.get(&number), range.action) {
                    (None, _) => errno(libc::ENOSYS),
                    (Some(_), Action::Errno(number)) => libc::SECCOMP_RET_ERRNO | number,
                    // With all arguments zero every rule says yes.
                    (Some(_), Action::Allow | Action::Inspect(_)) => RETURN_ALLOW,
                };
                assert_eq!(answer, expected, "{abi:?} {number}");
            }
        }
    }
}

#[test]
fn x32_calls_are_unknown_and_foreign_programs_die() {
    let program = default_program(Architecture::X86_64);
    let x86_64 = Abi::X86_64.audit_number();
    for number in (0..600).chain([0x3fff_ffff]) {
        let (answer, _) = run(&program, x86_64, 0x4000_0000 | number, [0; 6]);
        assert_eq!(answer, errno(libc::ENOSYS));
    }
    for foreign in [Abi::Aarch64.audit_number(), 0x4000_0028, 0] {
        assert_eq!(run(&program, foreign, 0, [0; 6]).0, RETURN_KILL);
    }
    let arm = default_program(Architecture::Aarch64);
    assert_eq!(run(&arm, 0x4000_0028, 1, [0; 6]).0, RETURN_KILL);
}

#[test]
fn a_call_is_decided_in_few_steps_and_the_kernel_can_load_the_program() {
    for (architecture, abi) in ABIS {
        let program = default_program(architecture);
        assert!(program.instructions.len() <= 4_096);
        let steps = |number| run(&program, abi.audit_number(), number, [0; 6]).1;
        let deepest = (0..600).map(steps).max().unwrap();
        assert!(deepest <= 24, "{abi:?}: {deepest} instructions");
    }
}

#[test]
fn the_tables_name_each_call_and_number_once() {
    assert!(ALLOWED.is_sorted_by_key(|call| call.name));
    let mut names: Vec<&str> = tables().map(|call| call.name).collect();
    names.sort_unstable();
    assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
    for (_, abi) in ABIS {
        let mut numbers: Vec<usize> = tables().filter_map(|call| abi.number(call)).collect();
        numbers.sort_unstable();
        assert!(numbers.windows(2).all(|pair| pair[0] != pair[1]), "{abi:?}");
        assert!(numbers.iter().all(|number| *number < 512), "{abi:?}");
    }
}

#[test]
fn ranges_cover_every_number_without_gap() {
    for (_, abi) in ABIS {
        let ranges = ranges(abi, CapabilitySet::DEFAULT);
        assert_eq!(ranges[0].start, 0);
        assert!(ranges.is_sorted_by(|a, b| a.start < b.start && a.action != b.action));
    }
}

#[test]
fn a_tree_too_wide_for_its_comparisons_still_decides_right() {
    // A thousand different answers: none can be shared, most are out of a comparison's reach.
    let answer = |start: u32| Action::Errno(start % 997 + 1);
    let wide: Vec<Range> = (0..1_000)
        .map(|index| Range {
            start: index * 3,
            action: answer(index * 3),
        })
        .collect();
    let mut builder = Builder::default();
    builder.tree(&wide);
    builder.prepend(plain(LOAD, NUMBER));
    let program = Program {
        instructions: builder.finish(),
    };

    for number in 0..3_100 {
        let start = (number / 3).min(999) * 3;
        let expected = libc::SECCOMP_RET_ERRNO | (start % 997 + 1);
        assert_eq!(run(&program, 0, number, [0; 6]).0, expected, "{number}");
    }
}

#[test]
fn unconfined_is_no_filter() {
    assert!(compile(SeccompPolicy::Unconfined, CapabilitySet::EMPTY).is_none());
    assert!(compile(SeccompPolicy::default(), CapabilitySet::ALL).is_some());
}
