//! Cgroups of real processes, on whatever hierarchies this host has mounted.
//!
//! Each test works below a directory of its own, `rocker-test-<pid>-<test>`, and leaves nothing.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, and so does what it calls"
)]

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rocker_runtime::cgroup::{
    Cgroup, CgroupError, CgroupLayout, CgroupName, CgroupRemoveError, DeviceRules, LayoutKind,
    Limits, MemorySwap, plan,
};
use rocker_types::{CpuQuota, Diagnose as _, ErrorKind};

/// Says why a test cannot run here; a failure where skipping is not allowed.
macro_rules! skip {
    ($($why:tt)*) => {{
        let why = format!($($why)*);
        assert!(std::env::var_os("ROCKER_TEST_STRICT").is_none(), "cannot run: {why}");
        eprintln!("skipped: {why}");
        return;
    }};
}

macro_rules! require_root {
    () => {
        if !nix::unistd::geteuid().is_root() {
            skip!("cgroups need root");
        }
    };
}

fn layout() -> CgroupLayout {
    CgroupLayout::detect().unwrap()
}

/// This host as if only some of its mounts were there.
fn layout_without(hidden: &[&str]) -> Option<CgroupLayout> {
    let mountinfo = fs_err::read_to_string("/proc/self/mountinfo").unwrap();
    let keep = |line: &&str| !hidden.iter().any(|text| line.contains(text));
    let kept: Vec<&str> = mountinfo.lines().filter(keep).collect();
    let own = fs_err::read_to_string("/proc/self/cgroup").unwrap();
    CgroupLayout::parse(&kept.join("\n"), &own).ok()
}

/// Every way in which this host can find all processes of a container.
fn tracking_layouts() -> Vec<CgroupLayout> {
    let v1_freezer = layout_without(&[" - cgroup2 "]);
    let v1_pids = layout_without(&[" - cgroup2 ", "rw,freezer"]);
    [Some(layout()), v1_freezer, v1_pids]
        .into_iter()
        .flatten()
        .collect()
}

fn parent_name(test: &str) -> String {
    format!("rocker-test-{}-{test}", std::process::id())
}

fn name(test: &str) -> CgroupName {
    CgroupName::in_parent(&parent_name(test), "c").unwrap()
}

/// The directories named `name` in all hierarchies that exist.
fn leftovers(test: &str) -> Vec<PathBuf> {
    let mountinfo = fs_err::read_to_string("/proc/self/mountinfo").unwrap();
    let mounts = mountinfo.lines().filter(|line| line.contains(" - cgroup"));
    let points = mounts.map(|line| PathBuf::from(line.split(' ').nth(4).unwrap()));
    let below = points.map(|point| point.join(parent_name(test)));
    below.filter(|path| path.exists()).collect()
}

/// A cgroup that is killed and removed however its test ends.
struct Own(Cgroup);

impl Own {
    fn create(layout: &CgroupLayout, test: &str, limits: &Limits, devices: &DeviceRules) -> Self {
        let plan = plan(layout, &name(test), limits, devices).unwrap();
        Self(Cgroup::create(&plan).unwrap())
    }

    fn unrestricted(test: &str, limits: &Limits) -> Self {
        Self::create(&layout(), test, limits, &DeviceRules::Unrestricted)
    }

    /// What the kernel says in the first of the files that exists.
    fn read(&self, files: &[&str]) -> String {
        let paths = self
            .0
            .directories()
            .flat_map(|d| files.iter().map(move |f| d.join(f)));
        let path = paths.into_iter().find(|path| path.exists()).unwrap();
        fs_err::read_to_string(path).unwrap().trim().to_owned()
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let _ = self.0.thaw();
        let _ = self.0.kill_all();
        let _ = self.0.remove();
    }
}

/// A shell that waits for one line before it does anything, and is in `cgroup` by then.
struct Shell(Child);

impl Shell {
    fn in_cgroup(cgroup: &Cgroup, script: &str) -> Self {
        let child = Command::new("/bin/sh")
            .args(["-c", &format!("read gate; {script}")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        for directory in cgroup.directories() {
            let mut file = fs_err::OpenOptions::new()
                .write(true)
                .open(directory.join("cgroup.procs"))
                .unwrap();
            file.write_all(child.id().to_string().as_bytes()).unwrap();
        }
        Self(child)
    }

    fn open_gate(&mut self) {
        self.0.stdin.as_mut().unwrap().write_all(b"go\n").unwrap();
    }

    fn read_line(&mut self) -> String {
        let mut line = String::new();
        let mut output = BufReader::new(self.0.stdout.as_mut().unwrap());
        output.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    /// Lets it run to its end; its standard error is the text.
    fn finish(mut self) -> (ExitStatus, String) {
        self.open_gate();
        let output = self.0.wait_with_output().unwrap();
        (
            output.status,
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    }
}

#[test]
fn a_program_beyond_its_memory_limit_is_killed_and_counted() {
    require_root!();
    let limits = Limits {
        memory_bytes: Some(16 << 20),
        memory_swap: Some(MemorySwap::TotalBytes(16 << 20)),
        ..Limits::default()
    };
    let own = Own::unrestricted("memory", &limits);
    assert_eq!(own.0.oom_kills().unwrap(), 0);
    assert_eq!(own.0.stats().unwrap().memory_limit_bytes, Some(16 << 20));

    let (status, _) = Shell::in_cgroup(&own.0, "exec tail /dev/zero").finish();

    assert_eq!(status.signal(), Some(9), "{status:?}");
    assert!(own.0.oom_kills().unwrap() >= 1);
}

#[test]
fn no_more_processes_than_the_limit() {
    require_root!();
    let limits = Limits {
        pids: Some(5),
        ..Limits::default()
    };
    let own = Own::unrestricted("pids", &limits);
    let script = "for i in 1 2 3 4 5 6 7 8 9; do sleep 1000 >/dev/null 2>&1 & done; wait";

    let (status, stderr) = Shell::in_cgroup(&own.0, script).finish();

    assert!(
        !status.success() && stderr.contains("fork"),
        "{status:?} {stderr}"
    );
    let stats = own.0.stats().unwrap();
    assert_eq!(stats.pids_limit, Some(5));
    assert!((1..=5).contains(&stats.pids), "{stats:?}");
    assert_eq!(
        own.0.pids().unwrap().len(),
        4,
        "the shell is gone, the rest sleeps"
    );
}

#[test]
fn limits_read_back_from_the_kernel() {
    require_root!();
    let limits = Limits {
        memory_bytes: Some(64 << 20),
        memory_reservation_bytes: Some(32 << 20),
        cpu: Some(CpuQuota {
            quota_us: 50_000,
            period_us: 100_000,
        }),
        cpu_shares: Some(512),
        cpuset_cpus: Some("0".to_owned()),
        ..Limits::default()
    };
    let own = Own::unrestricted("readback", &limits);

    let memory = own.read(&["memory.max", "memory.limit_in_bytes"]);
    assert_eq!(memory, (64 << 20).to_string());
    let reserved = own.read(&["memory.low", "memory.soft_limit_in_bytes"]);
    assert_eq!(reserved, (32 << 20).to_string());
    let quota = own.read(&["cpu.max", "cpu.cfs_quota_us"]);
    assert!(
        ["50000 100000", "50000"].contains(&quota.as_str()),
        "{quota}"
    );
    let share = own.read(&["cpu.weight", "cpu.shares"]);
    assert!(["59", "512"].contains(&share.as_str()), "{share}");
    assert_eq!(own.read(&["cpuset.cpus"]), "0");
    let (status, _) = Shell::in_cgroup(&own.0, "test $(nproc) = 1").finish();
    assert!(status.success(), "the program sees one CPU");
}

#[test]
fn a_limit_that_the_kernel_refuses_is_an_error_and_leaves_nothing() {
    require_root!();
    let limits = Limits {
        cpuset_cpus: Some("4000-5000".to_owned()),
        pids: Some(10),
        ..Limits::default()
    };
    let plan = plan(
        &layout(),
        &name("refused"),
        &limits,
        &DeviceRules::default(),
    )
    .unwrap();

    let error = Cgroup::create(&plan).unwrap_err();

    let is_about_cpus = matches!(&error, CgroupError::Limit { limit: "CPUs", .. });
    assert!(is_about_cpus, "{error:?}");
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
    assert!(error.hint().is_some());
    assert_eq!(leftovers("refused"), Vec::<PathBuf>::new());
}

#[test]
fn devices_open_only_if_a_rule_allows_it() {
    require_root!();
    if !std::path::Path::new("/dev/kmsg").exists() {
        skip!("there is no /dev/kmsg");
    }
    let own = Own::create(
        &layout(),
        "devices",
        &Limits::default(),
        &DeviceRules::default(),
    );
    let directory = tempfile::tempdir().unwrap();
    let node = directory.path().join("node");
    let node = node.display();
    let script = format!(
        ": </dev/null && : >/dev/null && : </dev/urandom || exit 1; \
         (: </dev/kmsg) 2>/dev/null && exit 2; \
         mknod {node}1 c 1 3 || exit 3; \
         mknod {node}2 c 1 11 2>/dev/null && exit 4; \
         mknod {node}3 b 7 0 2>/dev/null && exit 5; exit 0"
    );

    let (status, stderr) = Shell::in_cgroup(&own.0, &script).finish();
    assert_eq!(status.code(), Some(0), "{stderr}");
    drop(own);

    let rules = DeviceRules::default().allowing("c 1:11 r".parse().unwrap());
    let own = Own::create(&layout(), "devices", &Limits::default(), &rules);
    let script = "(: </dev/kmsg) || exit 1; (: >/dev/kmsg) 2>/dev/null && exit 2; exit 0";
    let (status, stderr) = Shell::in_cgroup(&own.0, script).finish();
    assert_eq!(status.code(), Some(0), "{stderr}");
}

#[test]
fn a_tree_that_forks_all_the_time_dies_to_the_last_process() {
    require_root!();
    for (index, layout) in tracking_layouts().iter().enumerate() {
        let test = format!("forks{index}");
        let limits = Limits {
            pids: Some(200),
            ..Limits::default()
        };
        let own = Own::create(layout, &test, &limits, &DeviceRules::Unrestricted);
        // Each process makes its successor and ends: whatever list is read is old at once.
        let script = "flee() { flee & }; flee & flee & flee & flee & echo running; wait; flee";
        let mut shell = Shell::in_cgroup(&own.0, script);
        shell.open_gate();
        assert_eq!(shell.read_line(), "running");

        own.0.kill_all().unwrap();
        own.0.remove().unwrap();

        // The kernel removes no cgroup that holds a process.
        assert_eq!(leftovers(&test), Vec::<PathBuf>::new(), "{layout:?}");
        shell.0.wait().unwrap();
    }
}

#[test]
fn a_frozen_cgroup_stands_still_can_run_on_and_can_be_killed() {
    require_root!();
    for (index, layout) in tracking_layouts().iter().enumerate().take(2) {
        let test = format!("freeze{index}");
        let own = Own::create(
            layout,
            &test,
            &Limits::default(),
            &DeviceRules::Unrestricted,
        );
        let shell = Shell::in_cgroup(&own.0, "exit 3");

        own.0.freeze().unwrap();
        assert!(own.0.is_frozen().unwrap());
        own.0.thaw().unwrap();
        assert!(!own.0.is_frozen().unwrap());
        assert_eq!(shell.finish().0.code(), Some(3));

        let mut shell = Shell::in_cgroup(&own.0, "exit 3");
        own.0.freeze().unwrap();
        own.0.kill_all().unwrap();
        assert_eq!(shell.0.wait().unwrap().signal(), Some(9));
        own.0.remove().unwrap();
        assert_eq!(leftovers(&test), Vec::<PathBuf>::new());
    }
}

#[test]
fn a_session_is_killed_alone_and_goes_with_its_container() {
    require_root!();
    for (index, layout) in tracking_layouts().iter().enumerate() {
        let test = format!("session{index}");
        let limits = Limits {
            pids: Some(50),
            ..Limits::default()
        };
        let own = Own::create(layout, &test, &limits, &DeviceRules::Unrestricted);
        let container = Shell::in_cgroup(&own.0, "exit 4");
        let session = |text: &str| own.0.create_session(&name(&test).session(text).unwrap());

        let first = session("exec-1").unwrap();
        assert!(matches!(session("exec-1"), Err(CgroupError::InUse { .. })));
        let mut program = Shell::in_cgroup(&first, "exit 5");
        assert_eq!(
            own.0.pids().unwrap().len(),
            2,
            "the container's list holds both"
        );
        first.kill_all().unwrap();
        assert_eq!(program.0.wait().unwrap().signal(), Some(9));
        first.remove().unwrap();
        assert!(own.0.directories().all(std::path::Path::exists));

        let mut left = Shell::in_cgroup(&session("exec-2").unwrap(), "exit 5");
        assert_eq!(container.finish().0.code(), Some(4));
        let found = Cgroup::open(layout, own.0.name());
        found.kill_all().unwrap();
        assert_eq!(left.0.wait().unwrap().signal(), Some(9));
        found.remove().unwrap();
        assert_eq!(leftovers(&test), Vec::<PathBuf>::new());
    }
}

#[test]
fn the_host_names_its_controllers() {
    let names = layout().available_controllers().unwrap();
    for expected in ["cpu", "memory", "pids"] {
        assert!(names.iter().any(|name| name == expected), "{names:?}");
    }
}

#[test]
fn the_way_in_leads_into_every_directory() {
    require_root!();
    let limits = Limits {
        pids: Some(20),
        ..Limits::default()
    };
    let own = Own::create(&layout(), "entry", &limits, &DeviceRules::default());
    let entry = own.0.entry().unwrap();

    let kind = layout().kind();
    assert_eq!(entry.clone_into().is_some(), kind != LayoutKind::V1);
    assert_eq!(entry.join_files().is_empty(), kind == LayoutKind::V2);
    // What the container's init does: write 0, meaning itself, into each open file. Here the
    // shell inherits one of them as its standard output.
    for file in entry.join_files() {
        let output = file.try_clone().unwrap();
        let status = Command::new("/bin/sh")
            .args(["-c", "echo 0; cat /proc/self/cgroup >&2"])
            .stdout(output)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
            .wait_with_output()
            .unwrap();
        let memberships = String::from_utf8_lossy(&status.stderr).into_owned();
        assert!(
            memberships.contains(&own.0.name().to_string()),
            "{memberships}"
        );
    }
}

#[test]
fn an_old_empty_directory_is_reused_and_a_used_one_refused() {
    require_root!();
    let test = "reuse";
    let limits = Limits {
        pids: Some(7),
        ..Limits::default()
    };
    let own = Own::unrestricted(test, &limits);
    // As after a crash, and with other limits.
    let again = Own::unrestricted(test, &Limits::default());
    assert!(again.0.exists());

    let mut shell = Shell::in_cgroup(&again.0, "exit 0");
    let plan = plan(&layout(), &name(test), &limits, &DeviceRules::Unrestricted).unwrap();
    assert!(matches!(
        Cgroup::create(&plan),
        Err(CgroupError::InUse { .. })
    ));
    shell.open_gate();
    shell.0.wait().unwrap();
    drop((own, again));
    assert_eq!(leftovers(test), Vec::<PathBuf>::new());
}

#[test]
fn what_does_not_exist_has_nobody_to_kill_and_nothing_to_remove() {
    require_root!();
    let none = Cgroup::open(&layout(), &name("none"));
    assert!(!none.exists());
    none.kill_all().unwrap();
    none.remove().unwrap();
    assert_eq!(none.oom_kills().unwrap(), 0);
    assert!(matches!(none.entry(), Err(CgroupError::Open { .. })));
}

#[test]
fn containers_that_come_and_go_at_once_never_lose_their_common_parent() {
    require_root!();
    let layout = layout();
    let test = "race";
    let come_and_go = |thread: usize| {
        let name = CgroupName::in_parent(&parent_name(test), &format!("c{thread}")).unwrap();
        let limits = Limits {
            pids: Some(10),
            cpuset_cpus: Some("0".to_owned()),
            ..Limits::default()
        };
        let plan = plan(&layout, &name, &limits, &DeviceRules::default()).unwrap();
        for _ in 0..40 {
            Cgroup::create(&plan).unwrap().remove().unwrap();
        }
    };
    std::thread::scope(|scope| {
        let come_and_go = &come_and_go;
        for thread in 0..4 {
            scope.spawn(move || come_and_go(thread));
        }
    });
    assert_eq!(leftovers(test), Vec::<PathBuf>::new());
}

#[test]
fn a_cgroup_with_a_living_process_is_not_removed() {
    require_root!();
    let own = Own::unrestricted("living", &Limits::default());
    let shell = Shell::in_cgroup(&own.0, "exit 0");

    let error = own.0.remove_within(Duration::ZERO).unwrap_err();

    let CgroupRemoveError::Populated { pids, .. } = error else {
        panic!("{error:?}")
    };
    assert_eq!(pids, [i32::try_from(shell.0.id()).unwrap()]);
    assert!(shell.finish().0.success());
}
