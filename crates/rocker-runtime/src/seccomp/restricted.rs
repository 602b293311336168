//! The system calls that a container may make under a condition, or never.
//!
//! Numbers in the order x86_64, i386, aarch64.

use super::table::{Call, NO, Rule, inspect, needs, refuse};

// Bits of the capabilities that allow something here. Source: linux/capability.h.
const DAC_READ_SEARCH: u64 = 1 << 2;
const MODULE: u64 = 1 << 16;
const RAWIO: u64 = 1 << 17;
const CHROOT: u64 = 1 << 18;
const PTRACE: u64 = 1 << 19;
const PACCT: u64 = 1 << 20;
pub(super) const ADMIN: u64 = 1 << 21;
const BOOT: u64 = 1 << 22;
const NICE: u64 = 1 << 23;
const TIME: u64 = 1 << 25;
const TTY: u64 = 1 << 26;
pub(super) const AUDIT_WRITE: u64 = 1 << 29;
const SYSLOG: u64 = 1 << 34;
const PERFMON: u64 = 1 << 38;
const BPF: u64 = 1 << 39;

/// Grouped by what they need.
pub(super) const RESTRICTED: &[Call] = &[
    // Keyrings are not namespaced; the others reach the whole machine or nothing at all.
    refuse("add_key", 248, 286, 217),
    refuse("keyctl", 250, 288, 219),
    refuse("request_key", 249, 287, 218),
    refuse("kexec_load", 246, 283, 104),
    refuse("kexec_file_load", 320, NO, 294),
    refuse("swapon", 167, 87, 224),
    refuse("swapoff", 168, 115, 225),
    refuse("userfaultfd", 323, 374, 282),
    refuse("nfsservctl", 180, 169, 42),
    refuse("sysfs", 139, 135, NO),
    refuse("uselib", 134, 86, NO),
    refuse("ustat", 136, 62, NO),
    refuse("_sysctl", 156, 149, NO),
    refuse("vm86", NO, 166, NO),
    refuse("vm86old", NO, 113, NO),
    // What could leave or rearrange the container.
    needs(ADMIN, "fanotify_init", 300, 338, 262),
    needs(ADMIN, "fsconfig", 431, 431, 431),
    needs(ADMIN, "fsmount", 432, 432, 432),
    needs(ADMIN, "fsopen", 430, 430, 430),
    needs(ADMIN, "fspick", 433, 433, 433),
    needs(ADMIN, "lookup_dcookie", 212, 253, 18),
    needs(ADMIN, "mount", 165, 21, 40),
    needs(ADMIN, "mount_setattr", 442, 442, 442),
    needs(ADMIN, "move_mount", 429, 429, 429),
    needs(ADMIN, "open_tree", 428, 428, 428),
    needs(ADMIN, "open_tree_attr", 467, 467, 467),
    needs(ADMIN, "pivot_root", 155, 217, 41),
    needs(ADMIN, "quotactl", 179, 131, 60),
    needs(ADMIN, "quotactl_fd", 443, 443, 443),
    needs(ADMIN, "setdomainname", 171, 121, 162),
    needs(ADMIN, "sethostname", 170, 74, 161),
    needs(ADMIN, "setns", 308, 346, 268),
    needs(ADMIN, "umount", NO, 22, NO),
    needs(ADMIN, "umount2", 166, 52, 39),
    needs(ADMIN, "unshare", 272, 310, 97),
    needs(ADMIN | BPF, "bpf", 321, 357, 280),
    needs(ADMIN | PERFMON, "perf_event_open", 298, 336, 241),
    needs(ADMIN | SYSLOG, "syslog", 103, 103, 116),
    needs(BOOT, "reboot", 169, 88, 142),
    needs(CHROOT, "chroot", 161, 61, 51),
    needs(MODULE, "delete_module", 176, 129, 106),
    needs(MODULE, "finit_module", 313, 350, 273),
    needs(MODULE, "init_module", 175, 128, 105),
    needs(PACCT, "acct", 163, 51, 89),
    needs(PTRACE, "kcmp", 312, 349, 272),
    needs(PTRACE, "pidfd_getfd", 438, 438, 438),
    needs(PTRACE, "process_madvise", 440, 440, 440),
    needs(RAWIO, "ioperm", 173, 101, NO),
    needs(RAWIO, "iopl", 172, 110, NO),
    needs(TIME, "clock_settime", 227, 264, 112),
    needs(TIME, "clock_settime64", NO, 404, NO),
    needs(TIME, "settimeofday", 164, 79, 170),
    needs(TIME, "stime", NO, 25, NO),
    needs(TTY, "vhangup", 153, 111, 58),
    needs(NICE, "get_mempolicy", 239, 275, 236),
    needs(NICE, "mbind", 237, 274, 235),
    needs(NICE, "migrate_pages", 256, 294, 238),
    needs(NICE, "move_pages", 279, 317, 239),
    needs(NICE, "set_mempolicy", 238, 276, 237),
    needs(NICE, "set_mempolicy_home_node", 450, 450, 450),
    needs(DAC_READ_SEARCH, "open_by_handle_at", 304, 342, 265),
    // The arguments decide.
    inspect(Rule::Clone, "clone", 56, 120, 220),
    inspect(Rule::Clone3, "clone3", 435, 435, 435),
    inspect(Rule::Socket, "socket", 41, 359, 198),
    inspect(Rule::Socketcall, "socketcall", NO, 102, NO),
    inspect(Rule::Personality, "personality", 135, 136, 92),
    inspect(Rule::Ioctl, "ioctl", 16, 54, 29),
];
