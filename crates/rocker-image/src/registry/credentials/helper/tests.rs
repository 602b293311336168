use std::os::unix::fs::PermissionsExt as _;

use super::*;

/// A helper that is a shell script, called by its path.
fn helper(script: &str, patience: Duration) -> (tempfile::TempDir, Helper) {
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("docker-credential-test");
    fs_err::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs_err::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let program = program.to_string_lossy().into_owned();
    (directory, Helper { program, patience })
}

fn get(script: &str) -> Result<Option<Credential>, HelperError> {
    let (_directory, helper) = helper(script, PATIENCE);
    helper.get("quay.io")
}

#[test]
fn answers_are_read() {
    let basic = Credential::Basic {
        username: "ann".to_owned(),
        password: "pw".to_owned(),
    };
    let answer = r#"echo '{"ServerURL":"x","Username":"ann","Secret":"pw"}'"#;
    let cases = [
        (answer.to_owned(), Some(basic.clone())),
        (
            format!("[ $# $1 $(cat) = '1 get quay.io' ]; {answer}"),
            Some(basic),
        ),
        (
            r#"echo '{"Username":"<token>","Secret":"refresh"}'"#.to_owned(),
            Some(Credential::Identity("refresh".to_owned())),
        ),
        (
            r#"echo '{"ServerURL":"x","Username":"","Secret":""}'"#.to_owned(),
            None,
        ),
        (format!("echo {NOT_FOUND}; exit 1"), None),
    ];
    for (script, expected) in cases {
        assert_eq!(get(&script).unwrap(), expected, "{script}");
    }
}

#[test]
fn what_a_helper_reads_is_what_it_was_given() {
    let (directory, helper) = helper("cat >\"$(dirname \"$0\")/$1\"", PATIENCE);
    helper.store("quay.io", "ann", "p\"w").unwrap();
    helper.erase("quay.io").unwrap();
    let read = |name| fs_err::read_to_string(directory.path().join(name)).unwrap();
    assert_eq!(
        read("store"),
        r#"{"ServerURL":"quay.io","Username":"ann","Secret":"p\"w"}"#
    );
    assert_eq!(read("erase"), "quay.io");
}

#[test]
fn failures_are_told_without_the_secret() {
    let cases = [
        (
            "echo the keyring is locked; exit 1",
            "the keyring is locked",
        ),
        ("echo '{\"Secret\":\"hunter2\"}'; exit 1", "refused get"),
        ("echo hunter2", "not its JSON"),
        ("echo '[\"hunter2\"]'", "not its JSON"),
        ("cat /dev/zero", "more than 49152 bytes"),
        ("kill -9 $$", "refused get"),
    ];
    for (script, words) in cases {
        let error = get(script).unwrap_err().to_string();
        assert!(
            error.contains(words) && !error.contains("hunter2"),
            "{script}: {error}"
        );
    }
    let (_directory, helper) = helper("cat; exit 1", PATIENCE);
    let error = helper.store("quay.io", "ann", "hunter2").unwrap_err();
    assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
}

#[test]
fn a_helper_that_hangs_is_ended() {
    let (_directory, helper) = helper("exec sleep 1000", Duration::from_millis(100));
    let error = helper.get("quay.io").unwrap_err();
    assert!(matches!(error, HelperError::Silent { .. }), "{error}");
}

#[test]
fn a_helper_that_leaves_something_running_is_not_waited_for() {
    let answer = r#"sleep 10 2>/dev/null & echo '{"Username":"a","Secret":"b"}'"#;
    let start = Instant::now();
    assert!(get(answer).unwrap().is_some());
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn names_are_words() {
    for name in ["", "../x", "a/b", "a b", "x\0", &"x".repeat(65)] {
        assert!(Helper::named(name).is_err(), "{name:?}");
    }
    let missing = Helper::named("nobody-has-this").unwrap();
    let error = missing.get("quay.io").unwrap_err();
    assert!(error.hint().is_some_and(|hint| hint.contains("PATH")));
}
