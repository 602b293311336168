use std::path::Path;

use rocker_types::CpuQuota;

use super::*;

fn hybrid() -> CgroupLayout {
    let v1 = |name: &str| format!("1 1 0:1 / /cg/{name} rw - cgroup cgroup rw,{name}\n");
    let names = [
        "cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids",
    ];
    let v1: String = names.into_iter().map(v1).collect();
    let v2 = "1 1 0:2 / /cg/unified rw - cgroup2 cgroup2 rw\n";
    CgroupLayout::parse(&(v1 + v2), "0::/\n").unwrap()
}

fn pure_v2() -> CgroupLayout {
    let mountinfo = "1 1 0:2 / /cg rw - cgroup2 cgroup2 rw\n";
    CgroupLayout::parse(mountinfo, "0::/system.slice\n").unwrap()
}

/// v1 with a process counter and nothing else.
fn poor_v1() -> CgroupLayout {
    CgroupLayout::parse("1 1 0:2 / /cg/pids rw - cgroup cgroup rw,pids\n", "").unwrap()
}

fn everything() -> Limits {
    Limits {
        memory_bytes: Some(64 << 20),
        memory_swap: Some(MemorySwap::TotalBytes(96 << 20)),
        memory_reservation_bytes: Some(32 << 20),
        cpu: Some(CpuQuota {
            quota_us: 50_000,
            period_us: 100_000,
        }),
        cpu_shares: Some(512),
        cpuset_cpus: Some("0-1".to_owned()),
        cpuset_mems: None,
        pids: Some(100),
        blkio_weight: Some(300),
    }
}

fn name() -> CgroupName {
    CgroupName::in_parent("rocker", "c1").unwrap()
}

fn plan_of(layout: &CgroupLayout, limits: &Limits) -> CgroupPlan {
    plan(layout, &name(), limits, &DeviceRules::Unrestricted).unwrap()
}

/// The plan's steps as text: `FILE=VALUE` with paths relative to `/cg`.
fn steps(plan: &CgroupPlan) -> Vec<String> {
    let short = |path: &Path| path.strip_prefix("/cg").unwrap().display().to_string();
    let text = |step: &CgroupStep| match step {
        CgroupStep::Write { file, value, .. } => format!("{}={value}", short(file)),
        CgroupStep::WriteEach { file, values, .. } => {
            format!("{}={}", short(file), values.join(", "))
        }
        CgroupStep::WriteIfPresent { file, value, .. } => format!("{}?={value}", short(file)),
        CgroupStep::WriteFirst { choices, .. } => {
            let choice = |(file, value): &(PathBuf, String)| format!("{}={value}", short(file));
            let choices: Vec<String> = choices.iter().map(choice).collect();
            choices.join(" or ")
        }
        CgroupStep::Inherit { file } => format!("{} from above", short(file)),
        CgroupStep::FilterDevices { rules } => format!("{} device rules", rules.len()),
    };
    let of = |h: &HierarchyPlan| -> Vec<String> {
        h.parent_steps.iter().chain(&h.steps).map(text).collect()
    };
    plan.hierarchies.iter().flat_map(of).collect()
}

#[test]
fn on_hybrid_hosts_limits_go_to_their_v1_hierarchies_memory_before_swap() {
    assert_eq!(
        steps(&plan_of(&hybrid(), &everything())),
        [
            "memory/rocker/c1/memory.limit_in_bytes=67108864",
            "memory/rocker/c1/memory.memsw.limit_in_bytes=100663296",
            "memory/rocker/c1/memory.soft_limit_in_bytes=33554432",
            "cpu/rocker/c1/cpu.cfs_period_us=100000",
            "cpu/rocker/c1/cpu.cfs_quota_us=50000",
            "cpu/rocker/c1/cpu.shares=512",
            "cpuset/rocker/cpuset.cpus from above",
            "cpuset/rocker/cpuset.mems from above",
            "cpuset/rocker/c1/cpuset.cpus=0-1",
            "cpuset/rocker/c1/cpuset.mems from above",
            "pids/rocker/c1/pids.max=100",
            "blkio/rocker/c1/blkio.bfq.weight=300 or blkio/rocker/c1/blkio.weight=300",
        ]
    );
}

#[test]
fn on_v2_limits_share_one_directory_and_swap_is_counted_alone() {
    let plan = plan_of(&pure_v2(), &everything());

    assert_eq!(
        steps(&plan),
        [
            "rocker/c1/memory.max=67108864",
            "rocker/c1/memory.swap.max=33554432",
            "rocker/c1/memory.low=33554432",
            "rocker/c1/cpu.max=50000 100000",
            "rocker/c1/cpu.weight=59",
            "rocker/c1/cpuset.cpus=0-1",
            "rocker/c1/pids.max=100",
            "rocker/c1/io.bfq.weight=300 or rocker/c1/io.weight=2930",
        ]
    );
    let [only] = &plan.hierarchies[..] else {
        panic!("{plan:?}")
    };
    let delegated: Vec<&str> = only.delegate.iter().map(|c| c.v2_name()).collect();
    assert_eq!(delegated, ["memory", "cpu", "cpuset", "pids", "io"]);
    assert_eq!(only.parent, Path::new("/cg/rocker"));
    assert_eq!(only.directory, Path::new("/cg/rocker/c1"));
}

#[test]
fn without_limits_there_is_only_the_tracking_directory() {
    for (layout, tracking) in [
        (hybrid(), "/cg/unified/rocker/c1"),
        (pure_v2(), "/cg/rocker/c1"),
        (poor_v1(), "/cg/pids/rocker/c1"),
    ] {
        let plan = plan_of(&layout, &Limits::default());
        let directories: Vec<_> = plan.hierarchies.iter().map(|h| &h.directory).collect();
        assert_eq!(directories, [Path::new(tracking)]);
        assert!(plan.hierarchies[0].steps.is_empty());
        assert!(plan.hierarchies[0].delegate.is_empty());
    }
}

#[test]
fn devices_are_denied_before_they_are_allowed_one_by_one() {
    let rules = DeviceRules::Only(vec![
        "c 1:3 rwm".parse().unwrap(),
        "b 8:* r".parse().unwrap(),
    ]);
    let restricted =
        |layout: &CgroupLayout| plan(layout, &name(), &Limits::default(), &rules).unwrap();

    assert_eq!(
        steps(&restricted(&hybrid())),
        [
            "devices/rocker/c1/devices.deny=a",
            "devices/rocker/c1/devices.allow=c 1:3 rwm, b 8:* r",
        ]
    );
    let v2 = restricted(&pure_v2());
    assert_eq!(steps(&v2), ["2 device rules"]);
    assert!(
        v2.hierarchies[0].delegate.is_empty(),
        "v2 needs no controller for it"
    );
}

#[test]
fn swap_follows_memory_unless_asked_otherwise() {
    let swap = |memory_swap| Limits {
        memory_bytes: Some(100),
        memory_swap,
        ..Limits::default()
    };
    for (asked, v1, v2) in [
        (None, "?=200", "?=100"),
        (Some(MemorySwap::Unlimited), "?=-1", "?=max"),
        (Some(MemorySwap::TotalBytes(100)), "=100", "=0"),
    ] {
        let v1_steps = steps(&plan_of(&hybrid(), &swap(asked)));
        assert_eq!(
            v1_steps[1],
            format!("memory/rocker/c1/memory.memsw.limit_in_bytes{v1}")
        );
        let v2_steps = steps(&plan_of(&pure_v2(), &swap(asked)));
        assert_eq!(v2_steps[1], format!("rocker/c1/memory.swap.max{v2}"));
    }
}

#[test]
fn limits_that_contradict_themselves_or_the_host_are_errors() {
    let fails = |layout: &CgroupLayout, limits: Limits| {
        plan(layout, &name(), &limits, &DeviceRules::Unrestricted).unwrap_err()
    };
    let total = |memory_bytes| Limits {
        memory_bytes,
        memory_swap: Some(MemorySwap::TotalBytes(10)),
        ..Limits::default()
    };
    assert!(matches!(
        fails(&pure_v2(), total(Some(11))),
        CgroupError::SwapBelowMemory { .. }
    ));
    assert!(matches!(
        fails(&pure_v2(), total(None)),
        CgroupError::SwapWithoutMemory
    ));
    let error = fails(&poor_v1(), everything());
    assert_eq!(
        error.to_string(),
        "cannot limit memory: this host has no memory controller"
    );
    assert!(matches!(
        plan(
            &poor_v1(),
            &name(),
            &Limits::default(),
            &DeviceRules::default()
        ),
        Err(CgroupError::NoController { .. })
    ));
}

#[test]
fn a_zero_that_means_not_set_makes_no_step() {
    let limits = Limits {
        cpu_shares: Some(0),
        blkio_weight: Some(0),
        ..Limits::default()
    };
    assert!(steps(&plan_of(&hybrid(), &limits)).is_empty());
}
