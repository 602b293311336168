//! `rocker restart`.

use rocker_engine::{STOP_TIMEOUT, StopTimeout};
use rocker_types::{ContainerQuery, Signal};

use super::{Context, Outcome};
use crate::cli::values;

/// Stop containers and start them again
///
/// Prints each name as it was given.
#[derive(clap::Args, Debug)]
#[command(after_long_help = "Examples:\n  rocker restart web\n  rocker restart -t 0 worker")]
pub(crate) struct RestartArgs {
    /// Seconds to wait before killing; -1 waits for ever
    #[arg(short, long, alias = "time", value_name = "SECONDS", value_parser = values::patience)]
    timeout: Option<StopTimeout>,

    /// Signal to send instead of the container's own
    #[arg(short, long, value_name = "SIGNAL")]
    signal: Option<Signal>,

    /// Containers to restart, by name or ID
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

pub(crate) fn restart(context: &mut Context, args: RestartArgs) -> Outcome {
    let timeout = args.timeout.unwrap_or(StopTimeout::After(STOP_TIMEOUT));
    context.for_each(&args.containers, |engine, name| {
        engine.restart(&ContainerQuery::new(name), timeout, args.signal)?;
        Ok(())
    })
}
