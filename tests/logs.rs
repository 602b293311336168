//! logs: what a container has said, again and as it says it.

use rocker_testkit::require;
use serde_json::Value;

use crate::{HONOURS_TERM, host, inspect};

#[test]
fn logs_give_back_both_streams_the_tail_and_times() {
    let host = require!(host());
    let image = host.busybox();
    let id = host.ok([
        "run",
        "-d",
        &image,
        "sh",
        "-c",
        "for i in 1 2 3 4 5; do echo out $i; done; echo err >&2; printf 'no end'",
    ]);
    host.ok(["wait", &id]);

    let all = host.rocker(["logs", &id]);
    let tail = host.rocker(["logs", "--tail", "2", &id]);
    let timed = host.ok(["logs", "-t", &id]);

    assert_eq!(
        all.stdout, "out 1\nout 2\nout 3\nout 4\nout 5\nno end",
        "{all:?}"
    );
    assert_eq!(all.stderr, "err\n", "{all:?}");
    // The last two lines of both streams together: which they are depends on how the two pipes were
    // read, but of each stream they are its last ones.
    assert!(
        [("5\nno end", ""), ("no end", "err\n")]
            .iter()
            .any(|(out, err)| tail.stdout.ends_with(out) && tail.stderr == *err),
        "{tail:?}"
    );
    assert_eq!(
        tail.stdout.lines().count() + tail.stderr.lines().count(),
        2,
        "{tail:?}"
    );
    for line in timed.lines() {
        let (time, _) = line.split_once(' ').expect("a time and a text");
        assert!(
            time.starts_with("20") && time.ends_with('Z') && time.contains('T'),
            "{line}"
        );
    }
    host.ok(["rm", &id]);
    host.assert_nothing_left_behind();
}

#[test]
fn logs_follow_a_container_to_its_end_and_no_further() {
    let host = require!(host());
    let image = host.busybox();
    let id = host.ok([
        "run",
        "-d",
        &image,
        "sh",
        "-c",
        &format!("echo early; {HONOURS_TERM}"),
    ]);

    let follower = host.command(["logs", "-f", &id]).spawn();
    follower.await_stdout("early\n");
    follower.await_stdout("ready\n");
    host.ok(["exec", &id, "sh", "-c", "echo late >/proc/1/fd/1"]);
    follower.await_stdout("late\n");
    host.ok(["stop", &id]);
    let output = follower.finish();

    assert_eq!(
        (output.exit_code, output.stdout.as_str()),
        (0, "early\nready\nlate\n"),
        "{output:?}"
    );
    host.ok(["rm", &id]);
    host.assert_nothing_left_behind();
}

#[test]
fn the_log_file_is_in_dockers_format_and_bounded() {
    let host = require!(host());
    let image = host.busybox();
    // 62 MB of text; the bound is three files of 10 MiB each.
    let id = host.ok([
        "run",
        "-d",
        &image,
        "sh",
        "-c",
        "echo first; yes 'a line of some forty bytes, over and over' | head -n 1400000; echo last",
    ]);
    host.ok(["wait", &id]);

    let path = inspect(&host, &id, "{{.LogPath}}");
    let text = fs_err::read_to_string(&path).expect("a log");
    for line in text.lines() {
        let entry: Value = serde_json::from_str(line).expect("a JSON line");
        let keys: Vec<_> = entry.as_object().expect("an object").keys().collect();
        assert_eq!(keys, ["log", "stream", "time"], "{line}");
    }
    let directory = std::path::Path::new(&path).parent().expect("a directory");
    let sizes: Vec<u64> = fs_err::read_dir(directory)
        .expect("the log's directory")
        .flatten()
        .filter(|entry| entry.path().to_string_lossy().starts_with(&path))
        .map(|entry| entry.metadata().expect("a file").len())
        .collect();
    let logs = host.ok(["logs", "--tail", "1", &id]);

    assert!(sizes.len() <= 3, "{sizes:?}");
    assert!(
        sizes
            .iter()
            .all(|size| *size <= 10 * 1024 * 1024 + 16 * 1024),
        "{sizes:?}"
    );
    assert_eq!(logs, "last");
    host.ok(["rm", &id]);
    host.assert_nothing_left_behind();
}
