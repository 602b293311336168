//! Writer and reader together, on real files.

mod full_disk;
mod reading;
mod writing;

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
