//! Asking before something is lost.

use std::io::{IsTerminal as _, stdin};

use super::CommandError;
use crate::report;

/// Says what is about to happen and reads the answer, from a terminal or a pipe: only `y` and
/// `yes` are a yes.
pub(crate) fn confirm(what: &str) -> Result<bool, CommandError> {
    report::note(&format!("WARNING! {what}"));
    report::question("Are you sure you want to continue? [y/N] ");
    let mut answer = String::new();
    let read = stdin().read_line(&mut answer);
    read.map_err(CommandError::Terminal)?;
    if !stdin().is_terminal() {
        // nobody else ends the line
        report::note("");
    }
    Ok(matches!(answer.trim(), "y" | "Y" | "yes" | "Yes" | "YES"))
}
