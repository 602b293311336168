//! What a container cannot do, from the first one on.

use std::os::fd::AsRawFd as _;

use rocker_testkit::require;

use crate::{host, shell};

#[test]
fn capabilities_seccomp_and_descriptors_are_those_of_the_default_posture() {
    let host = require!(host());
    let image = host.busybox();

    for (flags, expected) in [
        (&[][..], "00000000800405fb"),
        (&["--cap-drop", "ALL"], "0000000000000000"),
        (&["--cap-add", "NET_ADMIN"], "00000000800415fb"),
        (
            &["--cap-drop", "ALL", "--cap-add", "CAP_CHOWN"],
            "0000000000000001",
        ),
    ] {
        let script = "for set in Inh Prm Eff Bnd Amb; do grep Cap$set /proc/self/status | cut -f2; done; grep Seccomp: /proc/self/status | cut -f2";
        let output = host.rocker(shell(flags, &image, script));
        let none = "0000000000000000";
        assert_eq!(
            output.stdout.lines().collect::<Vec<_>>(),
            [none, expected, expected, expected, none, "2"],
            "{output:?}"
        );
    }
    host.assert_nothing_left_behind();
}

#[test]
fn no_descriptor_of_the_host_reaches_the_program() {
    let host = require!(host());
    let image = host.busybox();
    let root = std::fs::File::options()
        .read(true)
        .open("/")
        .expect("the root directory");
    // Without close-on-exec, so that rocker itself inherits it.
    let inherited = rustix::io::fcntl_dupfd_cloexec(&root, 40).expect("a copy of the descriptor");
    rustix::io::fcntl_setfd(&inherited, rustix::io::FdFlags::empty())
        .expect("an inheritable descriptor");

    let listed = host.ok(shell(&[], &image, "ls /proc/self/fd"));
    let through = host.rocker([
        "run",
        "--rm",
        "-w",
        &format!("/proc/self/fd/{}", inherited.as_raw_fd()),
        &image,
        "pwd",
    ]);

    assert_eq!(
        listed.split_whitespace().collect::<Vec<_>>(),
        ["0", "1", "2", "3"],
        "3 is the directory itself"
    );
    assert_ne!(through.exit_code, 0, "{through:?}");
    host.assert_nothing_left_behind();
}

#[test]
fn every_namespace_is_its_own() {
    let host = require!(host());
    let image = host.busybox();
    let namespaces = ["cgroup", "ipc", "mnt", "net", "pid", "uts"];
    let of_host = |name: &str| {
        let link = fs_err::read_link(format!("/proc/thread-self/ns/{name}")).expect("a namespace");
        link.to_string_lossy().into_owned()
    };

    let inside = host.ok(shell(
        &[],
        &image,
        "for ns in cgroup ipc mnt net pid uts; do readlink /proc/self/ns/$ns; done",
    ));

    for (name, link) in namespaces.iter().zip(inside.lines()) {
        assert_ne!(link, of_host(name), "{name}");
    }
    assert_eq!(inside.lines().count(), namespaces.len());
    host.assert_nothing_left_behind();
}

/// What a container may not do, and the kernel's word for it: without the word the program may only
/// have been missing, or the place.
const FORBIDDEN: &[(&str, &str)] = &[
    ("mknod /tmp/sda b 8 0", "Operation not permitted"),
    ("mkdir /m && mount -t tmpfs none /m", "permission denied"),
    ("hostname evil", "Operation not permitted"),
    ("unshare -U true", "Operation not permitted"),
    ("unshare -m true", "Operation not permitted"),
    ("unshare -n true", "Operation not permitted"),
    ("nsenter -t 1 -m true", "Operation not permitted"),
    (
        "dd if=/dev/zero of=/swap bs=4k count=10 && mkswap /swap && swapon /swap",
        "Operation not permitted",
    ),
    (
        "date -s 2001-01-01; [ $(date +%Y) = 2001 ]",
        "Operation not permitted",
    ),
];

#[test]
fn forbidden_acts_fail() {
    let host = require!(host());
    let image = host.busybox();

    for (act, word) in FORBIDDEN {
        let output = host.rocker(shell(&[], &image, act));
        assert!(
            ![0, 125, 126, 127].contains(&output.exit_code),
            "{act}: {output:?}"
        );
        let said = output.stderr.to_lowercase();
        assert!(said.contains(&word.to_lowercase()), "{act}: {output:?}");
        let clumsy = ["not found", "no such file", "invalid", "usage:"];
        assert!(
            !clumsy.iter().any(|clumsy| said.contains(clumsy)),
            "{act} was not even tried: {output:?}"
        );
    }
    host.assert_nothing_left_behind();
}

/// Switches of the whole machine, and places that tell about it; kernels have some of them.
const SWITCHES: [&str; 6] = [
    "/proc/sys/kernel/core_pattern",
    "/proc/sys/kernel/sysrq",
    "/proc/sys/vm/drop_caches",
    "/proc/sysrq-trigger",
    "/sys/kernel/mm/ksm/run",
    "/sys/kernel/uevent_helper",
];
const SECRETS: [&str; 6] = [
    "/proc/kcore",
    "/proc/keys",
    "/proc/timer_list",
    "/proc/sched_debug",
    "/proc/interrupts",
    "/sys/firmware",
];

/// Those that this machine has.
fn there(paths: &[&'static str]) -> Vec<&'static str> {
    let there = |path: &&&str| fs_err::symlink_metadata(path).is_ok();
    paths.iter().filter(there).copied().collect()
}

#[test]
fn the_machines_switches_cannot_be_moved_and_its_secrets_are_hidden() {
    let host = require!(host());
    let image = host.busybox();
    let (switches, secrets) = (there(&SWITCHES), there(&SECRETS));
    assert!(switches.contains(&"/proc/sys/kernel/core_pattern"));
    assert!(secrets.contains(&"/proc/interrupts"));

    for switch in switches {
        // With a value of its own, should it be taken after all.
        let output = host.rocker(shell(
            &[],
            &image,
            &format!("cat {switch} >/v 2>/dev/null; cat /v >{switch}"),
        ));
        assert_eq!(output.exit_code, 1, "{output:?}");
        assert!(
            output.stderr.contains("Read-only file system"),
            "{output:?}"
        );
    }
    for secret in secrets {
        let script =
            format!("ls -d {secret} && cat {secret}/* {secret} 2>/dev/null | head -c 1 | wc -c");
        let output = host.rocker(shell(&[], &image, &script));
        assert_eq!(output.stdout, format!("{secret}\n0\n"), "{output:?}");
    }
    host.assert_nothing_left_behind();
}

#[test]
fn a_program_cannot_leave_its_cgroup() {
    let host = require!(host());
    let image = host.busybox();

    // The files that are there are those of its own group, and cannot be written.
    let script = "found=0; for f in $(find /sys/fs/cgroup -name cgroup.procs); do \
                  found=1; echo 0 >$f && echo moved; done; [ $found = 1 ]";
    let output = host.rocker(shell(&[], &image, script));

    assert_eq!(
        (output.exit_code, output.stdout.as_str()),
        (0, ""),
        "{output:?}"
    );
    assert!(
        output.stderr.contains("Read-only file system"),
        "{output:?}"
    );
    host.assert_nothing_left_behind();
}

#[test]
fn the_devices_are_the_harmless_ones() {
    let host = require!(host());
    let image = host.busybox();

    let nodes = host.ok(shell(
        &[],
        &image,
        "cd /dev; find . -type c -o -type b | sort",
    ));
    let reads = host.ok(shell(&[], &image, "head -c 4 /dev/zero | wc -c; head -c 4 /dev/urandom | wc -c; echo x >/dev/null; cat /dev/null | wc -c; readlink /dev/fd"));

    let expected = [
        "./full",
        "./null",
        "./ptmx",
        "./pts/ptmx",
        "./random",
        "./tty",
        "./urandom",
        "./zero",
    ];
    for node in nodes.lines() {
        assert!(expected.contains(&node), "{node} in {nodes}");
    }
    for node in [
        "./full",
        "./null",
        "./random",
        "./tty",
        "./urandom",
        "./zero",
    ] {
        assert!(
            nodes.lines().any(|line| line == node),
            "{node} not in {nodes}"
        );
    }
    assert_eq!(reads, "4\n4\n0\n/proc/self/fd");
    host.assert_nothing_left_behind();
}

#[test]
fn privileged_has_all_capabilities_and_devices_but_its_own_namespaces() {
    let host = require!(host());
    let image = host.busybox();
    let last: u32 = fs_err::read_to_string("/proc/sys/kernel/cap_last_cap")
        .expect("a kernel")
        .trim()
        .parse()
        .expect("a number");

    let inside = host.ok(shell(&["--privileged"], &image, "grep CapEff /proc/self/status | cut -f2; mount -t tmpfs none /mnt 2>/dev/null || { mkdir -p /m && mount -t tmpfs none /m; } && echo mounted; echo $$"));

    let lines: Vec<_> = inside.lines().collect();
    let effective = u64::from_str_radix(lines[0], 16).expect("a mask");
    // Machines exist whose root lacks a capability; none may be lacking beyond that.
    let ours = fs_err::read_to_string("/proc/self/status").expect("a status");
    let bounding = ours
        .lines()
        .find_map(|line| line.strip_prefix("CapBnd:\t"))
        .expect("a bounding set");
    let bounding = u64::from_str_radix(bounding, 16).expect("a mask");
    assert_eq!(effective, bounding & ((1 << (last + 1)) - 1), "{inside}");
    assert_eq!(&lines[1..], ["mounted", "1"]);
    host.assert_nothing_left_behind();
}

#[test]
fn the_hosts_paths_do_not_show_inside() {
    let host = require!(host());
    let image = host.busybox();

    let mounts = host.ok(shell(&[], &image, "cat /proc/self/mountinfo"));
    let cgroups = host.ok(shell(&[], &image, "cat /proc/self/cgroup"));

    // What lies on the host's disk and is mounted alone shows where: only the three files that
    // every container has are so, as in docker.
    let of_all = ["/etc/hostname", "/etc/hosts", "/etc/resolv.conf"];
    let root = host.root().to_string_lossy().into_owned();
    for mount in mounts.lines().filter(|line| line.contains(&root)) {
        let point = mount.split(' ').nth(4).unwrap_or_default();
        assert!(of_all.contains(&point), "{mounts}");
    }
    assert!(
        cgroups.lines().all(|line| line.ends_with(":/")),
        "{cgroups}"
    );
    host.assert_nothing_left_behind();
}
