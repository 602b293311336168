//! Where `run` and `create` get their image from.

use super::container_args::PullWhen;
use super::pull::{self, Wish};
use super::registry::RegistryArgs;
use super::transfer_args::TransferArgs;
use super::{CommandError, Context};
use crate::report;
use crate::ui::progress::ProgressArgs;

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
    progress: ProgressArgs,
) -> Result<(), CommandError> {
    let is_here = when != PullWhen::Always && context.engine()?.has_image(image, None)?;
    match when {
        PullWhen::Never => return Ok(()),
        PullWhen::Missing if is_here => return Ok(()),
        PullWhen::Missing | PullWhen::Always | PullWhen::Newer => {}
    }
    let reference = image.parse()?;
    if when == PullWhen::Missing {
        report::note(&format!("Unable to find image '{image}' locally"));
    }
    let wish = Wish {
        reference,
        platform: None,
        quiet: false,
        progress,
        registry: RegistryArgs::default(),
        transfer: TransferArgs::default(),
    };
    if when == PullWhen::Newer && is_here {
        return pull::fetch_newer(context, &wish);
    }
    pull::fetch(context, &wish).map(drop)
}
