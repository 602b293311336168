//! What a program in a container may not do, and who it is.

use std::os::fd::AsRawFd;

use rocker_runtime::cgroup::{DeviceAccess, DeviceKind, DeviceRule, DeviceRules};
use rocker_runtime::{DeviceNode, ExitStatus, NetworkNamespace, RlimitSpec, SecuritySpec};
use rocker_types::{CapabilitySet, Ulimit, UlimitKind};

use crate::harness::tests;
use crate::sandbox::{Failure, Sandbox, chain};

tests!(
    capabilities_of_root_and_others_are_exact,
    added_capabilities_are_kept_by_other_users,
    file_capabilities_give_nothing_more,
    no_new_privileges_is_set_and_readable,
    a_seccomp_filter_is_on,
    users_and_groups_come_from_the_image,
    masked_paths_read_as_empty,
    read_only_paths_cannot_be_written,
    no_descriptor_of_the_host_leaks,
    namespaces_are_its_own,
    cgroups_are_its_own_and_cannot_be_written,
    limits_are_set,
    default_limits_give_way_to_the_hosts,
    settings_are_the_containers_own,
    settings_of_the_host_are_refused,
    a_privileged_container_is_not_confined,
    a_named_device_is_made,
    the_session_keyring_is_new,
    the_umask_and_oom_score_are_set,
    mounting_and_namespaces_are_denied,
);

fn cap_lines(output: &str) -> Vec<&str> {
    output
        .lines()
        .map(|line| line.split_once('\t').unwrap().1)
        .collect()
}

fn capabilities_of_root_and_others_are_exact() {
    let sandbox = Sandbox::new();
    let all = "00000000800405fb";
    let none = "0000000000000000";
    for (user, want) in [
        ("", [none, all, all, all, none]),
        ("1000", [none, none, none, all, none]),
        ("me", [none, none, none, all, none]),
    ] {
        let mut spec = sandbox.spec(&["grep", "^Cap", "/proc/self/status"]);
        spec.process.user = user.parse().unwrap();
        assert_eq!(cap_lines(&sandbox.run(&spec).stdout), want, "user {user:?}");
    }
    let mut spec = sandbox.spec(&["grep", "^Cap", "/proc/self/status"]);
    spec.process.capabilities = CapabilitySet::EMPTY;
    assert_eq!(cap_lines(&sandbox.run(&spec).stdout), [none; 5]);
}

fn added_capabilities_are_kept_by_other_users() {
    let sandbox = Sandbox::new();
    let bind = CapabilitySet::EMPTY.with("NET_BIND_SERVICE".parse().unwrap());
    let mut spec = sandbox.spec(&["grep", "^Cap", "/proc/self/status"]);
    spec.process.user = "1000".parse().unwrap();
    spec.process.ambient_capabilities = bind;
    let one = "0000000000000400";
    let all = "00000000800405fb";
    assert_eq!(
        cap_lines(&sandbox.run(&spec).stdout),
        [one, one, one, all, one]
    );
}

fn file_capabilities_give_nothing_more() {
    let sandbox = Sandbox::new();
    fs_err::copy("/bin/busybox", sandbox.image("bin/raw")).unwrap();
    // VFS_CAP_REVISION_2 with the effective bit, net_raw (13) permitted and inheritable.
    let mut value = vec![1, 0, 0, 2];
    value.extend((1_u32 << 13).to_le_bytes());
    value.extend((1_u32 << 13).to_le_bytes());
    value.extend([0; 8]);
    let flags = rustix::fs::XattrFlags::empty();
    rustix::fs::setxattr(
        sandbox.image("bin/raw"),
        "security.capability",
        &value,
        flags,
    )
    .unwrap();
    let mut spec = sandbox.spec(&["raw", "grep", "^CapEff", "/proc/self/status"]);
    spec.process.user = "1000".parse().unwrap();

    // The effective bit with a capability outside of the bounding set: execve says EPERM.
    let failure = sandbox.refusal(&spec);

    assert!(
        chain(&failure).contains("Operation not permitted"),
        "{failure}"
    );
}

fn no_new_privileges_is_set_and_readable() {
    let sandbox = Sandbox::new();
    for (wanted, text) in [(true, "NoNewPrivs:\t1\n"), (false, "NoNewPrivs:\t0\n")] {
        let mut spec = sandbox.spec(&["grep", "NoNewPrivs", "/proc/self/status"]);
        spec.process.no_new_privileges = wanted;
        spec.process.user = "1000".parse().unwrap();
        assert_eq!(sandbox.run(&spec).stdout, text);
    }
}

fn a_seccomp_filter_is_on() {
    let sandbox = Sandbox::new();
    let output = sandbox.sh("grep ^Seccomp: /proc/self/status; unshare -U true || echo denied");
    assert_eq!(output.stdout, "Seccomp:\t2\ndenied\n");
}

fn users_and_groups_come_from_the_image() {
    let sandbox = Sandbox::new();
    for (user, extra, want) in [
        ("", &[][..], "0 0 0 10 /root"),
        ("me", &[][..], "1000 1000 1000 2000 /home/me"),
        ("1000:10", &["7"][..], "1000 10 10 7 /home/me"),
        ("4242", &["extra"][..], "4242 0 0 2000 /"),
    ] {
        let mut spec = sandbox.spec(&["sh", "-c", "echo $(id -u) $(id -g) $(id -G) $HOME"]);
        spec.process.user = user.parse().unwrap();
        spec.process.extra_groups = extra.iter().map(|group| (*group).to_owned()).collect();
        assert_eq!(sandbox.run(&spec).stdout.trim(), want, "user {user:?}");
    }
    let mut spec = sandbox.spec(&["id"]);
    spec.process.user = "nobody-here".parse().unwrap();
    let failure = sandbox.refusal(&spec);
    let want = "no such user in the container's /etc/passwd: nobody-here";
    assert_eq!(failure.to_string(), want);
}

fn masked_paths_read_as_empty() {
    let sandbox = Sandbox::new();
    let paths = rocker_runtime::MASKED_PATHS.join(" ");
    let script = format!(
        "for p in {paths}; do if [ -d $p ]; then n=$(ls -A $p | wc -l); \
         else n=$(cat $p 2>/dev/null | wc -c); fi; [ $n = 0 ] || echo $p shows $n; \
         [ -d $p ] && touch $p/x 2>/dev/null && echo $p takes files; done; echo done"
    );
    assert_eq!(sandbox.sh(&script).stdout, "done\n");
}

fn read_only_paths_cannot_be_written() {
    let sandbox = Sandbox::new();
    let output = sandbox.sh(
        "for p in /proc/sys/kernel/shmmax /sys/kernel/profiling; do \
         echo 1 > $p; done; mkdir /sys/fs/cgroup/x /proc/bus/x; awk '{print $5, $6}' \
         /proc/self/mountinfo | grep -E '^/(sys|proc/(sys|bus|fs|irq|sysrq-trigger)) ' | \
         grep -v -E ' ro,' ; echo end",
    );
    assert_eq!(output.stdout, "end\n", "{}", output.stderr);
    assert_eq!(
        output.stderr.matches("Read-only file system").count(),
        3,
        "{}",
        output.stderr
    );
}

fn no_descriptor_of_the_host_leaks() {
    let sandbox = Sandbox::new();
    // Inherited without close-on-exec, as by a careless caller; one of them is the host's /.
    let root = rustix::fs::open("/", rustix::fs::OFlags::PATH, rustix::fs::Mode::empty()).unwrap();
    let many: Vec<_> = (0..40).map(|_| rustix::io::dup(&root).unwrap()).collect();
    assert!(many.iter().all(|fd| fd.as_raw_fd() > 2));
    for init in [false, true] {
        let mut spec = sandbox.spec(&["sh", "-c", "ls /proc/$$/fd; :"]);
        spec.process.init = init;
        let output = sandbox.run(&spec);
        assert_eq!(output.stdout, "0\n1\n2\n", "init {init}: {output:?}");
    }
    // rocker's own pid 1, once it has let go of its socket; not dumpable, it shows nothing.
    let wait = "while ls /proc/1/fd | grep -q '[3-9]'; do :; done; echo none";
    let mut spec = sandbox.spec(&["sh", "-c", wait]);
    spec.process.init = true;
    assert_eq!(sandbox.run(&spec).stdout, "none\n");
}

fn namespaces_are_its_own() {
    let sandbox = Sandbox::new();
    let kinds = ["cgroup", "ipc", "mnt", "net", "pid", "uts"];
    let script = format!(
        "cd /proc/self/ns; for n in {}; do readlink $n; done",
        kinds.join(" ")
    );
    let output = sandbox.sh(&script);
    assert_eq!(output.stdout.lines().count(), kinds.len());
    for (kind, inside) in kinds.iter().zip(output.stdout.lines()) {
        let host = fs_err::read_link(format!("/proc/self/ns/{kind}")).unwrap();
        assert_ne!(host.to_str().unwrap(), inside, "{kind}");
    }
    let mut spec = sandbox.spec(&["readlink", "/proc/self/ns/net"]);
    spec.network = NetworkNamespace::Host;
    let host = fs_err::read_link("/proc/self/ns/net").unwrap();
    assert_eq!(sandbox.run(&spec).stdout.trim(), host.to_str().unwrap());
    let pids = sandbox.sh("echo $$; exec ls -d /proc/[0-9]*");
    assert_eq!(pids.stdout, "1\n/proc/1\n");
}

fn cgroups_are_its_own_and_cannot_be_written() {
    let sandbox = Sandbox::new();
    let mut spec = sandbox.spec(&[
        "sh",
        "-c",
        "cut -d: -f3 /proc/self/cgroup | sort -u; mkdir $(find /sys/fs/cgroup -type d) 2>&1 | \
         grep -v 'File exists'; for f in $(find /sys/fs/cgroup -name cgroup.procs -o -name release_agent); \
         do echo 0 > $f; done 2>&1 | grep -v Read-only; find /sys/fs/cgroup -name '*pids.max' | wc -l",
    ]);
    spec.cgroup.limits.pids = Some(50);
    let output = sandbox.run(&spec);
    let lines: Vec<&str> = output.stdout.lines().collect();
    // Hierarchies in which it has no cgroup of its own show the root or what lies above.
    assert!(lines.contains(&"/"), "{output:?}");
    assert_eq!(lines.last(), Some(&"1"), "{output:?}");
    assert!(!output.stdout.contains(sandbox.id.as_str()), "{output:?}");
}

fn limits_are_set() {
    let sandbox = Sandbox::new();
    let mut spec = sandbox.spec(&["sh", "-c", "ulimit -Sn; ulimit -Hn; ulimit -c"]);
    let limit = |kind, soft, hard| RlimitSpec::Exactly(Ulimit { kind, soft, hard });
    spec.process.rlimits = vec![
        limit(UlimitKind::Nofile, 100, 200),
        limit(UlimitKind::Core, 0, 0),
    ];
    assert_eq!(sandbox.run(&spec).stdout, "100\n200\n0\n");
}

fn default_limits_give_way_to_the_hosts() {
    let sandbox = Sandbox::new();
    let ulimit = Ulimit {
        kind: UlimitKind::Nofile,
        soft: 1024,
        hard: u64::MAX - 1,
    };
    let mut spec = sandbox.spec(&["sh", "-c", "ulimit -Sn; ulimit -Hn"]);
    spec.process.rlimits = vec![RlimitSpec::Default(ulimit)];
    let hard = rustix::process::getrlimit(rustix::process::Resource::Nofile)
        .maximum
        .unwrap();
    assert_eq!(
        sandbox.run(&spec).stdout,
        format!("{}\n{hard}\n", hard.min(1024))
    );

    spec = sandbox.spec(&["true"]);
    spec.process.rlimits = vec![RlimitSpec::Exactly(ulimit)];
    assert_eq!(
        sandbox.refusal(&spec).to_string(),
        "cannot set resource limit nofile"
    );
}

fn settings_are_the_containers_own() {
    let sandbox = Sandbox::new();
    let before = fs_err::read_to_string("/proc/sys/kernel/shmmni").unwrap();
    let mut spec = sandbox.spec(&[
        "cat",
        "/proc/sys/kernel/shmmni",
        "/proc/sys/net/ipv4/ip_unprivileged_port_start",
        "/proc/sys/net/ipv4/conf/lo/forwarding",
    ]);
    let own = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    spec.sysctls = vec![
        own("kernel.shmmni", "123"),
        own("net.ipv4.ip_unprivileged_port_start", "0"),
        own("net.ipv4.conf.lo.forwarding", "1"),
    ];
    assert_eq!(sandbox.run(&spec).stdout, "123\n0\n1\n");
    assert_eq!(
        fs_err::read_to_string("/proc/sys/kernel/shmmni").unwrap(),
        before
    );
}

fn settings_of_the_host_are_refused() {
    let sandbox = Sandbox::new();
    for (name, value) in [
        ("kernel.core_pattern", "x"),
        ("kernel.shm_rmid_forced", "1+kernel.core_pattern=x"),
        ("net.ipv4.ip_forward", "1\nx"),
    ] {
        let mut spec = sandbox.spec(&["true"]);
        spec.sysctls = vec![(name.to_owned(), value.to_owned())];
        let failure = sandbox.refusal(&spec);
        assert!(matches!(failure, Failure::Create(_)), "{failure:?}");
        assert!(chain(&failure).contains(name), "{failure:?}");
    }
}

fn a_privileged_container_is_not_confined() {
    let sandbox = Sandbox::new();
    let mut spec = sandbox.spec(&[
        "sh",
        "-c",
        "grep ^CapEff /proc/self/status; grep ^Seccomp: /proc/self/status; \
         mount -t tmpfs none /tmp && echo mounted; [ -e /dev/loop-control ] && echo devices",
    ]);
    spec.security = SecuritySpec::privileged(
        rocker_runtime::seccomp::SeccompPolicy::Unconfined,
        rocker_runtime::host_devices().unwrap(),
    );
    spec.cgroup.devices = DeviceRules::Unrestricted;
    spec.process.capabilities = CapabilitySet::ALL;
    let output = sandbox.run(&spec);
    let own = fs_err::read_to_string("/proc/self/status").unwrap();
    let own = own
        .lines()
        .find(|line| line.starts_with("CapEff"))
        .unwrap()
        .to_owned();
    let mut want = format!("{own}\nSeccomp:\t0\nmounted\n");
    if std::path::Path::new("/dev/loop-control").exists() {
        want.push_str("devices\n");
    }
    assert_eq!(output.stdout, want, "{output:?}");
}

fn a_named_device_is_made() {
    let sandbox = Sandbox::new();
    let mut spec = sandbox.spec(&[
        "sh",
        "-c",
        "stat -c '%t %T %a %u' /dev/x/mine; cat /dev/x/mine",
    ]);
    spec.security.devices = vec![DeviceNode {
        path: "/dev/x/mine".into(),
        kind: DeviceKind::Char,
        major: 1,
        minor: 3,
        mode: 0o600,
        owner: (0, 7),
    }];
    spec.cgroup.devices = spec.cgroup.devices.clone().allowing(DeviceRule {
        kind: DeviceKind::Char,
        major: Some(1),
        minor: Some(3),
        access: DeviceAccess::ALL,
    });
    assert_eq!(sandbox.run(&spec).stdout, "1 3 600 0\n");
    let mut spec = sandbox.spec(&["true"]);
    spec.security.devices = vec![DeviceNode {
        path: "/etc/mine".into(),
        kind: DeviceKind::Char,
        major: 1,
        minor: 3,
        mode: 0o600,
        owner: (0, 0),
    }];
    assert!(matches!(sandbox.refusal(&spec), Failure::Create(_)));
}

fn the_session_keyring_is_new() {
    let sandbox = Sandbox::new();
    let mut spec = sandbox.spec(&["cat", "/proc/keys"]);
    spec.security.masked_paths.clear();
    rocker_sys::process::join_new_session_keyring().unwrap();
    let ours = fs_err::read_to_string("/proc/keys").unwrap();
    let serial = |text: &str| {
        text.lines()
            .filter(|line| line.contains("_ses"))
            .map(|line| line.split(' ').next().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    // Root may look at keyrings of its own uid that it does not possess; what counts is that
    // the container has one that is not ours.
    let inside = serial(&sandbox.run(&spec).stdout);
    let ours = serial(&ours);
    assert!(
        inside.iter().any(|own| !ours.contains(own)),
        "{ours:?} {inside:?}"
    );
}

fn the_umask_and_oom_score_are_set() {
    let sandbox = Sandbox::new();
    let mut spec = sandbox.spec(&["sh", "-c", "umask; cat /proc/self/oom_score_adj"]);
    spec.process.umask = 0o027;
    spec.process.oom_score_adj = Some(321);
    assert_eq!(sandbox.run(&spec).stdout, "0027\n321\n");
}

fn mounting_and_namespaces_are_denied() {
    let sandbox = Sandbox::new();
    let output = sandbox.sh(
        "mount -t tmpfs none /tmp; mount -o remount,rw /sys; mount -t cgroup -o memory none /tmp; \
         umount /proc/kcore; mknod /tmp/d c 1 3; unshare -m true; chroot / true && echo chroot",
    );
    assert_eq!(output.status, ExitStatus::Code(0), "{output:?}");
    assert_eq!(output.stdout, "chroot\n");
    assert!(output.stderr.lines().count() >= 6, "{output:?}");
}
