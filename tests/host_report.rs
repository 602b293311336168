//! version, info, system check, help, completion: what rocker says about itself and the host.

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
