//! `rocker commit`.

use rocker_engine::CommitOptions;
use rocker_types::{ConfigChange, ContainerQuery};

use super::{CommandError, Context, Outcome, print};
use crate::cli::values;
use crate::exit_code::Status;

/// Make an image of a container
///
/// The image has the layers of the container's own image and one more with what the container
/// has changed, but for what is mounted in it. A running container stands still while its
/// files are read. Containers of the image are run as this one is: with its environment, command,
/// user, working directory, labels, ports, volumes and stop signal. Prints the image's ID.
#[derive(clap::Args, Debug)]
#[command(
    after_long_help = "Examples:\n  rocker commit web web:patched\n  rocker commit -m 'with curl' -c 'CMD [\"curl\"]' box tools:curl"
)]
pub(crate) struct CommitArgs {
    /// Who made it
    #[arg(short, long, value_name = "TEXT")]
    author: Option<String>,

    /// Set how containers are run, by an instruction of a Dockerfile: CMD, ENTRYPOINT, ENV,
    /// EXPOSE, HEALTHCHECK, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME or WORKDIR; repeatable
    #[arg(short, long, value_name = "INSTRUCTION")]
    change: Vec<ConfigChange>,

    /// A comment for the image's history
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,

    /// Whether a running container stands still while its files are read
    #[arg(short, long, value_name = "BOOL", default_value_t = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set, value_parser = values::truth)]
    pause: bool,

    /// Print nothing but the ID, as is done anyway
    #[arg(short, long)]
    quiet: bool,

    /// Write the image's ID to a file too
    #[arg(long, value_name = "FILE")]
    iidfile: Option<std::path::PathBuf>,

    /// The container, by name or ID
    #[arg(value_name = "CONTAINER")]
    container: String,

    /// Name for the image
    #[arg(value_name = "NAME[:TAG]")]
    name: Option<String>,
}

pub(crate) fn commit(context: &mut Context, args: CommitArgs) -> Outcome {
    let name = args.name.as_deref().map(str::parse).transpose()?;
    let options = CommitOptions {
        author: args.author,
        message: args.message,
        changes: args.change,
        pause: args.pause,
    };
    let query = ContainerQuery::new(&args.container);
    let id = context
        .unpacking_engine()?
        .commit(&query, name.as_ref(), &options)?;
    if let Some(path) = &args.iidfile {
        fs_err::write(path, id.to_string()).map_err(CommandError::IdFile)?;
    }
    print(&format!("{id}\n"))?;
    Ok(Status::Success)
}
