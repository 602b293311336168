//! `rocker rm`.

use rocker_engine::RemoveOptions;
use rocker_types::ContainerQuery;

use super::{Context, Outcome};

/// Remove containers
///
/// Prints each name as it was given. With --force a container that does not exist is no error.
#[derive(clap::Args, Debug)]
#[command(after_long_help = "Examples:\n  rocker rm web\n  rocker rm -fv web db")]
pub(crate) struct RmArgs {
    /// Kill running containers first
    #[arg(short, long)]
    force: bool,

    /// Remove the containers' anonymous volumes too
    #[arg(short, long)]
    volumes: bool,

    /// Containers to remove, by name or ID
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

pub(crate) fn rm(context: &mut Context, args: RmArgs) -> Outcome {
    let options = RemoveOptions {
        force: args.force,
        volumes: args.volumes,
    };
    context.for_each(&args.containers, |engine, name| {
        Ok(engine.remove(&ContainerQuery::new(name), options)?)
    })
}
