//! The program as a script sees it, as far as that needs neither root nor a container.
#![expect(clippy::expect_used, reason = "helpers of an integration test")]

use std::path::Path;
use std::process::{Command, Output, Stdio};

/// rocker with an installation that does not exist.
fn rocker(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rocker"));
    command
        .env("ROCKER_ROOT", "/nonexistent/root")
        .env("ROCKER_RUNROOT", "/nonexistent/run")
        .stdin(Stdio::null())
        .args(words);
    command
}

fn output(words: &[&str]) -> Output {
    rocker(words).output().expect("it runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn what_cannot_be_understood_is_one_line_and_a_hint_on_stderr() {
    let cases: &[(&[&str], i32, &str)] = &[
        (
            &["frobnicate"],
            1,
            "Error: unknown command \"frobnicate\"\nhint: see `rocker --help`\n",
        ),
        (
            &["rm"],
            1,
            "Error: missing CONTAINER\nhint: see `rocker rm --help`\n",
        ),
        (
            &["run", "--detahc", "x"],
            125,
            "Error: unknown flag --detahc\nhint: did you mean `--detach`?\n",
        ),
        (
            &["ps", "--format"],
            125,
            "Error: --format needs a value\nhint: see `rocker ps --help`\n",
        ),
        (
            &["create", "--cap-add", "net_admn", "x"],
            125,
            "Error: --cap-add: unknown capability \"net_admn\": did you mean NET_ADMIN?\nhint: see `rocker create --help`\n",
        ),
        (
            &["run", "--rm", "--restart=always", "x"],
            125,
            "Error: --rm cannot be used with --restart\nhint: a container that is removed at its end cannot be started again\n",
        ),
        (
            &["run", "-d", "-a", "stdout", "x"],
            125,
            "Error: --attach cannot be used with --detach\nhint: leave one of them out\n",
        ),
        (
            &["run", "-it", "x"],
            1,
            "Error: the input device is not a terminal: stdin is a file, a pipe or closed\nhint: leave out -t, or start rocker in a terminal\n",
        ),
        (
            &["start", "-a", "one", "two"],
            1,
            "Error: --attach and --interactive take one container only\nhint: start the others without them\n",
        ),
        (&["pull", "UPPER"], 1, ""),
    ];
    for (words, code, stderr) in cases {
        let output = output(words);
        assert_eq!(output.status.code(), Some(*code), "{words:?} {output:?}");
        assert_eq!(text(&output.stdout), "", "{words:?}");
        if !stderr.is_empty() {
            assert_eq!(text(&output.stderr), *stderr, "{words:?}");
        }
    }
}

#[test]
fn a_configuration_that_makes_no_sense_is_one_line() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("config.toml");
    let quoted = format!("{path:?}");
    let pull = || {
        let mut command = rocker(&["pull", "localhost:1/x"]);
        command.env("ROCKER_CONFIG", &path);
        text(&command.output().expect("it runs").stderr)
    };

    let missing = pull();
    fs_err::write(&path, "\n\ninsecure = 7\n").expect("a file");
    let unknown = pull();
    fs_err::write(&path, "insecure = [").expect("a file");
    let broken = pull();

    assert!(
        missing.starts_with("Error: cannot read the configuration: ")
            && missing.contains("config.toml"),
        "{missing}"
    );
    assert_eq!(
        unknown,
        format!(
            "Error: invalid configuration {quoted}, line 3: insecure wants a list of \"HOST[:PORT]\"\n"
        )
    );
    let start = format!("Error: invalid configuration {quoted}, line 1: ");
    assert!(
        broken.starts_with(&start) && broken.lines().count() == 1,
        "{broken}"
    );
    assert!(!broken.contains('^') && !broken.contains('|'), "{broken}");
}

#[test]
fn a_closed_stdout_ends_quietly_and_a_full_one_is_an_error() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let closed = rocker(&["version"])
        .stdout(writer)
        .output()
        .expect("it runs");
    assert_eq!(
        (closed.status.code(), text(&closed.stderr)),
        (Some(141), String::new())
    );

    let full = fs_err::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .expect("/dev/full");
    let full = rocker(&["version"])
        .stdout(full.into_parts().0)
        .output()
        .expect("it runs");
    assert_eq!(full.status.code(), Some(1));
    assert_eq!(
        text(&full.stderr),
        "Error: cannot write to stdout: No space left on device (os error 28)\n"
    );
}

#[test]
fn version_has_dockers_fields() {
    let cases = [
        ("{{.Client.Version}}", env!("CARGO_PKG_VERSION")),
        ("{{.Server.Version}}", env!("CARGO_PKG_VERSION")),
        ("{{.Client.Os}}", "linux"),
    ];
    for (template, expected) in cases {
        let output = output(&["version", "-f", template]);
        assert_eq!(text(&output.stdout).trim_end(), expected, "{template}");
    }
    assert_eq!(
        text(&output(&["-v"]).stdout),
        format!("rocker version {}\n", env!("CARGO_PKG_VERSION"))
    );
    let misspelt = output(&["version", "-f", "{{.Client.Vresion}}"]);
    assert_eq!(misspelt.status.code(), Some(1));
    assert!(text(&misspelt.stderr).contains(".Version"), "{misspelt:?}");
}

/// Bash itself completes; the script that is committed asks the binary.
#[test]
fn bash_completes_commands_flags_and_values() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../completions/rocker.bash");
    let directory = Path::new(env!("CARGO_BIN_EXE_rocker"))
        .parent()
        .expect("a directory");
    let cases = [
        ("rocker sto", "stop"),
        ("rocker container li", ""),
        ("rocker run --pid", "--pids-limit"),
        ("rocker run --cap-add SYS_PT", "SYS_PTRACE"),
        ("rocker completion f", "fish"),
        ("rocker stop nothing-runs-he", ""),
    ];
    for (line, expected) in cases {
        let words: Vec<&str> = line.split(' ').collect();
        let program = format!(
            "source {script:?}; COMP_WORDS=({line}); COMP_CWORD={last}; COMP_TYPE=9; \
             COMP_LINE={line:?}; COMP_POINT={point}; \
             $(complete -p rocker | sed 's/.*-F \\([^ ]*\\).*/\\1/') rocker {cur:?} {prev:?}; \
             echo \"${{COMPREPLY[*]}}\"",
            last = words.len() - 1,
            point = line.len(),
            cur = words[words.len() - 1],
            prev = words[words.len() - 2],
        );
        let path = format!("{}:/usr/bin:/bin", directory.display());
        let completed = Command::new("bash")
            .args(["--norc", "-c", &program])
            .env("PATH", path)
            .env("ROCKER_RUNROOT", "/nonexistent/run")
            .output()
            .expect("bash runs");
        assert_eq!(
            text(&completed.stdout).trim(),
            expected,
            "{line:?} {completed:?}"
        );
    }
}
