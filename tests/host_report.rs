//! version, info, system check, help, completion: what rocker says about itself and the host.

use rocker_testkit::host::RockerCommand;
use rocker_testkit::require;

use crate::host;

#[test]
fn version_and_info_answer_in_dockers_fields() {
    let host = require!(host());

    let version = host.ok([
        "version",
        "--format",
        "{{.Client.Version}} {{.Server.Version}}",
    ]);
    let info = host.ok([
        "info",
        "--format",
        "{{.Containers}} {{.Images}} {{.DockerRootDir}}",
    ]);

    let system = host.ok([
        "info",
        "--format",
        "{{.CgroupDriver}} {{.CgroupVersion}} {{.NCPU}} {{json .SecurityOptions}} {{.OperatingSystem}}",
    ]);
    assert_eq!(version, format!("{0} {0}", env!("CARGO_PKG_VERSION")));
    let unified = fs_err::metadata("/sys/fs/cgroup/cgroup.controllers").is_ok();
    let cgroup = if unified { 2 } else { 1 };
    let processors = fs_err::read_to_string("/proc/cpuinfo").expect("processors");
    let processors = processors.matches("processor\t:").count();
    let expected = format!(
        "cgroupfs {cgroup} {processors} [\"name=seccomp,profile=builtin\",\"name=cgroupns\"] "
    );
    assert!(
        system.starts_with(&expected) && system.len() > expected.len(),
        "{system}"
    );
    assert_eq!(info, format!("0 0 {}", host.root().display()));
    host.assert_nothing_left_behind();
}

#[test]
fn system_check_says_line_by_line_what_the_host_offers() {
    let host = require!(host());

    let output = host.rocker(["system", "check"]);

    assert_eq!(output.exit_code, 0, "{output:?}");
    for word in [
        "kernel",
        "namespaces",
        "cgroup",
        "overlay",
        "seccomp",
        "forward",
    ] {
        assert!(
            output.stdout.to_lowercase().contains(word),
            "{word}: {output:?}"
        );
    }
    host.assert_nothing_left_behind();
}

#[test]
fn system_check_only_looks_unless_it_is_told_to_repair() {
    let host = require!(host());
    let image = host.busybox();
    host.ok([
        "run",
        "-d",
        "--name",
        "orphan",
        "--network",
        "none",
        &image,
        "sleep",
        "1000",
    ]);
    let program = crate::inspect(&host, "orphan", "{{.State.Pid}}");
    let monitor = crate::inspect(&host, "orphan", "{{.Rocker.MonitorPid}}");
    let pids = [&monitor, &program].map(|pid| pid.parse().expect("a number"));
    rocker_testkit::host::kill_and_wait(&pids);

    for _ in 0..2 {
        let looked = host.rocker(["system", "check"]);
        assert_eq!(looked.exit_code, 1, "{looked:?}");
        assert!(looked.stdout.contains("FAIL   leftovers"), "{looked:?}");
    }
    // Nor does the shell that asks for names.
    let completed = host.program(&host.binary().to_string_lossy());
    let completed = ["--", "rocker", "rm", ""]
        .into_iter()
        .fold(completed, RockerCommand::arg);
    let completed = completed
        .env("_ROCKER_COMPLETE", "fish")
        .env("ROCKER_ROOT", &host.root().to_string_lossy())
        .env("ROCKER_RUNROOT", &host.runroot().to_string_lossy())
        .run();
    assert!(completed.stdout.contains("orphan"), "{completed:?}");
    assert_eq!(host.rocker(["system", "check"]).exit_code, 1);

    let repaired = host.rocker(["system", "check", "--repair"]);
    assert_eq!(repaired.exit_code, 0, "{repaired:?}");
    host.ok(["rm", "orphan"]);
    host.assert_nothing_left_behind();
}

#[test]
fn system_check_tells_about_the_host_even_if_the_installation_cannot_be_opened() {
    let host = require!(host());
    let file = host.scratch().join("file");
    fs_err::write(&file, "").expect("a file");
    let root = file.to_string_lossy().into_owned();

    let output = host.rocker(["--root", &root, "system", "check"]);

    assert_eq!(output.exit_code, 1, "{output:?}");
    assert!(output.stdout.contains(" kernel"), "{output:?}");
    assert!(output.stdout.contains("FAIL   installation"), "{output:?}");
    host.assert_nothing_left_behind();
}

#[test]
fn every_shell_gets_a_completion_and_an_unknown_one_an_error() {
    let host = require!(host());

    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = host.ok(["completion", shell]);
        assert!(script.contains("rocker"), "{shell}");
    }
    assert_ne!(host.rocker(["completion", "tcsh"]).exit_code, 0);
    host.assert_nothing_left_behind();
}

#[test]
fn an_unknown_command_is_1_and_an_unknown_flag_is_125() {
    let host = require!(host());

    for (words, code) in [
        (&["frobnicate"][..], 1),
        (&["run", "--frobnicate", "x"], 125),
        (&["ps", "--frobnicate"], 125),
        (&["rm"], 1),
    ] {
        let output = host.rocker(words.iter().copied());
        assert_eq!(output.exit_code, code, "{output:?}");
        assert_eq!(output.stdout, "", "{output:?}");
        assert!(!output.stderr.is_empty(), "{output:?}");
    }
    host.assert_nothing_left_behind();
}
