//! The default profile in force, judged by the kernel.
//!
//! A filter binds one thread and what it starts, so each test makes a thread of its own.
#![expect(
    unsafe_code,
    reason = "these tests make system calls that no crate would make for us"
)]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking, and so does what it calls"
)]

use std::ffi::CStr;
use std::process::{Command, Output, Stdio};

use nix::libc;
use rocker_runtime::seccomp::{SeccompPolicy, compile};
use rocker_types::CapabilitySet;

/// Says why a test cannot run here; a failure where skipping is not allowed.
macro_rules! skip {
    ($($why:tt)*) => {{
        let why = format!($($why)*);
        assert!(std::env::var_os("ROCKER_TEST_STRICT").is_none(), "cannot run: {why}");
        eprintln!("skipped: {why}");
        return;
    }};
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Runs `body` in a thread that the default filter binds.
fn confined<T: Send>(capabilities: CapabilitySet, body: impl FnOnce() -> T + Send) -> T {
    let thread = || {
        let program = compile(SeccompPolicy::Default, capabilities).unwrap();
        program.load().expect("the kernel takes the filter");
        body()
    };
    std::thread::scope(|scope| scope.spawn(thread).join().unwrap())
}

/// Makes a system call and returns its error number, 0 when it succeeded.
fn attempt(number: libc::c_long, arguments: [libc::c_long; 6]) -> i32 {
    let [a, b, c, d, e, f] = arguments;
    // SAFETY: the calls made here are refused, or take no pointers but to static text.
    let result = unsafe { libc::syscall(number, a, b, c, d, e, f) };
    if result >= 0 {
        return 0;
    }
    std::io::Error::last_os_error().raw_os_error().unwrap()
}

fn pointer(text: &'static CStr) -> libc::c_long {
    text.as_ptr()
        .expose_provenance()
        .cast_signed()
        .try_into()
        .unwrap()
}

#[expect(clippy::too_many_lines, reason = "a table")]
#[test]
fn refused_calls_fail_with_the_documented_error() {
    if !is_root() {
        skip!("a filter without no_new_privs needs root");
    }
    let path = pointer(c"/nonexistent");
    confined(CapabilitySet::DEFAULT, || {
        for (name, number, arguments, expected) in [
            (
                "mount",
                libc::SYS_mount,
                [path, path, path, 0, 0, 0],
                libc::EPERM,
            ),
            (
                "umount2",
                libc::SYS_umount2,
                [path, 0, 0, 0, 0, 0],
                libc::EPERM,
            ),
            ("unshare", libc::SYS_unshare, [0; 6], libc::EPERM),
            ("setns", libc::SYS_setns, [-1, 0, 0, 0, 0, 0], libc::EPERM),
            ("keyctl", libc::SYS_keyctl, [0; 6], libc::EPERM),
            ("bpf", libc::SYS_bpf, [-1, 0, 0, 0, 0, 0], libc::EPERM),
            ("userfaultfd", libc::SYS_userfaultfd, [0; 6], libc::EPERM),
            (
                "perf_event_open",
                libc::SYS_perf_event_open,
                [0; 6],
                libc::EPERM,
            ),
            (
                "open_tree",
                libc::SYS_open_tree,
                [-1, path, 0, 0, 0, 0],
                libc::EPERM,
            ),
            (
                "kexec_load",
                libc::SYS_kexec_load,
                [0, 0, 0, 0, 0, 0],
                libc::EPERM,
            ),
            ("clone3", libc::SYS_clone3, [0; 6], libc::ENOSYS),
            (
                "io_uring_setup",
                libc::SYS_io_uring_setup,
                [1, 0, 0, 0, 0, 0],
                libc::ENOSYS,
            ),
            ("number 999", 999, [0; 6], libc::ENOSYS),
            (
                "clone(NEWUSER)",
                libc::SYS_clone,
                [0x1000_0011, 0, 0, 0, 0, 0],
                libc::EPERM,
            ),
            (
                "socket(VSOCK)",
                libc::SYS_socket,
                [40, 1, 0, 0, 0, 0],
                libc::EAFNOSUPPORT,
            ),
            (
                "socket(ALG)",
                libc::SYS_socket,
                [38, 5, 0, 0, 0, 0],
                libc::EAFNOSUPPORT,
            ),
            (
                "socket(AUDIT)",
                libc::SYS_socket,
                [16, 3, 9, 0, 0, 0],
                libc::EINVAL,
            ),
            (
                "personality",
                libc::SYS_personality,
                [0x4_0000, 0, 0, 0, 0, 0],
                libc::EPERM,
            ),
            (
                "TIOCSTI",
                libc::SYS_ioctl,
                [0, 0x5412, path, 0, 0, 0],
                libc::EPERM,
            ),
            (
                "TIOCLINUX",
                libc::SYS_ioctl,
                [0, 0x541c, path, 0, 0, 0],
                libc::EPERM,
            ),
        ] {
            assert_eq!(attempt(number, arguments), expected, "{name}");
        }
    });
}

#[test]
fn ordinary_calls_reach_the_kernel() {
    if !is_root() {
        skip!("a filter without no_new_privs needs root");
    }
    confined(CapabilitySet::DEFAULT, || {
        for (name, number, arguments, expected) in [
            ("getpid", libc::SYS_getpid, [0; 6], 0),
            (
                "personality query",
                libc::SYS_personality,
                [0xffff_ffff, 0, 0, 0, 0, 0],
                0,
            ),
            ("close", libc::SYS_close, [-1, 0, 0, 0, 0, 0], libc::EBADF),
            (
                "ioctl",
                libc::SYS_ioctl,
                [-1, 0x5401, 0, 0, 0, 0],
                libc::EBADF,
            ),
            (
                "chdir",
                libc::SYS_chdir,
                [pointer(c"/nonexistent"), 0, 0, 0, 0, 0],
                libc::ENOENT,
            ),
        ] {
            assert_eq!(attempt(number, arguments), expected, "{name}");
        }
        let socket = std::net::UdpSocket::bind("127.0.0.1:0");
        assert!(socket.is_ok(), "{socket:?}");
    });
}

#[test]
fn a_capability_lets_its_calls_through() {
    if !is_root() {
        skip!("a filter without no_new_privs needs root");
    }
    let admin = CapabilitySet::DEFAULT.with("SYS_ADMIN".parse().unwrap());
    let (unshare, setns) = confined(admin, || {
        (
            attempt(libc::SYS_unshare, [0; 6]),
            attempt(libc::SYS_setns, [-1, 0, 0, 0, 0, 0]),
        )
    });
    assert_eq!((unshare, setns), (0, libc::EBADF));
}

#[test]
fn without_privilege_the_filter_loads_after_no_new_privs() {
    let refused = std::thread::spawn(|| {
        nix::sys::prctl::set_no_new_privs().unwrap();
        let program = compile(SeccompPolicy::Default, CapabilitySet::EMPTY).unwrap();
        program.load().unwrap();
        attempt(libc::SYS_chroot, [pointer(c"/"), 0, 0, 0, 0, 0])
    });
    assert_eq!(refused.join().unwrap(), libc::EPERM);
}

fn run(program: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null());
    command.output().unwrap()
}

#[test]
fn ordinary_programs_run_with_threads_pipes_and_children() {
    if !is_root() {
        skip!("a filter without no_new_privs needs root");
    }
    let script = "for i in 1 2 3; do (echo $i | cat; exit 0) & done; wait; ls / >/dev/null; \
                  id -u; umask; date >/dev/null; exec sh -c 'kill -9 $$'";
    let output = confined(CapabilitySet::DEFAULT, || run("/bin/sh", &["-c", script]));

    use std::os::unix::process::ExitStatusExt as _;
    assert_eq!(output.status.signal(), Some(9), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert!(
        String::from_utf8_lossy(&output.stdout).ends_with("0\n0022\n"),
        "{output:?}"
    );
}

#[test]
fn a_second_filter_only_takes_away() {
    if !is_root() {
        skip!("a filter without no_new_privs needs root");
    }
    let reboot = confined(CapabilitySet::DEFAULT, || {
        let program = compile(SeccompPolicy::Default, CapabilitySet::ALL).unwrap();
        // Loading needs seccomp(2), which containers have: programs confine themselves further.
        program.load().unwrap();
        attempt(libc::SYS_unshare, [0; 6])
    });
    assert_eq!(reboot, libc::EPERM);
}

#[cfg(target_arch = "x86_64")]
mod other_abis {
    use super::*;

    /// Makes a call by i386's gate, as any 64-bit program can, with one argument.
    fn attempt_i386(number: i64, argument: i64) -> i64 {
        let result: i64;
        // SAFETY: the calls made here take no pointers. The kernel keeps all registers but
        // rax; rbx is saved by hand because the compiler reserves it.
        unsafe {
            std::arch::asm!(
                "push rbx",
                "mov rbx, {argument}",
                "int 0x80",
                "pop rbx",
                argument = in(reg) argument,
                inlateout("rax") number => result,
                in("rcx") 0_i64,
                in("rdx") 0_i64,
                in("rsi") 0_i64,
                in("rdi") 0_i64,
                out("r8") _, out("r9") _, out("r10") _, out("r11") _,
            );
        }
        result
    }

    /// The test below, in a process of its own: a kernel without i386 support kills it.
    const INNER: &str = "ROCKER_TEST_INT80";

    #[test]
    fn i386_calls_of_a_64_bit_program_are_filtered_by_their_own_table() {
        if !is_root() {
            skip!("a filter without no_new_privs needs root");
        }
        if std::env::var_os(INNER).is_some() {
            confined(CapabilitySet::DEFAULT, || {
                let pid = i64::from(std::process::id());
                for (name, number, argument, expected) in [
                    ("getpid", 20, 0, pid),
                    ("mount", 21, 0, -i64::from(libc::EPERM)),
                    ("umount", 22, 0, -i64::from(libc::EPERM)),
                    ("keyctl", 288, 0, -i64::from(libc::EPERM)),
                    ("unshare", 310, 0, -i64::from(libc::EPERM)),
                    ("socketcall(SOCKET)", 102, 1, -i64::from(libc::ENOSYS)),
                    ("socket(ALG)", 359, 38, -i64::from(libc::EAFNOSUPPORT)),
                    ("clone3", 435, 0, -i64::from(libc::ENOSYS)),
                    ("io_uring_setup", 425, 1, -i64::from(libc::ENOSYS)),
                ] {
                    let result = attempt_i386(number, argument);
                    assert_eq!(result, expected, "{name}");
                }
            });
            return;
        }
        let name = "other_abis::i386_calls_of_a_64_bit_program_are_filtered_by_their_own_table";
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .env(INNER, "1")
            .output()
            .unwrap();
        use std::os::unix::process::ExitStatusExt as _;
        if output.status.signal() == Some(libc::SIGSEGV) {
            skip!("this kernel has no i386 system calls");
        }
        assert!(output.status.success(), "{output:?}");
    }

    #[test]
    fn x32_calls_are_unknown() {
        if !is_root() {
            skip!("a filter without no_new_privs needs root");
        }
        confined(CapabilitySet::DEFAULT, || {
            for number in [libc::SYS_getpid, libc::SYS_mount, 520, 547] {
                let x32 = 0x4000_0000 + number;
                assert_eq!(attempt(x32, [0; 6]), libc::ENOSYS, "{number}");
            }
        });
    }
}
