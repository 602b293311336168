//! Which lines a reader gets.

use super::*;

#[test]
fn a_time_stands_before_every_line_but_not_within_a_long_one() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = writer(directory.path(), LARGE);

    log.write(
        Stream::Stdout,
        format!("{}\nb\n", "x".repeat(20_000)).as_bytes(),
    );
    let options = ReadOptions {
        timestamps: true,
        ..ReadOptions::default()
    };
    let (stdout, _) = copied(directory.path(), options);

    let lines: Vec<_> = stdout.lines().collect();
    let (time, rest) = lines[0].split_once(' ').unwrap();
    assert_eq!((time.len(), rest.len()), (30, 20_000), "{time}");
    assert_eq!(lines[1].split_once(' ').unwrap().1, "b");
    assert_eq!(lines.len(), 2);
}

#[test]
fn the_tail_is_found_across_files() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = writer(
        directory.path(),
        LogLimits {
            max_bytes: 1000,
            max_files: 50,
        },
    );
    log.write(Stream::Stdout, &numbered(100));
    let all: Vec<_> = String::from_utf8(numbered(100))
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect();

    for count in [0, 1, 2, 9, 10, 11, 50, 99, 100, 101, u64::MAX] {
        let kept = text(directory.path(), last(count));
        let from = all.len().saturating_sub(usize::try_from(count).unwrap());
        assert_eq!(
            kept.lines().collect::<Vec<_>>(),
            all[from..],
            "tail {count}"
        );
    }
}

#[test]
fn since_and_until_choose_by_time() {
    let directory = tempfile::tempdir().unwrap();
    let entry = |second: u32| {
        format!(
            r#"{{"log":"{second}\n","stream":"stdout","time":"2026-01-01T00:00:{second:02}Z"}}"#
        )
    };
    let content: String = (0..5).map(|second| entry(second) + "\n").collect();
    fs_err::write(files(directory.path()).current(), content).unwrap();
    let at = |second: u32| Some(format!("2026-01-01T00:00:{second:02}Z").parse().unwrap());

    let cases = [
        (None, None, "0\n1\n2\n3\n4\n"),
        (at(3), None, "3\n4\n"),
        (None, at(1), "0\n1\n"),
        (at(1), at(2), "1\n2\n"),
        (at(9), None, ""),
    ];
    for (since, until, expected) in cases {
        let options = || ReadOptions {
            since,
            until,
            ..ReadOptions::default()
        };
        assert_eq!(text(directory.path(), options()), expected);
        assert_eq!(copied(directory.path(), options()).0, expected);
    }
}

#[test]
fn torn_and_foreign_lines_are_skipped() {
    let directory = tempfile::tempdir().unwrap();
    let good = |text: &str| {
        format!(r#"{{"log":"{text}\n","stream":"stdout","time":"2026-01-01T00:00:00Z"}}"#)
    };
    let huge = "z".repeat(3 << 20);
    let content = format!(
        "{}\n{{\"log\":\"half{}\n\n{huge}\nno json\n{}\n{{\"log\":\"being writt",
        good("a"),
        good("b"),
        good("c")
    );
    fs_err::write(files(directory.path()).current(), content).unwrap();

    assert_eq!(text(directory.path(), ReadOptions::default()), "a\nc\n");
    assert_eq!(copied(directory.path(), ReadOptions::default()).0, "a\nc\n");
}

#[test]
fn a_follower_gets_every_line_across_rotations_and_ends_with_the_writer() {
    const LINES: usize = 20_000;
    let directory = tempfile::tempdir().unwrap();
    // Enough files that a slow follower loses nothing: how much is kept is another test's matter.
    let mut log = writer(
        directory.path(),
        LogLimits {
            max_bytes: 20_000,
            max_files: 1000,
        },
    );
    log.write(Stream::Stdout, b"before\n");
    let (gone, alive) = rustix::pipe::pipe().unwrap();
    let follow = Follow::WhileAlive(gone);
    let options = ReadOptions {
        follow,
        ..ReadOptions::default()
    };
    let path = directory.path().to_owned();
    let follower = std::thread::spawn(move || copied(&path, options).0);

    for i in 0..LINES {
        log.write(Stream::Stdout, format!("line {i}\n").as_bytes());
    }
    drop(alive);

    let expected = format!("before\n{}", String::from_utf8(numbered(LINES)).unwrap());
    assert!(
        follower.join().unwrap() == expected,
        "lines were lost, doubled or torn"
    );
}

#[test]
fn a_follower_of_new_lines_waits_for_the_first() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = writer(directory.path(), LARGE);
    log.write(Stream::Stdout, b"old\n");
    let (gone, alive) = rustix::pipe::pipe().unwrap();
    let options = ReadOptions {
        follow: Follow::WhileAlive(gone),
        ..last(0)
    };
    let mut reader = LogReader::open(files(directory.path()), options).unwrap();

    log.write(Stream::Stdout, b"new\n");

    assert_eq!(
        reader.next().unwrap().map(|entry| entry.text.to_vec()),
        Some(b"new\n".to_vec())
    );
    drop(alive);
    assert_eq!(reader.next().unwrap(), None);
}

#[test]
fn following_ends_when_its_time_is_up() {
    let directory = tempfile::tempdir().unwrap();
    writer(directory.path(), LARGE).write(Stream::Stdout, b"in time\n");
    let (gone, _alive) = rustix::pipe::pipe().unwrap();
    let until = Some(Timestamp::now());

    let options = ReadOptions {
        follow: Follow::WhileAlive(gone),
        until,
        ..ReadOptions::default()
    };

    assert_eq!(text(directory.path(), options), "in time\n");
}

#[test]
fn a_log_that_is_not_there_is_an_error_that_names_it() {
    let directory = tempfile::tempdir().unwrap();
    let missing = LogFiles::new(directory.path().join("none"), "log");

    let read = LogReader::open(missing.clone(), ReadOptions::default())
        .unwrap_err()
        .to_string();
    let write = LogWriter::open(missing, LARGE).unwrap_err().to_string();

    assert!(
        read.contains("none/log") && write.contains("none/log"),
        "{read} {write}"
    );
}
