//! What the monitor tells the command line that spawned it: one JSON document, then the end
//! of file.
//!
//! The monitor's errors cross a process boundary, so they arrive as the words that
//! [`Diagnose`] gives, with the exit code that they mean; nothing decides by the words.

use std::fmt;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;

use rocker_types::{Diagnose, ErrorKind};
use serde::{Deserialize, Serialize};

use crate::EngineError;

/// How a start ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Report {
    /// The program runs.
    Started,
    /// It does not.
    Failed(MonitorFailure),
}

/// A failure in the monitor's process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MonitorFailure {
    /// The chain of causes, outermost first; never empty.
    pub(crate) causes: Vec<String>,
    /// What would help.
    pub(crate) hint: Option<String>,
    /// 125, 126 or 127.
    pub(crate) exit_code: u8,
}

/// An error with its causes, outermost first, on one line.
pub(crate) fn chain(error: &EngineError) -> String {
    MonitorFailure::of(error).text()
}

impl MonitorFailure {
    /// Takes an error's words.
    pub(crate) fn of(error: &EngineError) -> Self {
        let mut causes = vec![error.to_string()];
        let mut next = std::error::Error::source(error);
        while let Some(cause) = next {
            causes.push(cause.to_string());
            next = cause.source();
        }
        Self {
            causes,
            hint: error.hint(),
            exit_code: error.run_exit_code(),
        }
    }

    /// All causes on one line.
    pub(crate) fn text(&self) -> String {
        self.causes.join(": ")
    }
}

impl fmt::Display for MonitorFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

impl std::error::Error for MonitorFailure {}

impl Diagnose for MonitorFailure {
    fn kind(&self) -> ErrorKind {
        if self.exit_code == 127 {
            ErrorKind::NotFound
        } else {
            ErrorKind::Internal
        }
    }

    fn hint(&self) -> Option<String> {
        self.hint.clone()
    }
}

/// Sends the report; a command line that is gone by now does not matter.
pub(crate) fn send(socket: OwnedFd, report: &Report) {
    if let Ok(text) = serde_json::to_vec(report) {
        let _ = std::fs::File::from(socket).write_all(&text);
    }
}

/// Waits for the report. `None`: the monitor died without one.
pub(crate) fn receive(socket: OwnedFd) -> Option<Report> {
    let mut text = Vec::new();
    std::fs::File::from(socket).read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}
