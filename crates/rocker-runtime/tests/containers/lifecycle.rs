//! From create to the exit status.

use rocker_runtime::{ExitStatus, ProgramFailure, create};
use rocker_types::Signal;

use crate::harness::tests;
use crate::sandbox::{Failure, Sandbox, chain, pipes};

tests!(
    the_exit_code_is_the_programs,
    a_signal_is_told_as_a_signal,
    output_and_environment_are_as_specified,
    a_missing_program_is_127_and_named_with_its_path,
    a_file_that_cannot_be_executed_is_126,
    a_missing_interpreter_is_127,
    abort_leaves_nothing,
    nothing_runs_before_start,
    the_reaper_forwards_signals_and_collects_orphans,
    the_reaper_tells_of_a_missing_program,
    init_dies_when_nobody_waits_for_it,
    signals_are_as_a_new_program_expects_them,
    a_hundred_starts_leak_no_descriptor_and_tell_the_same,
);

fn the_exit_code_is_the_programs() {
    let sandbox = Sandbox::new();
    assert_eq!(sandbox.sh("exit 7").status, ExitStatus::Code(7));
    sandbox.assert_no_cgroup();
}

fn a_signal_is_told_as_a_signal() {
    let sandbox = Sandbox::new();
    let mut live = sandbox
        .start(&sandbox.spec(&["sh", "-c", "echo up; cat"]))
        .unwrap();
    assert_eq!(live.line(), "up");

    live.running.signal(Signal::KILL).unwrap();

    assert_eq!(live.finish().status, ExitStatus::Signal(Signal::KILL));
}

fn output_and_environment_are_as_specified() {
    let sandbox = Sandbox::new();
    let mut spec = sandbox.spec(&["sh", "-c", "pwd; env | sort; echo err >&2; cat; hostname"]);
    spec.process.env.push("A=1 2".into());
    spec.process.cwd = "new/dir".into();
    let mut live = sandbox.start(&spec).unwrap();
    live.say("in\n");

    let output = live.finish();

    let want = "/new/dir\nA=1 2\nHOME=/root\nPATH=/bin\nPWD=/new/dir\nSHLVL=1\nin\nbox\n";
    assert_eq!(output.stdout, want);
    assert_eq!(output.stderr, "err\n");
}

fn program_failure(failure: &Failure) -> Option<ProgramFailure> {
    match failure {
        Failure::Start(error) => error.program_failure(),
        Failure::Create(_) => None,
    }
}

fn a_missing_program_is_127_and_named_with_its_path() {
    let sandbox = Sandbox::new();
    for name in ["nope", "/nope", "./nope"] {
        let failure = sandbox.refusal(&sandbox.spec(&[name]));
        assert_eq!(
            program_failure(&failure),
            Some(ProgramFailure::NotFound),
            "{name}"
        );
        assert!(failure.to_string().contains(name), "{failure}");
    }
    let failure = sandbox.refusal(&sandbox.spec(&["nope"]));
    assert_eq!(failure.to_string(), "program not found: nope in PATH=/bin");
}

fn a_file_that_cannot_be_executed_is_126() {
    let sandbox = Sandbox::new();
    for name in ["/etc", "/etc/passwd"] {
        let failure = sandbox.refusal(&sandbox.spec(&[name]));
        assert_eq!(
            program_failure(&failure),
            Some(ProgramFailure::NotExecutable),
            "{name}"
        );
        assert_eq!(
            chain(&failure),
            format!("cannot run {name}: Permission denied (os error 13)")
        );
    }
}

fn a_missing_interpreter_is_127() {
    let sandbox = Sandbox::new();
    sandbox.write("bin/script", "#!/no/such/interpreter\n");
    let path = sandbox.image("bin/script");
    fs_err::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();

    let failure = sandbox.refusal(&sandbox.spec(&["script"]));

    assert_eq!(program_failure(&failure), Some(ProgramFailure::NotFound));
    assert!(failure.to_string().contains("/bin/script"), "{failure}");
}

fn abort_leaves_nothing() {
    let sandbox = Sandbox::new();
    let (stdio, ours) = pipes();
    let created = create(&sandbox.spec(&["true"]), &sandbox.layout, stdio).unwrap();
    let pid = created.pid();
    assert!(created.cgroup().exists());

    created.abort();

    let proc = format!("/proc/{pid}");
    assert!(!std::path::Path::new(&proc).exists());
    sandbox.assert_no_cgroup();
    drop(ours);
}

fn nothing_runs_before_start() {
    let sandbox = Sandbox::new();
    let (stdio, ours) = pipes();
    let created = create(&sandbox.spec(&["touch", "/ran"]), &sandbox.layout, stdio).unwrap();
    let ran = sandbox.upper().join("ran");
    assert!(!ran.exists());

    let output = ours.live(created.start().unwrap()).finish();

    assert_eq!(output.status, ExitStatus::Code(0));
    assert!(ran.exists());
}

fn the_reaper_forwards_signals_and_collects_orphans() {
    let sandbox = Sandbox::new();
    let script = "trap 'echo got; exit 5' USR1; \
        for i in 1 2 3 4 5 6 7 8 9; do (sleep 0.01 & ); done; sleep 0.3; \
        echo zombies $(grep -l 'State:.Z' /proc/[0-9]*/status | wc -l); \
        echo pid $$; while :; do sleep 0.02; done";
    let mut spec = sandbox.spec(&["sh", "-c", script]);
    spec.process.init = true;
    let mut live = sandbox.start(&spec).unwrap();
    assert_eq!(live.line(), "zombies 0");
    assert_ne!(live.line(), "pid 1");

    live.running.signal("USR1".parse().unwrap()).unwrap();

    assert_eq!(live.line(), "got");
    assert_eq!(live.finish().status, ExitStatus::Code(5));
}

fn the_reaper_tells_of_a_missing_program() {
    let sandbox = Sandbox::new();
    let mut spec = sandbox.spec(&["nope"]);
    spec.process.init = true;
    let failure = sandbox.refusal(&spec);
    assert_eq!(program_failure(&failure), Some(ProgramFailure::NotFound));
}

fn init_dies_when_nobody_waits_for_it() {
    let sandbox = Sandbox::new();
    let (stdio, ours) = pipes();
    let spec = sandbox.spec(&["touch", "/ran"]);
    // The grandchild creates a container and dies at the gate without a word.
    let child = rocker_sys::clone::clone_plain(|_| {
        let created = create(&spec, &sandbox.layout, stdio);
        std::mem::forget(created);
        0
    })
    .unwrap();
    let mut info = None;
    while info.is_none() {
        use std::os::fd::AsFd;
        let id = rustix::process::WaitId::PidFd(child.pidfd.as_fd());
        info = rustix::process::waitid(id, rustix::process::WaitIdOptions::EXITED).unwrap();
    }
    let cgroup = rocker_runtime::cgroup::Cgroup::open(
        &sandbox.layout,
        &rocker_runtime::cgroup::CgroupName::new(&sandbox.id),
    );

    cgroup.remove().unwrap();

    assert!(!sandbox.upper().join("ran").exists());
    sandbox.assert_no_cgroup();
    drop(ours);
}

fn signals_are_as_a_new_program_expects_them() {
    let sandbox = Sandbox::new();
    let output = sandbox.run(&sandbox.spec(&["grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status"]));
    let none = "0000000000000000";
    assert_eq!(output.stdout, format!("SigBlk:\t{none}\nSigIgn:\t{none}\n"));
}

fn a_hundred_starts_leak_no_descriptor_and_tell_the_same() {
    let sandbox = Sandbox::new();
    let again = |argv: &[&str]| {
        let mut spec = sandbox.spec(argv);
        if let rocker_runtime::RootfsSpec::Overlay { volatile, .. } = &mut spec.rootfs {
            *volatile = false;
        }
        spec
    };
    let (missing, works) = (again(&["nope"]), again(&["true"]));
    let open = || fs_err::read_dir("/proc/self/fd").unwrap().count();
    let before = open();
    for _ in 0..50 {
        let failure = sandbox.refusal(&missing);
        assert_eq!(
            program_failure(&failure),
            Some(ProgramFailure::NotFound),
            "{failure}"
        );
        assert_eq!(sandbox.run(&works).status, ExitStatus::Code(0));
    }
    assert_eq!(open(), before);
}
