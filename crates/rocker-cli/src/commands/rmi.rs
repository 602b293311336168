//! `rocker rmi`.

use super::{Context, Outcome, print};
use crate::exit_code::Status;
use crate::report;

/// Remove images
///
/// Takes a name away; the image goes with its last name, unless a container uses it.
#[derive(clap::Args, Debug)]
#[command(after_long_help = "Examples:\n  rocker rmi debian:trixie\n  rocker rmi -f 4f1c8c1d")]
pub(crate) struct RmiArgs {
    /// Remove an image by its ID even if it has several names
    #[arg(short, long)]
    force: bool,

    /// Images to remove, by name or ID
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
}

pub(crate) fn rmi(context: &mut Context, args: RmiArgs) -> Outcome {
    let engine = context.engine()?;
    let mut status = Status::Success;
    for image in &args.images {
        match engine.remove_image(image, args.force) {
            Ok(removed) => {
                let untagged = removed
                    .untagged
                    .iter()
                    .map(|name| format!("Untagged: {name}\n"));
                let deleted = removed.deleted.iter().map(|id| format!("Deleted: {id}\n"));
                print(&untagged.chain(deleted).collect::<String>())?;
            }
            Err(error) => {
                report::error(&error);
                status = Status::SomeFailed;
            }
        }
    }
    Ok(status)
}
