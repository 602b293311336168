//! `--init`: rocker's own pid 1, which forwards signals and reaps orphans.

use std::process::ExitCode;

/// Becomes the container's pid 1 if this process was executed as that; otherwise returns
/// `None` at once. The first line of `main`.
#[must_use]
pub fn main_init() -> Option<ExitCode> {
    todo!()
}
