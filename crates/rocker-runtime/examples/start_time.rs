//! How long a container takes, from nothing to exec and to the end: medians on this machine.
//!
//! `cargo run --release --example start_time -p rocker-runtime -- ROOTFS [N] [PAUSE_MS]`, as
//! root. `ROOTFS` is a directory with a static `/bin/true`. Compare with the same work in bare
//! system calls on the same machine and nothing else.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement for developers"
)]

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rocker_runtime::cgroup::{CgroupLayout, CgroupName, DeviceRules, Limits};
use rocker_runtime::seccomp::SeccompPolicy;
use rocker_runtime::{
    CgroupSpec, ContainerSpec, NetworkNamespace, ProcessSpec, RootfsSpec, SecuritySpec, StdioFds,
    create,
};
use rocker_types::{CapabilitySet, ContainerId, UserSpec};

fn main() -> ExitCode {
    if let Some(code) = rocker_runtime::main_init() {
        return code;
    }
    rocker_runtime::executable::ensure_protected().unwrap();
    let mut args = std::env::args().skip(1);
    let rootfs = args.next().unwrap();
    let count: usize = args.next().map_or(200, |text| text.parse().unwrap());
    let pause = Duration::from_millis(args.next().map_or(0, |text| text.parse().unwrap()));
    let work = tempfile::tempdir().unwrap();
    let layout = CgroupLayout::detect().unwrap();
    let mut spans: Vec<[Duration; 4]> = Vec::new();
    for number in 0..count {
        std::thread::sleep(pause);
        let upper = work.path().join(format!("{number}"));
        fs_err::create_dir(&upper).unwrap();
        fs_err::create_dir(upper.join("u")).unwrap();
        fs_err::create_dir(upper.join("w")).unwrap();
        spans.push(one(&spec(Path::new(&rootfs), &upper, number), &layout));
    }
    for (index, name) in ["create", "start (exec)", "reap", "cgroup removal"]
        .iter()
        .enumerate()
    {
        let mut column: Vec<Duration> = spans.iter().map(|span| span[index]).collect();
        column.sort();
        println!(
            "{name:16} median {:?} p90 {:?}",
            column[count / 2],
            column[count * 9 / 10]
        );
    }
    let mut whole: Vec<Duration> = spans.iter().map(|span| span.iter().sum()).collect();
    whole.sort();
    println!(
        "{:16} median {:?} p90 {:?}",
        "whole life",
        whole[count / 2],
        whole[count * 9 / 10]
    );
    ExitCode::SUCCESS
}

fn one(spec: &ContainerSpec, layout: &CgroupLayout) -> [Duration; 4] {
    let null = || {
        fs_err::OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/null")
    };
    let null = || std::fs::File::from(null().unwrap()).into();
    let stdio = StdioFds {
        stdin: null(),
        stdout: null(),
        stderr: null(),
    };
    let begin = Instant::now();
    let created = create(spec, layout, stdio).unwrap();
    let after_create = Instant::now();
    let running = created.start().unwrap();
    let after_start = Instant::now();
    let (_, cgroup) = running.reap().unwrap();
    let after_reap = Instant::now();
    cgroup.remove().unwrap();
    [
        after_create - begin,
        after_start - after_create,
        after_reap - after_start,
        after_reap.elapsed(),
    ]
}

fn spec(rootfs: &Path, upper: &Path, number: usize) -> ContainerSpec {
    let mut bytes = [7_u8; 32];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    bytes[8..12].copy_from_slice(&std::process::id().to_le_bytes());
    let id = ContainerId::from_bytes(bytes);
    ContainerSpec {
        rootfs: RootfsSpec::Overlay {
            lowers: vec![rootfs.to_owned()],
            upper: upper.join("u"),
            work: upper.join("w"),
            volatile: true,
            read_only: false,
        },
        mounts: Vec::new(),
        process: ProcessSpec {
            argv: vec!["/bin/true".into()],
            env: vec!["PATH=/bin".into()],
            cwd: "/".into(),
            user: UserSpec::default(),
            extra_groups: Vec::new(),
            capabilities: CapabilitySet::DEFAULT,
            ambient_capabilities: CapabilitySet::EMPTY,
            no_new_privileges: false,
            rlimits: Vec::new(),
            oom_score_adj: None,
            terminal: None,
            init: false,
            umask: 0o022,
        },
        hostname: Some("box".into()),
        network: NetworkNamespace::New,
        cgroup: CgroupSpec {
            name: CgroupName::new(&id),
            limits: Limits {
                pids: Some(4096),
                ..Limits::default()
            },
            devices: DeviceRules::default(),
        },
        security: SecuritySpec::confined(SeccompPolicy::Default),
        sysctls: Vec::new(),
        shm_bytes: 64 << 20,
        id,
    }
}
