//! What stands in the files.

use super::*;

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
