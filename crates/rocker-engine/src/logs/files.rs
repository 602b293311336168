//! Where a log is kept, and how much of it.

use std::path::{Path, PathBuf};

/// The files of one container's log: `NAME` is being written, `NAME.1` was before it, and so on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFiles {
    directory: PathBuf,
    name: String,
}

impl LogFiles {
    /// A log whose current file is `directory/name`.
    pub fn new(directory: impl Into<PathBuf>, name: impl Into<String>) -> Self {
        Self {
            directory: directory.into(),
            name: name.into(),
        }
    }

    /// The directory of all files of the log.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The file that is being written: docker's `.LogPath`.
    #[must_use]
    pub fn current(&self) -> PathBuf {
        self.directory.join(&self.name)
    }

    /// The name, in the directory, of the file that `age` rotations ago was the current one.
    pub(super) fn name(&self, age: u32) -> String {
        match age {
            0 => self.name.clone(),
            _ => format!("{}.{age}", self.name),
        }
    }

    /// The inverse of [`name`](Self::name); `None` if `file` is not of this log.
    pub(super) fn age(&self, file: &[u8]) -> Option<u32> {
        let rest = file.strip_prefix(self.name.as_bytes())?;
        if rest.is_empty() {
            return Some(0);
        }
        let digits = std::str::from_utf8(rest.strip_prefix(b".")?).ok()?;
        let age: u32 = digits.parse().ok()?;
        (age > 0 && self.name(age).as_bytes() == file).then_some(age)
    }
}

/// How much of a log is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogLimits {
    /// The size at which a file is renamed away, in bytes. Never exceeded, unless by a single
    /// line that is longer.
    pub max_bytes: u64,
    /// How many files there are at most, with the current one; 0 means 1.
    pub max_files: u32,
}

impl Default for LogLimits {
    /// 10 MiB in each of 3 files. Docker's default is without bound.
    fn default() -> Self {
        Self {
            max_bytes: 10 << 20,
            max_files: 3,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_logs_own_files_have_an_age() {
        let files = LogFiles::new("/d", "x-json.log");
        let cases: [(&str, Option<u32>); 8] = [
            ("x-json.log", Some(0)),
            ("x-json.log.1", Some(1)),
            ("x-json.log.12", Some(12)),
            ("x-json.log.0", None),
            ("x-json.log.01", None),
            ("x-json.log.1.gz", None),
            ("x-json.logs", None),
            ("control", None),
        ];

        for (name, age) in cases {
            assert_eq!(files.age(name.as_bytes()), age, "{name}");
        }
    }
}
