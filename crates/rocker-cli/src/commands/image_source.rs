//! Where `run` and `create` get their image from.

use rocker_engine::FoundBy;
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
        // what is no name is nowhere to be found
        let _: ImageRef = image.parse()?;
        report::note(&format!("Unable to find image '{image}' locally"));
    }
    let wish = Wish {
        platform: None,
        quiet: false,
        progress,
        registry: RegistryArgs::default(),
        transfer: TransferArgs::default(),
    };
    let found = obtain(context, image, when, here, &wish)?;
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
        PullWhen::Missing | PullWhen::Never | PullWhen::Newer => {
            let found = context.engine()?.image_here(image, platform)?;
            Ok(found.map(|found| called(image, found)))
        }
    }
}

/// Sees that an image is here that is here as `here`, or not at all, as `when` says, and gives back
/// how it is called here; `None` if it is not and must not be fetched.
pub(super) fn obtain(
    context: &mut Context,
    image: &str,
    when: PullWhen,
    here: Option<String>,
    wish: &Wish,
) -> Result<Option<String>, CommandError> {
    let is_enough = matches!(when, PullWhen::Missing | PullWhen::Never);
    if when == PullWhen::Never || (is_enough && here.is_some()) {
        return Ok(here);
    }
    let meant = short_names::meant(image)?;
    match (fetch_one_of(context, meant, wish), here) {
        (Ok(reference), _) => Ok(Some(match context.engine()?.image_here(image, None)? {
            Some(found) if found == FoundBy::Name(reference.clone()) => called(image, found),
            // the name that was typed means first another image that is here too
            _ => reference.canonical(),
        })),
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

/// As the user called it, where that is its name or id: so `ps` shows it.
fn called(image: &str, found: FoundBy) -> String {
    match found {
        FoundBy::Name(name) if image.parse().is_ok_and(|plain: ImageRef| plain != name) => {
            name.canonical()
        }
        FoundBy::Name(_) | FoundBy::Id => image.to_owned(),
    }
}
