//! `rocker wait`.

use rocker_types::ContainerQuery;

use super::{Context, Outcome, print};
use crate::exit_code::Status;
use crate::report;

/// Wait until containers end, and print their exit codes
#[derive(clap::Args, Debug)]
#[command(after_long_help = "Examples:\n  rocker wait job\n  rocker wait job1 job2")]
pub(crate) struct WaitArgs {
    /// Containers to wait for, by name or ID
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

pub(crate) fn wait(context: &mut Context, args: WaitArgs) -> Outcome {
    let engine = context.engine()?;
    engine.take_out_trash_aside();
    let mut status = Status::Success;
    for name in &args.containers {
        match engine.wait(&ContainerQuery::new(name)) {
            Ok(code) => print(&format!("{code}\n"))?,
            Err(error) => {
                report::error(&error);
                status = Status::SomeFailed;
            }
        }
    }
    Ok(status)
}
