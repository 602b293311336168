//! The last lines of a file, found from its end.

use std::os::fd::OwnedFd;

use rustix::io::Errno;

/// Where the last lines of a file begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LastLines {
    /// At this offset, in bytes.
    At(u64),
    /// The file has only so many.
    Fewer(u64),
}

/// Finds the last `wanted` lines of `file` without reading what is before them. What follows the
/// last newline is no line yet, and is not counted.
pub(super) fn last_lines(file: &OwnedFd, wanted: u64) -> Result<LastLines, Errno> {
    let mut block = vec![0; 64 * 1024];
    let mut end = rustix::fs::fstat(file)?.st_size.unsigned_abs();
    let mut newlines = 0;
    while end > 0 {
        let start = end.saturating_sub(block.len() as u64);
        let len = usize::try_from(end - start).unwrap_or(block.len());
        let len = rustix::io::pread(file, &mut block[..len], start)?;
        for at in memchr::memrchr_iter(b'\n', &block[..len]) {
            if newlines == wanted {
                return Ok(LastLines::At(start + at as u64 + 1));
            }
            newlines += 1;
        }
        end = start;
    }
    Ok(if newlines == wanted {
        LastLines::At(0)
    } else {
        LastLines::Fewer(newlines)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_file_is_found_whatever_its_shape() {
        let long = format!("{}\n", "x".repeat(100_000));
        let three_long = long.repeat(3);
        let cases: [(&str, u64, LastLines); 11] = [
            ("", 0, LastLines::At(0)),
            ("", 1, LastLines::Fewer(0)),
            ("a\nb\n", 0, LastLines::At(4)),
            ("a\nb\n", 1, LastLines::At(2)),
            ("a\nb\n", 2, LastLines::At(0)),
            ("a\nb\n", 3, LastLines::Fewer(2)),
            ("a\nbegun", 1, LastLines::At(0)),
            ("a\nbegun", 0, LastLines::At(2)),
            (&three_long, 1, LastLines::At(200_002)),
            (&three_long, 3, LastLines::At(0)),
            (&three_long, 9, LastLines::Fewer(3)),
        ];

        for (content, wanted, expected) in cases {
            let file = tempfile::tempfile().unwrap();
            rustix::io::pwrite(&file, content.as_bytes(), 0).unwrap();
            assert_eq!(
                last_lines(&file.into(), wanted).unwrap(),
                expected,
                "{wanted}"
            );
        }
    }
}
