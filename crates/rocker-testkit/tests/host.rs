//! The leak checker finds each kind of thing that a test could leave behind, and nothing else.

use std::process::{Command, Stdio};

use rocker_testkit::host::run_program;
use rocker_testkit::{Host, require};

const ID: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

/// What the checker says after `plant`, without the plant's own kind of noise.
fn found_after(host: &Host, plant: impl FnOnce()) -> Vec<String> {
    let before = host.snapshot();
    plant();
    before.difference(&host.snapshot())
}

#[test]
fn a_host_on_which_nothing_happened_is_clean() {
    let host = require!(Host::privileged("/bin/echo"));

    let output = host.rocker(["hello"]);

    assert_eq!(output.exit_code, 0, "{output:?}");
    assert!(output.stdout.ends_with("hello\n"), "{output:?}");
    host.assert_nothing_left_behind();
}

#[test]
fn links_addresses_and_routes_are_found() {
    let host = require!(Host::privileged("/bin/echo"));

    let lines = found_after(&host, || {
        run_program(&["ip", "link", "add", "rkleak", "type", "bridge"]);
        run_program(&["ip", "address", "add", "198.51.100.1/24", "dev", "rkleak"]);
        run_program(&["ip", "link", "set", "rkleak", "up"]);
    });

    for expected in ["+ link rkleak -", "+ address rkleak 198.51.100.1/24"] {
        assert!(
            lines.iter().any(|line| line == expected),
            "{expected}: {lines:#?}"
        );
    }
    assert!(
        lines
            .iter()
            .any(|line| line.starts_with("+ route 198.51.100.0/24 dev rkleak")),
        "{lines:#?}"
    );
}

#[test]
fn a_table_and_a_rule_are_found_and_counters_are_not() {
    let host = require!(Host::privileged("/bin/echo"));

    let lines = found_after(&host, || {
        run_program(&[
            "nft",
            "add table ip leak; add chain ip leak c; add rule ip leak c counter accept",
        ]);
    });

    assert_eq!(
        lines
            .iter()
            .filter(|line| line.starts_with("+ nft "))
            .count(),
        3,
        "{lines:#?}"
    );
    assert!(
        lines.iter().all(|line| !line.contains("packets")),
        "{lines:#?}"
    );
}

#[test]
fn a_cgroup_of_an_id_that_came_and_went_is_found() {
    let host = require!(Host::privileged("/bin/echo"));
    // The directory of a container that lived only for the length of one command.
    fs_err::create_dir(host.runroot().join(ID)).expect("a directory");
    fs_err::remove_dir(host.runroot().join(ID)).expect("it is empty");
    let hierarchy = ["/sys/fs/cgroup/pids", "/sys/fs/cgroup"]
        .into_iter()
        .find(|path| fs_err::metadata(path).is_ok());
    let cgroup = format!("{}/{ID}", hierarchy.expect("a cgroup file system"));

    let lines = found_after(&host, || fs_err::create_dir(&cgroup).expect("a cgroup"));
    fs_err::remove_dir(&cgroup).expect("an empty cgroup");

    assert_eq!(lines, [format!("+ cgroup {cgroup}")]);
}

#[test]
fn files_sockets_mounts_and_rows_are_found_and_databases_and_locks_are_not() {
    let host = require!(Host::privileged("/bin/echo"));
    let runroot = host.runroot();

    let lines = found_after(&host, || {
        fs_err::create_dir_all(host.root().join("tmp/staging")).expect("a directory");
        fs_err::create_dir_all(host.root().join("containers")).expect("a directory");
        fs_err::create_dir_all(host.root().join("layers/0123/deep")).expect("a directory");
        fs_err::create_dir_all(runroot.join(ID)).expect("a directory");
        fs_err::write(runroot.join("network.lock"), "").expect("a file");
        let database = rusqlite::Connection::open(runroot.join("live.db")).expect("a database");
        database
            .execute_batch(
                "CREATE TABLE lease (a); CREATE TABLE port (a); INSERT INTO lease VALUES (1)",
            )
            .expect("sql");
        run_program(&[
            "mount",
            "-t",
            "tmpfs",
            "leak",
            &host.root().join("tmp").to_string_lossy(),
        ]);
    });

    let tmp = host.root().join("tmp");
    assert_eq!(
        lines,
        [
            &format!("+ file run/{ID}"),
            "+ layer 0123",
            &format!("+ mount {} tmpfs leak", tmp.display()),
            "+ rows live.db lease 1",
        ]
    );
    run_program(&["umount", &tmp.to_string_lossy()]);
}

#[test]
fn a_daemon_is_found_and_a_child_of_the_test_is_not() {
    let host = require!(Host::privileged("/bin/echo"));

    let mut child = Command::new("sleep")
        .arg("1000")
        .stdin(Stdio::null())
        .spawn()
        .expect("sleep starts");
    let own = host.snapshot();
    let lines = found_after(&host, || {
        // Its parent ends at once, so it belongs to nobody here.
        run_program(&["sh", "-c", "sleep 1000 >/dev/null 2>&1 & echo $!"]);
    });
    child.kill().expect("our own child");
    child.wait().expect("our own child");

    assert!(!format!("{own:?}").contains("process "), "{own:#?}");
    assert_eq!(lines.len(), 1, "{lines:#?}");
    let pid = lines[0]
        .strip_prefix("+ process ")
        .and_then(|line| line.strip_suffix(" sleep"))
        .expect("the sleep");
    run_program(&["kill", pid]);
}

#[test]
fn a_terminal_is_the_controlling_one_and_follows_its_window() {
    let host = require!(Host::privileged("/bin/echo"));
    let script = host.scratch().join("shell");
    fs_err::write(
        &script,
        "#!/bin/sh\nexec busybox sh -c 'stty size; tty </dev/tty; read x; stty size; exit 3'\n",
    )
    .expect("a script");
    run_program(&["chmod", "755", &script.to_string_lossy()]);
    let shell = require!(Host::privileged(&script.to_string_lossy()));

    let mut terminal = shell.terminal([]);
    terminal.await_text("24 80");
    terminal.await_text("/dev/");
    terminal.resize(40, 132);
    terminal.type_in("\r");
    terminal.await_text("40 132");

    assert_eq!(terminal.wait(), 3);
}
