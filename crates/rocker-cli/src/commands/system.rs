//! `rocker system check`.

use rocker_engine::{
    CheckLine, CheckReport, CheckRequest, CheckStatus, Depth, Engine, EngineError, NoProgress,
    PullProgress, Repair, UnpackLimits,
};
use rocker_types::{Diagnose as _, Layout};

use super::registry::RegistryArgs;
use super::{CommandError, Context, Outcome, config, print};
use crate::exit_code::Status;
use crate::report;
use crate::terminal::interruptible;
use crate::ui::progress::Progress;

/// Check what the host offers, and whether the installation is whole
///
/// One line for each thing that was looked at: ok, mended, warn or FAIL, and the cure. The exit
/// code is 1 if anything failed.
///
/// Files of layers are compared by name, kind, size, owner, mode and time with the archive that
/// they came from. With --deep their content is read as well: the archive is made again and its
/// digest compared, so that every changed byte is found.
#[derive(clap::Args, Debug)]
#[command(
    after_long_help = "Examples:\n  rocker system check --deep\n  rocker system check --repair"
)]
pub(crate) struct CheckArgs {
    /// Put right what is wrong: remove what interrupted commands left behind, fetch damaged
    /// layers again from where they came, make a damaged database anew from what is on disk
    #[arg(long)]
    repair: bool,

    /// Read the content of every layer, not only names and times
    #[arg(long)]
    deep: bool,
}

pub(crate) fn check(context: &mut Context, args: CheckArgs) -> Outcome {
    let limits = config::read()?.limits;
    let found = interruptible(|cancelled| look(context.layout(), &args, limits, cancelled));
    let report = match found.map_err(CommandError::Terminal)? {
        (Err(source), Some(signal)) => return Err(CommandError::Stopped { signal, source }),
        (Ok(report), _) => report,
        (Err(error), None) => of_host_and(&error),
    };
    let mut text = String::new();
    for line in &report.lines {
        let word = match line.status {
            CheckStatus::Ok => "ok",
            CheckStatus::Mended => "mended",
            CheckStatus::Warn => "warn",
            CheckStatus::Fail => "FAIL",
        };
        text.push_str(&format!("{word:<6} {}: {}\n", line.what, line.detail));
        if let Some(cure) = &line.cure {
            text.push_str(&format!("       cure: {cure}\n"));
        }
    }
    print(&text)?;
    Ok(match report.has_failures() {
        true => Status::SomeFailed,
        false => Status::Success,
    })
}

fn of_host_and(error: &EngineError) -> CheckReport {
    let mut report = CheckReport::of_host();
    report.lines.push(CheckLine {
        what: "installation".to_owned(),
        status: CheckStatus::Fail,
        detail: report::chain(error),
        cure: error.hint(),
    });
    report
}

/// Without --repair nothing is put right: what is looked at stays as it is.
fn look(
    layout: &Layout,
    args: &CheckArgs,
    limits: UnpackLimits,
    cancelled: &dyn Fn() -> bool,
) -> Result<CheckReport, EngineError> {
    let registry = RegistryArgs::default();
    let shown = args.repair.then(Progress::for_stderr);
    let progress: &dyn PullProgress = match &shown {
        Some(progress) => progress,
        None => &NoProgress,
    };
    let (mut engine, mended) = match args.repair {
        true => Engine::open_for_repair(layout)?,
        false => (Engine::open_as_is(layout)?, None),
    };
    engine.set_limits(limits);
    let report = engine.check(&CheckRequest {
        repair: match args.repair {
            true => Repair::Yes,
            false => Repair::No,
        },
        depth: match args.deep {
            true => Depth::Exact,
            false => Depth::Sample,
        },
        places: &|reference| {
            let places = registry.places(reference);
            places.map_err(|error| report::chain(&error))
        },
        progress,
        cancelled,
    });
    if let Some(progress) = &shown {
        progress.clear();
    }
    let mut report = report?;
    report.lines.extend(mended);
    Ok(report)
}
