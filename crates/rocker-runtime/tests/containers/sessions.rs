//! `rocker exec`: another program in a running container.

use rocker_runtime::{Attachment, ExecError, ExitStatus, ProgramFailure, exec};
use rocker_types::Signal;

use crate::harness::tests;
use crate::sandbox::{Live, Sandbox, chain, pipes};

tests!(
    it_shares_every_namespace_and_ends_with_its_own_code,
    it_is_confined_like_the_container,
    users_are_looked_up_in_the_container,
    missing_programs_are_told,
    a_dead_container_is_told,
    working_directories_through_descriptors_are_refused_too,
    no_descriptor_leaks_and_its_parent_shows_nothing,
    what_a_caller_that_died_left_is_removed_by_the_next_session,
    its_cgroup_is_below_the_containers_and_goes_away,
    it_dies_with_its_caller_when_attached,
    it_dies_with_the_container,
    a_passwd_trap_set_later_is_refused,
    a_container_that_may_trace_finds_nothing_of_the_host_in_a_session,
);

fn live(sandbox: &Sandbox) -> Live {
    let mut live = sandbox
        .start(&sandbox.spec(&["sh", "-c", "echo up; read x"]))
        .unwrap();
    assert_eq!(live.line(), "up");
    live
}

fn it_shares_every_namespace_and_ends_with_its_own_code() {
    let sandbox = Sandbox::new();
    let live = live(&sandbox);
    let script = "cd /proc/self/ns; for n in ipc mnt net pid uts cgroup; do \
        [ $(readlink $n) = $(readlink /proc/1/ns/$n) ] || echo $n; done; hostname; exit 9";
    let output = sandbox.exec(&sandbox.exec_spec(&live, &["sh", "-c", script]));
    assert_eq!(output.stdout, "box\n");
    assert_eq!(output.status, ExitStatus::Code(9));
    live.kill();
    sandbox.assert_no_cgroup();
}

fn it_is_confined_like_the_container() {
    let sandbox = Sandbox::new();
    let live = live(&sandbox);
    let grep = [
        "grep",
        "-E",
        "^(Cap|Seccomp:|NoNewPrivs|Groups|Sig(Blk|Ign))",
        "/proc/self/status",
    ];
    let inside = sandbox.exec(&sandbox.exec_spec(&live, &grep));
    let first = sandbox.run(&{
        let other = Sandbox::new();
        let mut spec = sandbox.spec(&grep);
        spec.cgroup.name = rocker_runtime::cgroup::CgroupName::new(&other.id);
        spec
    });
    assert_eq!(inside.stdout, first.stdout);
    assert!(inside.stdout.contains("Seccomp:\t2"), "{inside:?}");
    live.kill();
}

fn users_are_looked_up_in_the_container() {
    let sandbox = Sandbox::new();
    let live = live(&sandbox);
    let script =
        "echo $(id -u) $(id -G) $HOME; grep CapEff /proc/self/status; echo x > /dev/stdout";
    let mut spec = sandbox.exec_spec(&live, &["sh", "-c", script]);
    spec.process.user = "me".parse().unwrap();
    spec.process.extra_groups = vec!["7".into()];
    let output = sandbox.exec(&spec);
    let want = "1000 1000 7 2000 /home/me\nCapEff:\t0000000000000000\nx\n";
    assert_eq!(output.stdout, want, "{output:?}");
    live.kill();
}

fn missing_programs_are_told() {
    let sandbox = Sandbox::new();
    let live = live(&sandbox);
    for (program, want) in [
        ("nope", ProgramFailure::NotFound),
        ("/nope", ProgramFailure::NotFound),
        ("/etc", ProgramFailure::NotExecutable),
    ] {
        let (stdio, _ours) = pipes();
        let error = exec(
            &sandbox.exec_spec(&live, &[program]),
            &sandbox.layout,
            stdio,
        )
        .unwrap_err();
        assert_eq!(
            error.program_failure(),
            Some(want),
            "{program}: {}",
            chain(&error)
        );
    }
    live.kill();
    sandbox.assert_no_cgroup();
}

fn a_dead_container_is_told() {
    let sandbox = Sandbox::new();
    let running = live(&sandbox);
    let spec = sandbox.exec_spec(&running, &["true"]);
    let mut stranger = spec.clone();
    stranger.start_time_ticks += 1;
    let (stdio, _ours) = pipes();
    let error = exec(&stranger, &sandbox.layout, stdio).unwrap_err();
    assert!(
        matches!(error, ExecError::NotRunning { .. }),
        "{}",
        chain(&error)
    );
    running.kill();
    let (stdio, _ours) = pipes();
    let error = exec(&spec, &sandbox.layout, stdio).unwrap_err();
    assert!(
        matches!(error, ExecError::NotRunning { .. }),
        "{}",
        chain(&error)
    );
}

fn working_directories_through_descriptors_are_refused_too() {
    let sandbox = Sandbox::new();
    let live = live(&sandbox);
    let root = rustix::fs::open("/", rustix::fs::OFlags::PATH, rustix::fs::Mode::empty()).unwrap();
    let many: Vec<_> = (0..40).map(|_| rustix::io::dup(&root).unwrap()).collect();
    for fd in 3..64 {
        let mut spec = sandbox.exec_spec(&live, &["pwd"]);
        spec.process.cwd = format!("/proc/self/fd/{fd}");
        let (stdio, _ours) = pipes();
        let error = exec(&spec, &sandbox.layout, stdio).unwrap_err();
        assert!(
            chain(&error).contains("working directory"),
            "{}",
            chain(&error)
        );
    }
    drop(many);
    let mut spec = sandbox.exec_spec(&live, &["pwd"]);
    spec.process.cwd = "/tmp".into();
    assert_eq!(sandbox.exec(&spec).stdout, "/tmp\n");
    live.kill();
}

fn no_descriptor_leaks_and_its_parent_shows_nothing() {
    let sandbox = Sandbox::new();
    let live = live(&sandbox);
    let root = rustix::fs::open("/", rustix::fs::OFlags::PATH, rustix::fs::Mode::empty()).unwrap();
    let many: Vec<_> = (0..40).map(|_| rustix::io::dup(&root).unwrap()).collect();
    let script = "ls /proc/$$/fd; grep PPid /proc/$$/status";
    let output = sandbox.exec(&sandbox.exec_spec(&live, &["sh", "-c", script]));
    assert_eq!(output.stdout, "0\n1\n2\nPPid:\t0\n");
    drop(many);
    live.kill();
}

fn its_cgroup_is_below_the_containers_and_goes_away() {
    let sandbox = Sandbox::new();
    let live = live(&sandbox);
    let (stdio, ours) = pipes();
    let spec = sandbox.exec_spec(&live, &["sh", "-c", "echo up; read x"]);
    let mut session = ours.live(exec(&spec, &sandbox.layout, stdio).unwrap());
    assert_eq!(session.line(), "up");
    let container = live.running.cgroup();
    let pids = session.running.cgroup().pids().unwrap();
    assert!(pids.contains(&session.running.pid()), "{pids:?}");
    assert!(!pids.contains(&live.running.pid()), "{pids:?}");
    let directories: Vec<_> = container.directories().map(ToOwned::to_owned).collect();
    assert!(session.running.cgroup().directories().all(|session| {
        directories
            .iter()
            .any(|container| session.starts_with(container))
    }));

    session.kill();
    live.kill();

    sandbox.assert_no_cgroup();
}

fn what_a_caller_that_died_left_is_removed_by_the_next_session() {
    let sandbox = Sandbox::new();
    let live = live(&sandbox);
    let mut dead = std::process::Command::new("true").spawn().unwrap();
    dead.wait().unwrap();
    let tracking = live.running.cgroup().directories().next().unwrap();
    let left = tracking.join(format!("exec-{}-0", dead.id()));
    let in_use = tracking.join(format!("exec-{}-99", std::process::id()));
    for directory in [&left, &in_use] {
        fs_err::create_dir(directory).unwrap();
    }

    sandbox.exec(&sandbox.exec_spec(&live, &["true"]));

    assert!(!left.exists());
    assert!(in_use.exists(), "its owner lives");
    live.kill();
    sandbox.assert_no_cgroup();
}

fn it_dies_with_its_caller_when_attached() {
    for (attachment, dies) in [
        (Attachment::DiesWithCaller, true),
        (Attachment::Detached, false),
    ] {
        let sandbox = Sandbox::new();
        let live = live(&sandbox);
        let mut spec = sandbox.exec_spec(&live, &["sh", "-c", "echo up; read x; echo on"]);
        spec.attachment = attachment;
        let (stdio, ours) = pipes();
        // The caller: it starts the program and ends.
        let caller = rocker_sys::clone::clone_plain(|_| {
            let started = exec(&spec, &sandbox.layout, stdio).unwrap();
            std::mem::forget(started);
            loop {
                rustix::event::pause();
            }
        })
        .unwrap();
        use std::os::fd::AsFd;
        let mut ours = ours.reading();
        assert_eq!(ours.line(), "up");
        rocker_sys::process::send_signal(caller.pidfd.as_fd(), Signal::KILL.number()).unwrap();
        let id = rustix::process::WaitId::PidFd(caller.pidfd.as_fd());
        rustix::process::waitid(id, rustix::process::WaitIdOptions::EXITED).unwrap();
        ours.say("x\n");
        assert_eq!(ours.rest(), if dies { "" } else { "on\n" });
        live.kill();
    }
}

fn it_dies_with_the_container() {
    let sandbox = Sandbox::new();
    let live = live(&sandbox);
    let (stdio, ours) = pipes();
    let spec = sandbox.exec_spec(&live, &["sh", "-c", "echo up; read x"]);
    let mut session = ours.live(exec(&spec, &sandbox.layout, stdio).unwrap());
    assert_eq!(session.line(), "up");
    live.running.signal(Signal::KILL).unwrap();
    assert_eq!(session.reap(), ExitStatus::Signal(Signal::KILL));
    live.finish();
}

fn a_passwd_trap_set_later_is_refused() {
    let sandbox = Sandbox::new();
    let live = live(&sandbox);
    let trap = "rm /etc/passwd; mkfifo /etc/passwd";
    sandbox.exec(&sandbox.exec_spec(&live, &["sh", "-c", trap]));
    let (stdio, _ours) = pipes();
    let error = exec(&sandbox.exec_spec(&live, &["true"]), &sandbox.layout, stdio).unwrap_err();
    assert!(
        chain(&error).contains("/etc/passwd: it is not a regular file"),
        "{}",
        chain(&error)
    );
    live.kill();
}

/// CVE-2016-9962, 30 times: the container looks into every process that appears in it.
fn a_container_that_may_trace_finds_nothing_of_the_host_in_a_session() {
    let sandbox = Sandbox::new();
    let secret = sandbox.victim().join("secret");
    let flags = rustix::fs::OFlags::RDONLY;
    let secret = rustix::fs::open(&secret, flags, rustix::fs::Mode::empty()).unwrap();
    let many: Vec<_> = (0..20).map(|_| rustix::io::dup(&secret).unwrap()).collect();
    // As for a caller whose own input is a file of the host.
    let stdin = rustix::io::dup(rustix::stdio::stdin()).unwrap();
    rustix::stdio::dup2_stdin(&secret).unwrap();
    let script = "echo up; while [ ! -e /stop ]; do for p in /proc/[0-9]*; do \
        [ $p = /proc/$$ ] || for l in $p/exe $p/cwd $p/root $p/fd/*; do readlink $l; done; \
        done; done > /seen; echo done";
    let mut spec = sandbox.spec(&["sh", "-c", script]);
    let ptrace = "SYS_PTRACE".parse().unwrap();
    spec.process.capabilities = spec.process.capabilities.with(ptrace);
    let mut live = sandbox.start(&spec).unwrap();
    assert_eq!(live.line(), "up");

    for _ in 0..30 {
        sandbox.exec(&sandbox.exec_spec(&live, &["true"]));
    }
    sandbox.exec(&sandbox.exec_spec(&live, &["touch", "/stop"]));
    assert_eq!(live.line(), "done");

    let seen = fs_err::read_to_string(sandbox.upper().join("seen")).unwrap();
    assert!(seen.lines().count() > 10, "{seen}");
    for word in ["victim", "tasks", "pidfd", "anon_inode"] {
        assert!(!seen.contains(word), "{word}: {seen}");
    }
    rustix::stdio::dup2_stdin(&stdin).unwrap();
    drop(many);
    live.finish();
}
