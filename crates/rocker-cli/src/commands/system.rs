//! `rocker system check`.

use rocker_engine::{CheckLine, CheckReport, CheckStatus, Engine, EngineError, Repair};
use rocker_types::{Diagnose as _, Layout};

use super::{Context, Outcome, print};
use crate::exit_code::Status;
use crate::report;

/// Check what the host offers, and whether the installation is whole
///
/// One line for each thing that was looked at: ok, warn or FAIL, and the cure. The exit code
/// is 1 if anything failed.
#[derive(clap::Args, Debug)]
#[command(after_long_help = "Examples:\n  rocker system check\n  rocker system check --repair")]
pub(crate) struct CheckArgs {
    /// Remove what interrupted commands left behind
    #[arg(long)]
    repair: bool,
}

pub(crate) fn check(context: &mut Context, args: CheckArgs) -> Outcome {
    let report = look(context.layout(), args.repair).unwrap_or_else(|error| {
        let mut report = CheckReport::of_host();
        report.lines.push(CheckLine {
            what: "installation".to_owned(),
            status: CheckStatus::Fail,
            detail: report::chain(&error),
            cure: error.hint(),
        });
        report
    });
    let mut text = String::new();
    for line in &report.lines {
        let word = match line.status {
            CheckStatus::Ok => "ok",
            CheckStatus::Warn => "warn",
            CheckStatus::Fail => "FAIL",
        };
        text.push_str(&format!("{word:<5} {}: {}\n", line.what, line.detail));
        if let Some(cure) = &line.cure {
            text.push_str(&format!("      cure: {cure}\n"));
        }
    }
    print(&text)?;
    Ok(match report.has_failures() {
        true => Status::SomeFailed,
        false => Status::Success,
    })
}

/// Without --repair nothing is put right: what is looked at stays as it is.
fn look(layout: &Layout, repair: bool) -> Result<CheckReport, EngineError> {
    match repair {
        true => Engine::open(layout)?.check(Repair::Yes),
        false => Engine::open_as_is(layout)?.check(Repair::No),
    }
}
