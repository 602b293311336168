//! Where `run` and `create` get their image from.

use rocker_types::{Diagnose as _, ErrorKind, ImageRef, Platform};

use super::container_args::PullWhen;
use super::fetch::{Wish, fetch_one_of};
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
    let here = look(context, image, when, None)?;
    if when == PullWhen::Missing && here.is_none() {
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
    let found = obtain(context, image, when, here, wish)?;
    Ok(found.unwrap_or_else(|| image.to_owned()))
}

/// How an image is called here, if it is and if `when` asks for that.
pub(super) fn look(
    context: &mut Context,
    image: &str,
    when: PullWhen,
    platform: Option<&Platform>,
) -> Result<Option<String>, CommandError> {
    match when {
        PullWhen::Always => Ok(None),
        PullWhen::Missing | PullWhen::Never | PullWhen::Newer => find(context, image, platform),
    }
}

/// Sees that an image is here that is here as `here`, or not at all, as `when` says, and gives back
/// how it is called here; `None` if it is not and must not be fetched.
pub(super) fn obtain(
    context: &mut Context,
    image: &str,
    when: PullWhen,
    here: Option<String>,
    wish: impl Fn(ImageRef) -> Wish,
) -> Result<Option<String>, CommandError> {
    let is_enough = matches!(when, PullWhen::Missing | PullWhen::Never);
    if when == PullWhen::Never || (is_enough && here.is_some()) {
        return Ok(here);
    }
    let meant = short_names::meant(image)?;
    match (fetch_one_of(context, meant, wish), here) {
        (Ok(reference), _) => Ok(Some(called(image, &reference))),
        // newer: what is here will do
        (Err(error), Some(name)) if error.kind() != ErrorKind::Interrupted => {
            report::note(&format!(
                "{}; the image that is here is used",
                report::chain(&error)
            ));
            Ok(Some(name))
        }
        (Err(error), _) => Err(error),
    }
}

/// As the user called it, where that is its name: so `ps` shows it.
fn called(image: &str, reference: &ImageRef) -> String {
    match image.parse::<ImageRef>() {
        Ok(plain) if plain == *reference => image.to_owned(),
        _ => reference.familiar(),
    }
}

/// How an image is called here, if it is: by its own name, or by one that a short name may mean.
fn find(
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
        if context.engine()?.has_image(&name.canonical(), platform)? {
            return Ok(Some(called(image, &name)));
        }
    }
    // an id, or a name that was given here
    let is_here = context.engine()?.has_image(image, platform)?;
    Ok(is_here.then(|| image.to_owned()))
}
