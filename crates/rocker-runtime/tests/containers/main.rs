//! Real containers on the real kernel: a directory or an overlay made of busybox, no network.
//!
//! Needs root and busybox-static. The crate starts containers only from a process with one
//! thread that runs from its protected binary, which libtest's are not, so this file brings its
//! own small harness: it speaks as much of libtest's command line as cargo and nextest use and
//! runs every test in a process of its own.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this is a test"
)]

mod confinement;
mod filesystem;
mod harness;
mod hostile;
mod lifecycle;
mod sandbox;
mod sessions;
mod terminal;

use std::process::ExitCode;

fn main() -> ExitCode {
    if let Some(code) = rocker_runtime::main_init() {
        return code;
    }
    if let Some(missing) = harness::missing() {
        assert!(
            std::env::var_os("ROCKER_TEST_STRICT").is_none_or(|value| value != "1"),
            "{missing}"
        );
        eprintln!("skipped: {missing}");
        return harness::run(&[]);
    }
    rocker_runtime::executable::ensure_protected().unwrap();
    let tests: Vec<harness::Test> = [
        lifecycle::TESTS,
        confinement::TESTS,
        filesystem::TESTS,
        hostile::TESTS,
        sessions::TESTS,
        terminal::TESTS,
    ]
    .concat();
    harness::run(&tests)
}
