//! Tables: words, and what they are understood as.

use std::ffi::OsString;

use clap::FromArgMatches as _;

use super::values::{EnvVar, Memory, PidsLimit};
use super::{Fault, Parsed, UsageError, documentation, parse};
use crate::commands::container_args::ContainerArgs;

fn words(line: &[&str]) -> Vec<OsString> {
    line.iter().map(OsString::from).collect()
}

fn refused(line: &[&str]) -> UsageError {
    match parse(&words(line)) {
        Err(error) => error,
        Ok(other) => panic!("{line:?} was understood as {other:?}"),
    }
}

fn container(line: &[&str]) -> ContainerArgs {
    match parse(&words(line)) {
        Ok(Parsed::Command { matches, .. }) => {
            ContainerArgs::from_arg_matches(&matches).expect("flags")
        }
        other => panic!("{line:?} was understood as {other:?}"),
    }
}

fn path(line: &[&str]) -> &'static [&'static str] {
    match parse(&words(line)) {
        Ok(Parsed::Command { entry, .. }) => entry.paths[0],
        other => panic!("{line:?} was understood as {other:?}"),
    }
}

#[test]
fn the_definitions_are_consistent() {
    documentation().debug_assert();
}

#[test]
fn every_command_has_its_short_and_its_management_form() {
    let cases: &[(&[&str], &[&str])] = &[
        (&["container", "stop", "x"], &["stop"]),
        (&["container", "ls"], &["ps"]),
        (&["container", "list"], &["ps"]),
        (&["container", "ps"], &["ps"]),
        (&["container", "rm", "x"], &["rm"]),
        (&["container", "remove", "x"], &["rm"]),
        (&["container", "inspect", "x"], &["container", "inspect"]),
        (&["image", "ls"], &["images"]),
        (&["image", "list"], &["images"]),
        (&["image", "rm", "x"], &["rmi"]),
        (&["image", "pull", "x"], &["pull"]),
        (&["volume", "ls"], &["volume", "ls"]),
        (&["volume", "list"], &["volume", "ls"]),
        (&["system", "info"], &["info"]),
        (&["--debug", "ps"], &["ps"]),
        (&["--root", "/tmp/ps", "images"], &["images"]),
        (&["run", "ps", "rm"], &["run"]),
        (&["exec", "ps", "rm"], &["exec"]),
    ];
    for (line, expected) in cases {
        assert_eq!(path(line), *expected, "{line:?}");
    }
}

#[test]
fn the_first_word_that_is_no_flag_ends_the_flags() {
    let args = container(&[
        "run", "-i", "alpine", "sh", "-c", "-x", "--rm", "--name=y", "--",
    ]);

    assert_eq!(
        args.words,
        ["alpine", "sh", "-c", "-x", "--rm", "--name=y", "--"]
    );
    assert!(!args.rm && args.name.is_none());
    assert_eq!(
        container(&["run", "--", "alpine", "-l"]).words,
        ["alpine", "-l"]
    );
    assert_eq!(
        container(&["run", "alpine", "--version"]).words,
        ["alpine", "--version"]
    );
    assert_eq!(container(&["run", "alpine", "-h"]).words, ["alpine", "-h"]);
}

#[test]
fn short_flags_combine_and_values_may_be_glued_to_them() {
    let args = container(&[
        "run",
        "-itp8080:80",
        "-eA=1",
        "-e",
        "B=2",
        "-w/srv",
        "-hbox",
        "-m64m",
        "x",
    ]);

    assert_eq!((args.interactive, args.tty), (Some(true), Some(true)));
    assert_eq!(args.publish[0].0[0].host_port, 8080);
    let set = |pair: &str| EnvVar::Set(pair.to_owned());
    assert_eq!(args.env, [set("A=1"), set("B=2")]);
    assert_eq!(args.workdir.as_deref(), Some("/srv"));
    assert_eq!(args.hostname.as_deref(), Some("box"));
    assert!(matches!(args.memory, Some(Memory(Some(size))) if size.bytes() == 64 << 20));
}

#[test]
fn booleans_take_a_value_and_the_last_one_wins() {
    let cases: &[(&[&str], bool)] = &[
        (&["run", "x"], false),
        (&["run", "--rm", "x"], true),
        (&["run", "--rm=true", "x"], true),
        (&["run", "--rm=false", "x"], false),
        (&["run", "--rm=0", "x"], false),
        (&["run", "--rm", "--rm=false", "x"], false),
        (&["run", "--rm=false", "--rm", "x"], true),
        (&["run", "--rm", "--rm", "x"], true),
    ];
    for (line, expected) in cases {
        assert_eq!(container(line).rm, *expected, "{line:?}");
    }
    assert_eq!(container(&["run", "-it=false", "x"]).tty, Some(false));
    assert_eq!(container(&["run", "--tty=false", "x"]).interactive, None);
    let named = container(&["run", "--name", "aa", "--name=bb", "x"]);
    assert_eq!(named.name.map(String::from).as_deref(), Some("bb"));
}

#[test]
fn negative_numbers_are_values_where_they_mean_something() {
    assert_eq!(
        container(&["run", "--pids-limit", "-1", "x"]).pids_limit,
        Some(PidsLimit(None))
    );
    assert_eq!(
        container(&["run", "--pids-limit=7", "x"]).pids_limit,
        Some(PidsLimit(Some(7)))
    );
    assert_eq!(path(&["stop", "-t", "-1", "x"]), ["stop"]);
    assert_eq!(path(&["stop", "-t-1", "x"]), ["stop"]);
    assert_eq!(path(&["logs", "--tail", "-1", "x"]), ["logs"]);
}

#[test]
fn an_unknown_flag_is_refused_with_the_nearest_one() {
    let cases: &[(&[&str], &str, &str)] = &[
        (
            &["run", "--detahc", "x"],
            "unknown flag --detahc",
            "did you mean `--detach`?",
        ),
        (
            &["ps", "--fromat", "x"],
            "unknown flag --fromat",
            "did you mean `--format`?",
        ),
        (&["ps", "-x"], "unknown flag -x", "see `rocker ps --help`"),
        (
            &["--rooot", "x", "ps"],
            "unknown flag --rooot",
            "did you mean `--root`?",
        ),
        (
            &["container", "stop", "--tmie=3", "x"],
            "unknown flag --tmie",
            "did you mean `--time`?",
        ),
    ];
    for (line, message, hint) in cases {
        let error = refused(line);
        assert_eq!(error.message, *message, "{line:?}");
        assert_eq!(error.hint.as_deref(), Some(*hint), "{line:?}");
        assert_eq!(error.fault, Fault::Flag, "{line:?}");
    }
}

#[test]
fn words_missing_or_too_many_are_no_fault_of_a_flag() {
    let cases: &[(&[&str], &str)] = &[
        (&["frobnicate"], "unknown command \"frobnicate\""),
        (
            &["container", "frobnicate"],
            "unknown command \"frobnicate\"",
        ),
        (&["run"], "missing IMAGE"),
        (&["rm"], "missing CONTAINER"),
        (&["exec", "web"], "missing COMMAND"),
        (&["attach", "a1", "b1"], "one argument too many: \"b1\""),
        (&["container"], "missing command"),
        (
            &["completion", "tcsh"],
            "SHELL: invalid value \"tcsh\": want one of bash, elvish, fish, powershell, zsh",
        ),
    ];
    for (line, message) in cases {
        let error = refused(line);
        assert_eq!(
            (error.message.as_str(), error.fault),
            (*message, Fault::Words),
            "{line:?}"
        );
    }
    assert_eq!(
        refused(&["imagse"]).hint.as_deref(),
        Some("did you mean `images`?")
    );
}

/// Flags of `run` with values that they cannot take.
const BAD_VALUES: &[(&str, &str)] = &[
    ("-m", "1 g"),
    ("-m", "0x10"),
    ("-m", "4m"),
    ("-m", "18446744073709551616"),
    ("-m", "٣m"),
    ("-m", ""),
    ("-m", "-5"),
    ("--cpus", "-1"),
    ("--cpus", "NaN"),
    ("--cpus", "inf"),
    ("--cpus", "1e-9"),
    ("--cpus", "100000"),
    ("--cpus", ""),
    ("-p", "0"),
    ("-p", "65536"),
    ("-p", "80:80:80"),
    ("-p", "::1:80:80"),
    ("-p", "8000-8002:80-81"),
    ("-p", "80/sctpp"),
    ("-p", ""),
    ("-v", ""),
    ("-v", ":"),
    ("-v", "rel:abs"),
    ("-v", "a:b:c:d"),
    ("-v", "/:/"),
    ("-v", "/a:/b:ro,rw"),
    ("-v", "/a:/b:nonsense"),
    ("--name", "a"),
    ("--name", "a/b"),
    ("--name", ""),
    ("--name", "ä1"),
    ("-e", "=x"),
    ("-e", ""),
    ("--label", "=x"),
    ("-w", "srv"),
    ("-w", ""),
    ("--restart", "x"),
    ("--restart", "on-failure:-1"),
    ("--restart", "x:-1"),
    ("--cap-add", "NET_ADMINN"),
    ("--cap-drop", ""),
    ("--stop-signal", "65"),
    ("--stop-signal", "NOPE"),
    ("--stop-signal", "0"),
    ("--pids-limit", "-2"),
    ("--pids-limit", "x"),
    ("--network", "nowhere"),
    ("--pull", "sometimes"),
    ("--hostname", ""),
    ("--hostname", "a b"),
    ("--hostname", "a..b"),
    ("--hostname", "-x"),
    ("--tmpfs", "relative"),
    ("--tmpfs", "/t:sise=1m"),
    ("--user", "4294967296"),
    ("--entrypoint", "[\"a\""),
    ("--rm", "maybe"),
    ("--tty", "2"),
    ("--detach-keys", "ctrl-1"),
    ("--attach", "stdino"),
];

#[test]
fn a_bad_value_is_refused_with_the_flag_and_the_value() {
    for &(flag, value) in BAD_VALUES {
        let joined = format!("{flag}={value}");
        // A flag that needs no value takes one only after an equals sign.
        let line = match flag {
            "--rm" | "--tty" => vec!["run", &joined, "x"],
            _ => vec!["run", flag, value, "x"],
        };
        let error = refused(&line);
        let long = container_flag(flag);
        assert_eq!(error.fault, Fault::Flag, "{line:?}: {error:?}");
        assert!(error.message.contains(long), "{line:?}: {error:?}");
        let quoted = format!("{value:?}");
        assert!(
            error.message.contains(&quoted) || value.is_empty() || error.message.contains(value),
            "{line:?}: {error:?}"
        );
        assert!(!error.message.contains('\n'), "{line:?}: {error:?}");
    }
}

/// The long name, which errors use.
fn container_flag(flag: &str) -> &str {
    match flag {
        "-m" => "--memory",
        "-p" => "--publish",
        "-v" => "--volume",
        "-e" => "--env",
        "-w" => "--workdir",
        long => long,
    }
}

#[test]
fn a_flag_without_its_value_is_named() {
    assert_eq!(refused(&["run", "--name"]).message, "--name needs a value");
    assert_eq!(refused(&["run", "-e"]).message, "--env needs a value");
}

#[test]
fn help_is_for_the_command_that_was_named() {
    let help = |line: &[&str]| match parse(&words(line)) {
        Ok(Parsed::Help(text)) => text,
        other => panic!("{line:?} was understood as {other:?}"),
    };
    assert!(help(&["--help"]).contains("Run containers without a daemon"));
    assert!(help(&[]).contains("Run containers without a daemon"));
    let run = help(&["run", "--help"]);
    assert!(
        run.contains("--hostname") && run.contains("Examples:"),
        "{run}"
    );
    assert!(
        !run.contains("--rm["),
        "flags without a value are shown as such: {run}"
    );
    assert_eq!(help(&["help", "run"]), run);
    assert_eq!(help(&["help"]), help(&["--help"]));
    assert!(help(&["help", "container", "ls"]).contains("--no-trunc"));
    let unknown = refused(&["help", "frobnicate"]);
    assert_eq!(unknown.message, "unknown command \"frobnicate\"");
    assert!(help(&["container", "ls", "--help"]).contains("--no-trunc"));
    assert!(help(&["ps", "-h"]).contains("--no-trunc"));
    let root = help(&["-h"]);
    assert!(!root.contains("__"), "hidden commands stay hidden: {root}");
}

#[test]
fn the_version_is_told() {
    for line in [["-v"], ["--version"]] {
        assert!(
            matches!(parse(&words(&line)), Ok(Parsed::Version)),
            "{line:?}"
        );
    }
}
