//! `rocker export`.

use rocker_types::ContainerQuery;

use super::save::write_archive;
use super::{Context, Outcome};
use crate::exit_code::Status;

/// Write the file system of a container as a tar archive
///
/// The archive has what the container sees, but for what is mounted in it: volumes, and what
/// rocker itself puts there. The container may run or not. `rocker import` makes an image of
/// the archive.
#[derive(clap::Args, Debug)]
#[command(
    after_long_help = "Examples:\n  rocker export -o web.tar web\n  rocker export web | tar -tv\n  rocker export web | rocker import - web:flat"
)]
pub(crate) struct ExportArgs {
    /// Where to write; - is standard output
    #[arg(
        short,
        long,
        value_name = "FILE|-",
        default_value = "-",
        hide_default_value = true
    )]
    output: String,

    /// The container, by name or ID
    #[arg(value_name = "CONTAINER")]
    container: String,
}

pub(crate) fn export(context: &mut Context, args: ExportArgs) -> Outcome {
    let query = ContainerQuery::new(&args.container);
    write_archive(&args.output, |output| {
        context.engine()?.export(&query, output)
    })?;
    Ok(Status::Success)
}
