//! `rocker tag` and `rocker untag`.

use super::{Context, Outcome};
use crate::exit_code::Status;

/// Give an image one more name
///
/// A name that means another image already means this one from then on.
#[derive(clap::Args, Debug)]
#[command(
    after_long_help = "Examples:\n  rocker tag debian:trixie debian:stable\n  rocker tag app localhost:5000/app:1.2"
)]
pub(crate) struct TagArgs {
    /// The image, by name or ID
    #[arg(value_name = "IMAGE")]
    image: String,

    /// The new name
    #[arg(value_name = "NAME[:TAG]")]
    name: String,
}

pub(crate) fn tag(context: &mut Context, args: TagArgs) -> Outcome {
    let name = args.name.parse()?;
    context.engine()?.tag(&args.image, &name)?;
    Ok(Status::Success)
}

/// Take names away from an image
///
/// All of its names, unless some are given. The image itself stays, if need be without a name.
#[derive(clap::Args, Debug)]
#[command(
    after_long_help = "Examples:\n  rocker untag debian:trixie\n  rocker untag debian:trixie debian:stable"
)]
pub(crate) struct UntagArgs {
    /// The image, by name or ID
    #[arg(value_name = "IMAGE")]
    image: String,

    /// Names to take away
    #[arg(value_name = "NAME[:TAG]")]
    names: Vec<String>,
}

pub(crate) fn untag(context: &mut Context, args: UntagArgs) -> Outcome {
    context.engine()?.untag_image(&args.image, &args.names)?;
    Ok(Status::Success)
}
