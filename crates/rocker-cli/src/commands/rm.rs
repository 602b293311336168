//! `rocker rm`.

use rocker_engine::RemoveOptions;
use rocker_types::{ContainerQuery, Diagnose as _, ErrorKind};

use super::{Context, Outcome, print};
use crate::exit_code::Status;
use crate::report;

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
    let engine = context.engine()?;
    let mut status = Status::Success;
    for name in &args.containers {
        let query = ContainerQuery::new(name);
        // --force is content with one that does not exist, and so says nothing of it on stdout.
        let found = engine.inspect_container(&query).map(drop);
        let missing = matches!(&found, Err(error) if error.kind() == ErrorKind::NotFound);
        match found.and_then(|()| engine.remove(&query, options)) {
            Ok(()) => print(&format!("{name}\n"))?,
            Err(error) => {
                report::error(&error);
                if !(args.force && missing) {
                    status = Status::SomeFailed;
                }
            }
        }
    }
    Ok(status)
}
