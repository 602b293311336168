//! The one place where errors become words on standard error.

use std::io::Write as _;

use rocker_types::{Diagnose, ErrorKind, is_plain};

/// Prints `Error: <what>: <cause>`, then `hint: …` where one helps.
pub(crate) fn error(error: &(dyn Diagnose + 'static)) {
    let mut text = format!("Error: {}\n", chain(error));
    if let Some(hint) = too_few_files(error).or_else(|| error.hint()) {
        text.push_str(&format!("hint: {}\n", one_line(&hint)));
    }
    to_stderr(&text);
}

/// Below this a shortage of files is the likely cause of whatever goes wrong inside; rocker needs
/// about twenty, and one more for each of a few things that it does at once.
const FEW_FILES: u64 = 64;

/// What to do where the kernel gives us too few files. Who asked for one does not always say so:
/// sqlite only tells that it could not open its own.
fn too_few_files(error: &(dyn Diagnose + 'static)) -> Option<String> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current?;
    let is_likely = limit < FEW_FILES && error.kind() == ErrorKind::Internal;
    (is_likely || ran_out_of_files(error)).then(|| {
        format!("only {limit} files may be open at once: allow more, as with `ulimit -n 1024`")
    })
}

fn ran_out_of_files(error: &(dyn std::error::Error + 'static)) -> bool {
    let errno = |error: &(dyn std::error::Error + 'static)| {
        let error = error.downcast_ref::<std::io::Error>()?;
        rustix::io::Errno::from_io_error(error)
    };
    let mut next = Some(error);
    while let Some(error) = next {
        if errno(error) == Some(rustix::io::Errno::MFILE) {
            return true;
        }
        next = error.source();
    }
    false
}

/// Prints a line that is neither the answer nor an error.
pub(crate) fn note(text: &str) {
    to_stderr(&format!("{text}\n"));
}

/// Asks something that is answered on the same line.
pub(crate) fn question(text: &str) {
    to_stderr(text);
}

/// Nobody can be told when standard error is closed.
fn to_stderr(text: &str) {
    let _closed = std::io::stderr().write_all(text.as_bytes());
}

/// The error and its causes on one line, outermost first; a cause that only repeats the end of
/// what was said is left out.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = one_line(&error.to_string());
    let mut next = error.source();
    while let Some(cause) = next {
        let words = one_line(&cause.to_string());
        if !text.ends_with(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        next = cause.source();
    }
    text
}

/// What came from a registry, an image or a file name must not control the terminal.
fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.trim_end().chars() {
        match c {
            '\n' | '\t' => line.push(' '),
            c if !is_plain(c) => line.extend(c.escape_default()),
            c => line.push(c),
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot start web")]
    struct Outer(#[source] Middle);

    #[derive(Debug, thiserror::Error)]
    #[error("cannot mount \u{1b}[31m over\u{202e}lay\nhere")]
    struct Middle(#[source] std::io::Error);

    #[test]
    fn the_chain_is_one_line_without_control_characters() {
        let error = Outer(Middle(std::io::Error::from_raw_os_error(22)));

        assert_eq!(
            chain(&error),
            "cannot start web: cannot mount \\u{1b}[31m over\\u{202e}lay here: Invalid argument (os error 22)"
        );
    }

    #[test]
    fn a_cause_is_not_said_twice() {
        #[derive(Debug, thiserror::Error)]
        #[error("cannot read: {0}")]
        struct Repeats(#[source] std::io::Error);

        let error = Repeats(std::io::Error::from_raw_os_error(2));

        assert_eq!(
            chain(&error),
            "cannot read: No such file or directory (os error 2)"
        );
    }
}
