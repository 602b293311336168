//! Where `run` and `create` get their image from.

use rocker_types::ImageRef;

use super::container_args::PullWhen;
use super::pull::{self, Wish};
use super::registry::RegistryArgs;
use super::{CommandError, Context, short_names};
use crate::report;

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
) -> Result<String, CommandError> {
    let is_asked_for = when == PullWhen::Always;
    if !is_asked_for && context.engine()?.has_image(image, None)? {
        return Ok(image.to_owned());
    }
    if !is_asked_for && !ImageRef::names_registry(image) {
        // an id is no name, and what is no name is not here under another
        for name in short_names::perhaps_meant(image).unwrap_or_default() {
            let name = name.canonical();
            if context.engine()?.has_image(&name, None)? {
                return Ok(name);
            }
        }
    }
    if when == PullWhen::Never {
        return Ok(image.to_owned());
    }
    let meant = short_names::meant(image)?;
    if when == PullWhen::Missing {
        report::note(&format!("Unable to find image '{image}' locally"));
    }
    let pulled = pull::fetch_one_of(context, meant, |reference| Wish {
        reference,
        platform: None,
        quiet: false,
        registry: RegistryArgs::default(),
    })?;
    Ok(pulled.familiar())
}
