//! Writer and reader together, on real files.

use std::path::Path;

use jiff::Timestamp;
use proptest::prelude::*;

use super::*;

const LARGE: LogLimits = LogLimits {
    max_bytes: 1 << 30,
    max_files: 2,
};

fn files(directory: &Path) -> LogFiles {
    LogFiles::new(directory, "x-json.log")
}

fn writer(directory: &Path, limits: LogLimits) -> LogWriter {
    LogWriter::open(files(directory), limits).unwrap()
}

fn read(directory: &Path, options: ReadOptions) -> Vec<(Stream, String)> {
    let mut reader = LogReader::open(files(directory), options).unwrap();
    let mut entries = Vec::new();
    while let Some(entry) = reader.next().unwrap() {
        entries.push((
            entry.stream,
            String::from_utf8(entry.text.to_vec()).unwrap(),
        ));
    }
    entries
}

fn text(directory: &Path, options: ReadOptions) -> String {
    read(directory, options)
        .into_iter()
        .map(|(_, text)| text)
        .collect()
}

fn copied(directory: &Path, options: ReadOptions) -> (String, String) {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let mut reader = LogReader::open(files(directory), options).unwrap();
    reader.copy_to(&mut stdout, &mut stderr).unwrap();
    (
        String::from_utf8(stdout).unwrap(),
        String::from_utf8(stderr).unwrap(),
    )
}

fn last(count: u64) -> ReadOptions {
    ReadOptions {
        tail: Tail::Last(count),
        ..ReadOptions::default()
    }
}

fn numbered(count: usize) -> Vec<u8> {
    (0..count)
        .flat_map(|i| format!("line {i}\n").into_bytes())
        .collect()
}

/// What becomes of bytes that are not UTF-8: each one a U+FFFD, like in Go.
fn lossy(bytes: &[u8]) -> String {
    let chunk_text = |chunk: std::str::Utf8Chunk<'_>| {
        format!(
            "{}{}",
            chunk.valid(),
            "\u{fffd}".repeat(chunk.invalid().len())
        )
    };
    bytes.utf8_chunks().map(chunk_text).collect()
}

#[test]
fn a_line_in_the_file_is_dockers_byte_for_byte() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = writer(directory.path(), LARGE);

    log.write(Stream::Stderr, b"caf\xc3\xa9 <b> \"q\"\r\n");

    let content = fs_err::read_to_string(files(directory.path()).current()).unwrap();
    let start = r#"{"log":"café \u003cb\u003e \"q\"\r\n","stream":"stderr","time":""#;
    let time = content
        .strip_prefix(start)
        .unwrap()
        .strip_suffix("\"}\n")
        .unwrap();
    assert!(
        time.ends_with('Z') && time.parse::<Timestamp>().is_ok(),
        "{time}"
    );
}

#[test]
fn a_long_line_becomes_pieces_of_16_kib_with_one_time() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = writer(directory.path(), LARGE);
    let line = "x".repeat(40_000);

    log.write(Stream::Stdout, line.as_bytes());
    log.write(Stream::Stdout, b"\nnext\n");

    let mut reader = LogReader::open(files(directory.path()), ReadOptions::default()).unwrap();
    let mut pieces = Vec::new();
    while let Some(entry) = reader.next().unwrap() {
        pieces.push((entry.text.len(), entry.time.to_owned()));
    }
    let lengths: Vec<_> = pieces.iter().map(|(len, _)| *len).collect();
    assert_eq!(lengths, [16384, 16384, 40_000 - 2 * 16384 + 1, 5]);
    assert!(
        pieces[..3].iter().all(|(_, time)| *time == pieces[0].1),
        "{pieces:?}"
    );
    assert_eq!(
        copied(directory.path(), ReadOptions::default()).0,
        format!("{line}\nnext\n")
    );
}

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
fn output_without_a_newline_is_kept_as_it_is_at_the_end() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = writer(directory.path(), LARGE);

    log.write(Stream::Stdout, b"prompt> ");
    log.write(Stream::Stderr, b"oops");
    assert_eq!(read(directory.path(), ReadOptions::default()), []);
    log.finish();

    let expected = [
        (Stream::Stdout, "prompt> ".to_owned()),
        (Stream::Stderr, "oops".to_owned()),
    ];
    assert_eq!(read(directory.path(), ReadOptions::default()), expected);
}

#[test]
fn files_stay_within_their_limit_and_keep_the_newest_lines() {
    for max_files in [0, 1, 2, 5] {
        let directory = tempfile::tempdir().unwrap();
        let mut log = writer(
            directory.path(),
            LogLimits {
                max_bytes: 4096,
                max_files,
            },
        );
        log.write(Stream::Stdout, &numbered(100_000));

        let names = fs_err::read_dir(directory.path()).unwrap();
        let sizes: Vec<_> = names
            .map(|entry| entry.unwrap().metadata().unwrap().len())
            .collect();
        assert!(sizes.iter().all(|&size| size <= 4096), "{sizes:?}");
        assert_eq!(sizes.len(), usize::try_from(max_files.max(1)).unwrap());
        let kept = text(directory.path(), ReadOptions::default());
        assert!(!kept.is_empty());
        assert!(
            numbered(100_000).ends_with(kept.as_bytes()),
            "{max_files} files"
        );
    }
}

#[test]
fn a_line_longer_than_a_file_is_kept_alone() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = writer(
        directory.path(),
        LogLimits {
            max_bytes: 100,
            max_files: 3,
        },
    );
    let long = format!("{}\n", "y".repeat(500));

    log.write(Stream::Stdout, format!("a\n{long}b\n").as_bytes());

    assert_eq!(
        text(directory.path(), ReadOptions::default()),
        format!("a\n{long}b\n")
    );
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
fn a_line_that_a_killed_writer_left_torn_is_removed_by_the_next_one() {
    let directory = tempfile::tempdir().unwrap();
    writer(directory.path(), LARGE).write(Stream::Stdout, b"whole\n");
    let path = files(directory.path()).current();
    let whole = fs_err::read(&path).unwrap();
    fs_err::write(&path, [&whole[..], &[b'{'; 10_000]].concat()).unwrap();

    writer(directory.path(), LARGE).write(Stream::Stdout, b"after\n");

    let content = fs_err::read(&path).unwrap();
    assert!(content.starts_with(&whole) && content[whole.len()..].starts_with(b"{\"log\":\"after"));
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

/// Runs `test` of this binary again in a mount namespace of its own, below a full file system.
fn with_tiny_file_system(test: &str) -> bool {
    let mount = tempfile::tempdir().unwrap();
    let script =
        "mount -t tmpfs -o size=256k none \"$TINY\" && exec \"$0\" --exact --nocapture \"$1\"";
    let output = std::process::Command::new("unshare")
        .args(["--mount", "sh", "-c", script])
        .arg(std::env::current_exe().unwrap())
        .arg(test)
        .env("TINY", mount.path())
        .output();
    let output = output.unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    if !output.status.success() && stderr.contains("unshare") | stderr.contains("mount:") {
        let strict = std::env::var_os("ROCKER_TEST_STRICT").is_some_and(|value| value == "1");
        assert!(!strict, "cannot mount: {stderr}");
        eprintln!("skipped, cannot mount: {stderr}");
        return false;
    }
    assert!(
        output.status.success(),
        "{stderr}{}",
        String::from_utf8_lossy(&output.stdout)
    );
    true
}

#[test]
fn a_full_disk_costs_lines_but_never_tears_one() {
    let Some(tiny) = std::env::var_os("TINY") else {
        with_tiny_file_system("logs::tests::a_full_disk_costs_lines_but_never_tears_one");
        return;
    };
    let directory = Path::new(&tiny);
    let ballast = directory.join("ballast");
    fs_err::write(&ballast, vec![0; 100 * 1024]).unwrap();
    let mut log = writer(directory, LARGE);

    log.write(Stream::Stdout, &numbered(5000));
    let dropped = log.dropped_lines();
    assert!(dropped > 0 && dropped < 5000, "{dropped}");
    let content = fs_err::read_to_string(files(directory).current()).unwrap();
    assert!(content.ends_with('\n') && content.lines().all(|line| line.ends_with("Z\"}")));
    fs_err::remove_file(ballast).unwrap();
    log.write(Stream::Stdout, b"room again\n");

    let entries = read(directory, ReadOptions::default());
    let [.., (Stream::Stderr, notice), (Stream::Stdout, after)] = &entries[..] else {
        panic!("{entries:?}");
    };
    assert!(
        notice.starts_with(&format!("rocker: {dropped} log lines")),
        "{notice}"
    );
    assert_eq!(after, "room again\n");
    assert_eq!(entries.len() as u64, 5000 - dropped + 2);
}

/// One byte many times; of newlines fewer, because each is an entry, and a rotation costs more the
/// more files there are.
fn run((len, byte): (usize, u8)) -> Vec<u8> {
    vec![byte; if byte == b'\n' { len / 100 } else { len }]
}

fn output() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => proptest::collection::vec(any::<u8>(), 0..200),
        4 => "\\PC{0,50}\n".prop_map(String::into_bytes),
        2 => Just(b"\n".to_vec()),
        1 => (0_usize..40_000, any::<u8>()).prop_map(run),
        1 => (0_usize..6_000).prop_map(|count| "\u{1f980}\u{20ac}a".repeat(count).into_bytes()),
    ];
    proptest::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_bytes_in_any_portions_come_back(
        writes in proptest::collection::vec((any::<bool>(), output()), 0..8),
        max_bytes in prop_oneof![Just(1_u64 << 30), 50_000_u64..200_000],
    ) {
        let directory = tempfile::tempdir().unwrap();
        let mut log = writer(directory.path(), LogLimits { max_bytes, max_files: 100_000 });
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        for (to_stderr, bytes) in &writes {
            let (stream, sink) = match to_stderr {
                true => (Stream::Stderr, &mut stderr),
                false => (Stream::Stdout, &mut stdout),
            };
            log.write(stream, bytes);
            sink.extend_from_slice(bytes);
        }
        log.finish();

        let expected = (lossy(&stdout), lossy(&stderr));
        prop_assert!(copied(directory.path(), ReadOptions::default()) == expected);
        for entry in fs_err::read_dir(directory.path()).unwrap() {
            let content = fs_err::read_to_string(entry.unwrap().path()).unwrap();
            for line in content.lines() {
                prop_assert!(serde_json::from_str::<serde_json::Value>(line).is_ok(), "{}", line);
            }
        }
    }
}
