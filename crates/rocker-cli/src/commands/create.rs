//! `rocker create`.

use rocker_engine::CreateRequest;

use super::container_args::ContainerArgs;
use super::{CommandError, Context, Outcome, image_source, print};
use crate::exit_code::Status;

/// Make a container without starting it
///
/// Prints the container's ID. `rocker start` runs it.
#[derive(clap::Args, Debug)]
#[command(
    override_usage = "rocker create [OPTIONS] IMAGE [COMMAND] [ARG...]",
    after_long_help = "Examples:\n  rocker create --name web -p 8080:80 nginx\n  rocker create -it --name shell debian bash"
)]
pub(crate) struct CreateArgs {
    #[command(flatten)]
    container: ContainerArgs,
}

pub(crate) fn create(context: &mut Context, args: CreateArgs) -> Outcome {
    let (pull, progress) = (args.container.pull, args.container.progress);
    let mut request: CreateRequest = args.container.into_request()?;
    request.image = image_source::ensure(context, &request.image, pull, progress)?;
    let created = context
        .engine()?
        .create(&request)
        .map_err(CommandError::Engine)?;
    print(&format!("{}\n", created.id))?;
    Ok(Status::Success)
}
