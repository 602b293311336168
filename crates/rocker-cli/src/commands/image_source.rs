//! Where `run` and `create` get their image from.

use rocker_types::{ImageRef, Platform};

use super::container_args::PullWhen;
use super::pull::{self, Wish};
use super::registry::RegistryArgs;
use super::transfer_args::TransferArgs;
use super::{CommandError, Context, short_names};
use crate::report;
use crate::ui::progress::ProgressArgs;

/// Sees that the image is here, as `--pull` says, and gives back how it is called here.
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
) -> Result<String, CommandError> {
    let here = match when {
        PullWhen::Always => None,
        PullWhen::Missing | PullWhen::Never | PullWhen::Newer => find(context, image, None)?,
    };
    match (when, here.as_deref()) {
        (PullWhen::Missing | PullWhen::Never, Some(name)) => return Ok(name.to_owned()),
        (PullWhen::Never, None) => return Ok(image.to_owned()),
        (PullWhen::Always | PullWhen::Missing | PullWhen::Newer, _) => {}
    }
    let meant = short_names::meant(image)?;
    if when == PullWhen::Missing {
        report::note(&format!("Unable to find image '{image}' locally"));
    }
    let wish = |reference| Wish {
        reference,
        platform: None,
        quiet: false,
        progress,
        registry: RegistryArgs::default(),
        transfer: TransferArgs::default(),
    };
    match here {
        Some(name) => pull::fetch_newer(context, meant, wish, name),
        None => Ok(pull::fetch_one_of(context, meant, wish)?.familiar()),
    }
}

/// How an image is called here, if it is: by its own name, or by one that a short name may mean.
pub(super) fn find(
    context: &mut Context,
    image: &str,
    platform: Option<&Platform>,
) -> Result<Option<String>, CommandError> {
    if ImageRef::names_registry(image) {
        let is_here = context.engine()?.has_image(image, platform)?;
        return Ok(is_here.then(|| image.to_owned()));
    }
    // what it means when it is pulled is what it means here
    for name in short_names::perhaps_meant(image).unwrap_or_default() {
        let name = name.canonical();
        if context.engine()?.has_image(&name, platform)? {
            return Ok(Some(name));
        }
    }
    // an id, or a name that was given here
    let is_here = context.engine()?.has_image(image, platform)?;
    Ok(is_here.then(|| image.to_owned()))
}
