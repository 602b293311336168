//! `rocker __crash-points`: where tests may kill this binary.

use rocker_engine::CrashPoint;

use super::{Context, Outcome, print};
use crate::exit_code::Status;

/// List the crash points, in the order in which a container meets them
#[derive(clap::Args, Debug)]
pub(crate) struct CrashPointsArgs {}

pub(crate) fn list(_: &mut Context, _: CrashPointsArgs) -> Outcome {
    let names = CrashPoint::ALL.iter().map(|point| point.name() + "\n");
    print(&names.collect::<String>())?;
    Ok(Status::Success)
}
