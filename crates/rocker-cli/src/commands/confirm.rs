//! Asking before something is lost.

use std::io::{IsTerminal as _, stdin};

use super::CommandError;
use crate::report;

/// The environment variable that answers every question; only 1 is a yes.
const ASSUME_YES: &str = "ROCKER_ASSUME_YES";

/// Says what is about to happen and reads the answer at the terminal: only `y` and `yes` are a
/// yes. Whoever cannot be asked has not said yes, whatever a pipe may hold.
///
/// # Errors
///
/// [`CommandError::NobodyToAsk`] where standard input is no terminal.
pub(crate) fn confirm(what: &str) -> Result<bool, CommandError> {
    if std::env::var_os(ASSUME_YES).is_some_and(|answer| answer == "1") {
        return Ok(true);
    }
    report::note(&format!("WARNING! {what}"));
    if !stdin().is_terminal() {
        return Err(CommandError::NobodyToAsk);
    }
    report::question("Are you sure you want to continue? [y/N] ");
    let mut answer = String::new();
    let read = stdin().read_line(&mut answer);
    read.map_err(CommandError::Terminal)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes" | "Yes" | "YES"))
}
