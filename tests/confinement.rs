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

#[test]
fn forbidden_acts_fail() {
    let host = require!(host());
    let image = host.busybox();

    for act in [
        "mknod /tmp/sda b 8 0",
        "mount -t tmpfs none /mnt",
        "mkdir /m && mount -t tmpfs none /m",
        "hostname evil",
        "echo 1 >/proc/sys/kernel/sysrq",
        "echo x >/proc/sysrq-trigger",
        "echo core >/proc/sys/kernel/core_pattern",
        "echo 1 >/sys/kernel/mm/ksm/run",
        "unshare -U true",
        "unshare -m true",
        "nsenter -t 1 -m -n -p true </proc/1/ns/mnt && unshare -n true",
        "chroot / dmesg | grep . && false || swapoff -a",
        "echo 0 >/sys/fs/cgroup/cgroup.procs",
        "date -s 2001-01-01; [ $(date +%Y) = 2001 ]",
        "cat /proc/kcore | head -c 1 | grep -q .",
        "cat /proc/keys | grep -q .",
        "ls /sys/firmware | grep -q .",
        ": >/proc/1/exe",
    ] {
        let output = host.rocker(shell(&[], &image, act));
        assert_ne!(output.exit_code, 0, "{act} was allowed: {output:?}");
    }
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

    assert!(
        !mounts.contains(&*host.root().to_string_lossy()),
        "{mounts}"
    );
    assert!(
        cgroups.lines().all(|line| line.ends_with(":/")),
        "{cgroups}"
    );
    host.assert_nothing_left_behind();
}
