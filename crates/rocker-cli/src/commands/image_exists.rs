//! `rocker image exists`.

use rocker_engine::EngineError;

use super::{Context, Outcome};
use crate::exit_code::Status;

/// Tell whether an image is here
///
/// Prints nothing; the exit code is 0 if it is, 1 if it is not, and 125 if that cannot be told.
#[derive(clap::Args, Debug)]
#[command(
    after_long_help = "Examples:\n  rocker image exists debian:trixie || rocker pull debian:trixie"
)]
pub(crate) struct ExistsArgs {
    /// The image, by name or ID
    #[arg(value_name = "IMAGE")]
    image: String,
}

pub(crate) fn exists(context: &mut Context, args: ExistsArgs) -> Outcome {
    match context.engine()?.find_image(&args.image) {
        Ok(_) => Ok(Status::Success),
        Err(EngineError::NoSuchImage(_)) => Ok(Status::SomeFailed),
        Err(error) => Err(error.into()),
    }
}
