//! `rocker system check`.

use rocker_engine::{CheckStatus, Repair};

use super::{Context, Outcome, print};
use crate::exit_code::Status;

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
    let repair = match args.repair {
        true => Repair::Yes,
        false => Repair::No,
    };
    let report = context.engine()?.check(repair)?;
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
