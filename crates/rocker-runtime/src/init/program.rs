//! Finding and becoming the program.

use std::ffi::{CStr, CString};
use std::io;

use rocker_sys::execute::{StringVector, execute};
use rustix::io::Errno;

use crate::process::{InitFailure, InitStep};

/// A program, its arguments, and where to look for it.
#[derive(Debug)]
pub(crate) struct Program {
    argv: StringVector,
    /// Paths to try, in order.
    candidates: Vec<CString>,
    /// The `PATH` that was searched; `None` if the program was named by path.
    searched: Option<String>,
}

impl Program {
    /// `argv` has at least one element. A name without `/` is looked for in the absolute
    /// directories of `path`: a relative or empty one would mean the working directory, which
    /// belongs to whoever can write there.
    pub(crate) fn new(argv: Vec<CString>, path: Option<&str>) -> Self {
        let name = argv.first().cloned().unwrap_or_default();
        let (candidates, searched) = if name.as_bytes().contains(&b'/') {
            (vec![name], None)
        } else {
            let path = path.unwrap_or("");
            let directories = path
                .split(':')
                .filter(|directory| directory.starts_with('/'));
            let join = |directory: &str| {
                let mut bytes = directory.as_bytes().to_vec();
                bytes.push(b'/');
                bytes.extend(name.as_bytes());
                CString::new(bytes).ok()
            };
            (
                directories.filter_map(join).collect(),
                Some(path.to_owned()),
            )
        };
        Self {
            argv: StringVector::new(argv),
            candidates,
            searched,
        }
    }

    /// The arguments.
    pub(crate) fn argv(&self) -> &[CString] {
        self.argv.strings()
    }

    /// Becomes the program. Returns only if no candidate could be executed.
    ///
    /// As in execvp(3): a candidate that is not there is passed over, one that is there and
    /// may not be executed is remembered, any other failure ends the search.
    pub(crate) fn execute(&self, env: &StringVector) -> InitFailure {
        let mut found = None;
        for candidate in &self.candidates {
            if candidate.as_bytes().len() <= 1 && self.searched.is_some() {
                continue;
            }
            let error = execute(candidate, &self.argv, env);
            let passed_over =
                is(&error, Errno::NOTDIR) || (is(&error, Errno::NOENT) && !exists(candidate));
            let by_path = self.searched.is_none();
            if by_path || !passed_over {
                let keep_looking = !by_path && is(&error, Errno::ACCESS);
                found = Some(failure(candidate, error));
                if !keep_looking {
                    break;
                }
            }
        }
        found.unwrap_or_else(|| self.not_found())
    }

    fn not_found(&self) -> InitFailure {
        let name = self
            .argv()
            .first()
            .map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let path = self.searched.as_deref().unwrap_or("");
        InitFailure::refusal(InitStep::FindProgram, format!("{name} in PATH={path}"))
    }
}

fn is(error: &io::Error, errno: Errno) -> bool {
    error.raw_os_error() == Some(errno.raw_os_error())
}

/// There, but execve(2) said `ENOENT`: its interpreter is missing.
fn exists(path: &CStr) -> bool {
    rustix::fs::stat(path).is_ok()
}

fn failure(candidate: &CStr, source: io::Error) -> InitFailure {
    InitFailure {
        step: InitStep::Execute,
        object: candidate.to_string_lossy().into_owned(),
        source: Some(source),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(name: &str, path: Option<&str>) -> Vec<String> {
        let program = Program::new(vec![CString::new(name).unwrap()], path);
        let text = |path: &CString| path.to_str().unwrap().to_owned();
        program.candidates.iter().map(text).collect()
    }

    #[test]
    fn only_absolute_directories_are_searched() {
        assert_eq!(
            candidates("sh", Some("/bin:.::bin:/usr/bin")),
            ["/bin/sh", "/usr/bin/sh"]
        );
        assert_eq!(candidates("./sh", Some("/bin")), ["./sh"]);
        assert!(candidates("sh", None).is_empty());
    }

    #[test]
    fn a_program_that_is_nowhere_is_told_with_its_path() {
        let program = Program::new(vec![c"no-such-program".into()], Some("/bin:/usr/bin"));
        let failure = program.execute(&StringVector::new(Vec::new()));
        assert_eq!(failure.step, InitStep::FindProgram);
        assert_eq!(failure.object, "no-such-program in PATH=/bin:/usr/bin");
    }

    #[test]
    fn a_file_that_is_no_program_is_told_with_the_kernels_answer() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = CString::new(file.path().to_str().unwrap()).unwrap();
        let program = Program::new(vec![path], None);
        let failure = program.execute(&StringVector::new(Vec::new()));
        assert_eq!((failure.step, failure.errno()), (InitStep::Execute, 13));
    }
}
