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
fn what_ordinary_programs_use_is_allowed() {
    for name in [
        "read",
        "write",
        "openat",
        "close",
        "mmap",
        "execve",
        "exit_group",
        "futex",
        "wait4",
        "rt_sigreturn",
        "capset",
        "setuid",
        "prctl",
        "seccomp",
        "ptrace",
        "statx",
        "rseq",
        "mknodat",
        "bind",
        "epoll_pwait2",
        "landlock_restrict_self",
        "faccessat2",
        "close_range",
        "chroot",
        "pidfd_send_signal",
        "name_to_handle_at",
        "restart_syscall",
        "fchmodat2",
    ] {
        assert_answer(name, [0; 6], RETURN_ALLOW);
    }
}

#[test]
fn what_reaches_beyond_a_container_is_refused() {
    for name in [
        "add_key",
        "request_key",
        "keyctl",
        "userfaultfd",
        "perf_event_open",
        "bpf",
        "mount",
        "umount2",
        "move_mount",
        "open_tree",
        "fsopen",
        "fsconfig",
        "fsmount",
        "mount_setattr",
        "pivot_root",
        "kexec_load",
        "kexec_file_load",
        "init_module",
        "finit_module",
        "delete_module",
        "swapon",
        "swapoff",
        "clock_settime",
        "settimeofday",
        "quotactl",
        "fanotify_init",
        "open_by_handle_at",
        "setns",
        "unshare",
        "reboot",
        "acct",
        "iopl",
        "ioperm",
        "syslog",
        "sethostname",
        "setdomainname",
        "vhangup",
        "kcmp",
        "pidfd_getfd",
        "process_madvise",
        "mbind",
        "move_pages",
        "stime",
        "umount",
        "vm86",
    ] {
        assert_answer(name, [0; 6], errno(libc::EPERM));
    }
    assert_answer("clone3", [0; 6], errno(libc::ENOSYS));
}

#[test]
fn io_uring_is_unknown_on_every_abi() {
    for (architecture, abi) in ABIS {
        for number in 425..=427 {
            let program = Program::new(architecture, CapabilitySet::ALL);
            let (answer, _) = run(&program, abi.audit_number(), number, [0; 6]);
            assert_eq!(answer, errno(libc::ENOSYS));
        }
    }
}

#[test]
fn a_capability_opens_what_it_is_for_and_nothing_else() {
    for (capability, opened) in [
        (
            "SYS_ADMIN",
            &["mount", "unshare", "setns", "clone3", "bpf", "syslog"][..],
        ),
        ("SYS_BOOT", &["reboot"]),
        (
            "SYS_MODULE",
            &["init_module", "finit_module", "delete_module"],
        ),
        ("SYS_TIME", &["settimeofday", "clock_settime"]),
        ("SYS_NICE", &["mbind"]),
        ("SYS_PTRACE", &["kcmp"]),
        ("SYSLOG", &["syslog"]),
        ("BPF", &["bpf"]),
        ("PERFMON", &["perf_event_open"]),
        ("SYS_RAWIO", &["iopl"]),
        ("SYS_PACCT", &["acct"]),
        ("SYS_TTY_CONFIG", &["vhangup"]),
        ("DAC_READ_SEARCH", &["open_by_handle_at"]),
    ] {
        let with = CapabilitySet::DEFAULT.with(capability.parse().unwrap());
        for name in opened {
            assert!(
                answers(name, with, [0; 6])
                    .iter()
                    .all(|a| *a == RETURN_ALLOW),
                "{name}"
            );
        }
        let closed = if capability == "SYS_TIME" {
            "reboot"
        } else {
            "settimeofday"
        };
        assert!(
            answers(closed, with, [0; 6])
                .iter()
                .all(|a| *a == errno(libc::EPERM))
        );
    }
    let without = CapabilitySet::DEFAULT.without("SYS_CHROOT".parse().unwrap());
    assert!(
        answers("chroot", without, [0; 6])
            .iter()
            .all(|a| *a == errno(libc::EPERM))
    );
}

#[test]
fn no_capability_opens_keyrings_or_kexec() {
    for name in [
        "keyctl",
        "add_key",
        "request_key",
        "kexec_load",
        "userfaultfd",
        "swapon",
    ] {
        let all = answers(name, CapabilitySet::ALL, [0; 6]);
        assert!(all.iter().all(|a| *a == errno(libc::EPERM)), "{name}");
    }
}

#[test]
fn clone_makes_processes_and_threads_but_no_namespaces() {
    let flags = |flags: u64| [flags, 0, 0, 0, 0, 0];
    for namespace in [
        libc::CLONE_NEWNS,
        libc::CLONE_NEWCGROUP,
        libc::CLONE_NEWUTS,
        libc::CLONE_NEWIPC,
        libc::CLONE_NEWUSER,
        libc::CLONE_NEWPID,
        libc::CLONE_NEWNET,
    ] {
        let alone = u64::from(namespace.cast_unsigned());
        assert_answer("clone", flags(alone), errno(libc::EPERM));
        assert_answer(
            "clone",
            flags(alone | 17 | 0xdead << 32),
            errno(libc::EPERM),
        );
        let admin = CapabilitySet::DEFAULT.with("SYS_ADMIN".parse().unwrap());
        assert!(
            answers("clone", admin, flags(alone))
                .iter()
                .all(|a| *a == RETURN_ALLOW)
        );
    }
    // What glibc's pthread_create and fork ask for.
    assert_answer("clone", flags(0x3d_0f00), RETURN_ALLOW);
    assert_answer("clone", flags(0x120_0011), RETURN_ALLOW);
}

#[test]
fn sockets_of_harmless_families_only() {
    let socket = |family: u64, protocol: u64| [family, 3, protocol, 0, 0, 0];
    for family in [1, 2, 10, 16, 17] {
        assert_answer("socket", socket(family, 0), RETURN_ALLOW);
    }
    for family in [38, 40, 38 | 7 << 32] {
        assert_answer("socket", socket(family, 0), errno(libc::EAFNOSUPPORT));
        let all = answers("socket", CapabilitySet::ALL, socket(family, 0));
        assert!(all.iter().all(|a| *a == errno(libc::EAFNOSUPPORT)));
    }
    assert_answer("socket", socket(16, 9), errno(libc::EINVAL));
    assert_answer("socket", socket(2, 9), RETURN_ALLOW);
    let audit = CapabilitySet::DEFAULT.with("AUDIT_WRITE".parse().unwrap());
    assert!(
        answers("socket", audit, socket(16, 9))
            .iter()
            .all(|a| *a == RETURN_ALLOW)
    );
    // socketcall(SYS_SOCKET, …) hides the family; socketcall(SYS_CONNECT, …) has none.
    assert_answer("socketcall", [1, 0, 0, 0, 0, 0], errno(libc::ENOSYS));
    assert_answer("socketcall", [3, 0, 0, 0, 0, 0], RETURN_ALLOW);
}

#[test]
fn personalities_that_weaken_memory_protection_are_refused() {
    for harmless in [0, 8, 0x2_0000, 0x2_0008, 0xffff_ffff, 8 | 1 << 40] {
        assert_answer("personality", [harmless, 0, 0, 0, 0, 0], RETURN_ALLOW);
    }
    for harmful in [0x4_0000, 0x40_0000, 1, 0x2_0001, 0xffff_fffe] {
        assert_answer("personality", [harmful, 0, 0, 0, 0, 0], errno(libc::EPERM));
    }
}

#[test]
fn nothing_types_into_a_terminal() {
    // The kernel looks at 32 bits, so a high bit must not hide the request.
    for request in [0x5412, 0x541c, 0x5412 | 1 << 32, 0xffff_ffff_0000_541c] {
        assert_answer("ioctl", [0, request, 0, 0, 0, 0], errno(libc::EPERM));
    }
    for request in [0x5401, 0x5413, 0x5414, 0x541b] {
        assert_answer("ioctl", [0, request, 0, 0, 0, 0], RETURN_ALLOW);
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

macro_rules! numbers_in_libc {
    ($($constant:ident)*) => {
        &[$((stringify!($constant), libc::$constant)),*]
    };
}

/// What another project says about the numbers of this machine.
const IN_LIBC: &[(&str, libc::c_long)] = numbers_in_libc![
    SYS_accept SYS_accept4 SYS_acct SYS_add_key SYS_adjtimex SYS_bind SYS_bpf SYS_brk
    SYS_capget SYS_capset SYS_chdir SYS_chroot SYS_clock_adjtime SYS_clock_getres
    SYS_clock_gettime SYS_clock_nanosleep SYS_clock_settime SYS_clone SYS_clone3 SYS_close
    SYS_close_range SYS_connect SYS_copy_file_range SYS_delete_module SYS_dup SYS_dup3
    SYS_epoll_create1 SYS_epoll_ctl SYS_epoll_pwait SYS_epoll_pwait2 SYS_eventfd2 SYS_execve
    SYS_execveat SYS_exit SYS_exit_group SYS_faccessat SYS_faccessat2 SYS_fadvise64
    SYS_fallocate SYS_fanotify_init SYS_fanotify_mark SYS_fchdir SYS_fchmod SYS_fchmodat
    SYS_fchown SYS_fchownat SYS_fcntl SYS_fdatasync SYS_fgetxattr SYS_finit_module
    SYS_flistxattr SYS_flock SYS_fremovexattr SYS_fsconfig SYS_fsetxattr SYS_fsmount
    SYS_fsopen SYS_fspick SYS_fstat SYS_fstatfs SYS_fsync SYS_ftruncate SYS_futex
    SYS_futex_waitv SYS_get_mempolicy SYS_get_robust_list SYS_getcpu SYS_getcwd
    SYS_getdents64 SYS_getegid SYS_geteuid SYS_getgid SYS_getgroups SYS_getitimer
    SYS_getpeername SYS_getpgid SYS_getpid SYS_getppid SYS_getpriority SYS_getrandom
    SYS_getresgid SYS_getresuid SYS_getrusage SYS_getsid SYS_getsockname SYS_getsockopt
    SYS_gettid SYS_gettimeofday SYS_getuid SYS_getxattr SYS_init_module
    SYS_inotify_add_watch SYS_inotify_init1 SYS_inotify_rm_watch SYS_io_cancel
    SYS_io_destroy SYS_io_getevents SYS_io_setup SYS_io_submit SYS_ioctl SYS_ioprio_get
    SYS_ioprio_set SYS_kcmp SYS_kexec_load SYS_keyctl SYS_kill SYS_landlock_add_rule
    SYS_landlock_create_ruleset SYS_landlock_restrict_self SYS_lgetxattr SYS_linkat
    SYS_listen SYS_listxattr SYS_llistxattr SYS_lookup_dcookie SYS_lremovexattr SYS_lseek
    SYS_lsetxattr SYS_madvise SYS_mbind SYS_membarrier SYS_memfd_create SYS_memfd_secret
    SYS_migrate_pages SYS_mincore SYS_mkdirat SYS_mknodat SYS_mlock SYS_mlock2 SYS_mlockall
    SYS_mmap SYS_mount SYS_mount_setattr SYS_move_mount SYS_move_pages SYS_mprotect
    SYS_mq_getsetattr SYS_mq_notify SYS_mq_open SYS_mq_timedreceive SYS_mq_timedsend
    SYS_mq_unlink SYS_mremap SYS_mseal SYS_msgctl SYS_msgget SYS_msgrcv SYS_msgsnd SYS_msync
    SYS_munlock SYS_munlockall SYS_munmap SYS_name_to_handle_at SYS_nanosleep SYS_newfstatat
    SYS_nfsservctl SYS_open_by_handle_at SYS_open_tree SYS_openat SYS_openat2
    SYS_perf_event_open SYS_personality SYS_pidfd_getfd SYS_pidfd_open SYS_pidfd_send_signal
    SYS_pipe2 SYS_pivot_root SYS_pkey_alloc SYS_pkey_free SYS_pkey_mprotect SYS_ppoll
    SYS_prctl SYS_pread64 SYS_preadv SYS_preadv2 SYS_prlimit64 SYS_process_madvise
    SYS_process_mrelease SYS_process_vm_readv SYS_process_vm_writev SYS_pselect6 SYS_ptrace
    SYS_pwrite64 SYS_pwritev SYS_pwritev2 SYS_quotactl SYS_quotactl_fd SYS_read
    SYS_readahead SYS_readlinkat SYS_readv SYS_reboot SYS_recvfrom SYS_recvmmsg SYS_recvmsg
    SYS_remap_file_pages SYS_removexattr SYS_renameat2 SYS_request_key SYS_restart_syscall
    SYS_rseq SYS_rt_sigaction SYS_rt_sigpending SYS_rt_sigprocmask SYS_rt_sigqueueinfo
    SYS_rt_sigreturn SYS_rt_sigsuspend SYS_rt_sigtimedwait SYS_rt_tgsigqueueinfo
    SYS_sched_get_priority_max SYS_sched_get_priority_min SYS_sched_getaffinity
    SYS_sched_getattr SYS_sched_getparam SYS_sched_getscheduler SYS_sched_rr_get_interval
    SYS_sched_setaffinity SYS_sched_setattr SYS_sched_setparam SYS_sched_setscheduler
    SYS_sched_yield SYS_seccomp SYS_semctl SYS_semget SYS_semop SYS_semtimedop SYS_sendfile
    SYS_sendmmsg SYS_sendmsg SYS_sendto SYS_set_mempolicy SYS_set_mempolicy_home_node
    SYS_set_robust_list SYS_set_tid_address SYS_setdomainname SYS_setfsgid SYS_setfsuid
    SYS_setgid SYS_setgroups SYS_sethostname SYS_setitimer SYS_setns SYS_setpgid
    SYS_setpriority SYS_setregid SYS_setresgid SYS_setresuid SYS_setreuid SYS_setsid
    SYS_setsockopt SYS_settimeofday SYS_setuid SYS_setxattr SYS_shmat SYS_shmctl SYS_shmdt
    SYS_shmget SYS_shutdown SYS_sigaltstack SYS_signalfd4 SYS_socket SYS_socketpair
    SYS_splice SYS_statfs SYS_statx SYS_swapoff SYS_swapon SYS_symlinkat SYS_sync SYS_syncfs
    SYS_sysinfo SYS_syslog SYS_tee SYS_tgkill SYS_timer_create SYS_timer_delete
    SYS_timer_getoverrun SYS_timer_gettime SYS_timer_settime SYS_timerfd_create
    SYS_timerfd_gettime SYS_timerfd_settime SYS_times SYS_tkill SYS_truncate SYS_umask
    SYS_umount2 SYS_uname SYS_unlinkat SYS_unshare SYS_userfaultfd SYS_utimensat SYS_vhangup
    SYS_vmsplice SYS_wait4 SYS_waitid SYS_write SYS_writev
];

#[test]
fn the_numbers_are_those_of_the_libc_crate() {
    let native = Architecture::HOST.abis()[0];
    for (constant, number) in IN_LIBC {
        let name = constant.strip_prefix("SYS_").unwrap();
        assert_eq!(
            native.number(call(name)),
            usize::try_from(*number).ok(),
            "{name}"
        );
    }
}
