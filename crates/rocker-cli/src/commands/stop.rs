//! `rocker stop`.

use rocker_engine::{STOP_TIMEOUT, StopTimeout};
use rocker_types::{ContainerQuery, Signal};

use super::{Context, Outcome};
use crate::cli::values;

/// Stop running containers
///
/// Sends the container's stop signal and, if it is still alive after the timeout, SIGKILL.
/// Prints each name as it was given. Stopping a container that does not run succeeds.
#[derive(clap::Args, Debug)]
#[command(after_long_help = "Examples:\n  rocker stop web\n  rocker stop -t 60 db cache")]
pub(crate) struct StopArgs {
    /// Seconds to wait before killing; -1 waits for ever
    #[arg(short, long, alias = "time", value_name = "SECONDS", value_parser = values::patience)]
    timeout: Option<StopTimeout>,

    /// Signal to send instead of the container's own
    #[arg(short, long, value_name = "SIGNAL")]
    signal: Option<Signal>,

    /// Containers to stop, by name or ID
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

pub(crate) fn stop(context: &mut Context, args: StopArgs) -> Outcome {
    let timeout = args.timeout.unwrap_or(StopTimeout::After(STOP_TIMEOUT));
    context.for_each_at_once(&args.containers, |engine, name| {
        engine.stop(&ContainerQuery::new(name), timeout, args.signal)?;
        Ok(())
    })
}
