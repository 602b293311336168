//! What the filter of every container answers.

use nix::libc;

use super::*;

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
