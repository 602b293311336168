//! `rocker kill`.

use rocker_types::{ContainerQuery, Signal};

use super::{Context, Outcome};

/// Send a signal to running containers
///
/// Prints each name as it was given.
#[derive(clap::Args, Debug)]
#[command(after_long_help = "Examples:\n  rocker kill web\n  rocker kill -s HUP web")]
pub(crate) struct KillArgs {
    /// The signal, by name or number
    #[arg(short, long, value_name = "SIGNAL", default_value = "KILL")]
    signal: Signal,

    /// Containers to signal, by name or ID
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

pub(crate) fn kill(context: &mut Context, args: KillArgs) -> Outcome {
    context.for_each(&args.containers, |engine, name| {
        engine.kill(&ContainerQuery::new(name), args.signal)?;
        Ok(())
    })
}
