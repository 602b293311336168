//! Where `run` and `create` get their image from.

use super::container_args::PullWhen;
use super::pull::{self, Wish};
use super::registry::RegistryArgs;
use super::{CommandError, Context};
use crate::report;

/// Sees that the image is here, as `--pull` says.
///
/// # Errors
///
/// When it has to be pulled and cannot be. A missing image under `--pull never` is left to the
/// engine to complain about.
pub(crate) fn ensure(
    context: &mut Context,
    image: &str,
    when: PullWhen,
) -> Result<(), CommandError> {
    match when {
        PullWhen::Never => return Ok(()),
        PullWhen::Missing if context.engine()?.has_image(image, None)? => return Ok(()),
        PullWhen::Missing | PullWhen::Always => {}
    }
    let reference = image.parse()?;
    if when == PullWhen::Missing {
        report::note(&format!("Unable to find image '{image}' locally"));
    }
    pull::fetch(
        context,
        &Wish {
            reference,
            platform: None,
            quiet: false,
            registry: RegistryArgs::default(),
        },
    )
    .map(drop)
}
