//! `rocker manifest inspect`: what registries have.

use rocker_engine::{EngineError, LookError, RemoteDocument, fetch_document};
use rocker_types::ImageRef;
use serde_json::{Value, json};

use super::fetch::first_of;
use super::registry::RegistryArgs;
use super::{CommandError, Context, Outcome, print, short_names};
use crate::exit_code::Status;
use crate::terminal::interruptible;

/// Show the manifest or the index that a name means at its registry
///
/// Nothing is pulled. The JSON is shown as the registry has it, indented; with --verbose in an
/// object with its digest, its length and its media type.
#[derive(clap::Args, Debug)]
#[command(
    after_long_help = "Examples:\n  rocker manifest inspect alpine:3.20\n  rocker manifest inspect -v quay.io/podman/hello"
)]
pub(crate) struct ManifestArgs {
    /// Show its digest, length and media type as well
    #[arg(short, long)]
    verbose: bool,

    /// Name of an image
    #[arg(value_name = "IMAGE")]
    image: String,

    #[command(flatten)]
    registry: RegistryArgs,
}

pub(crate) fn manifest(_: &mut Context, args: ManifestArgs) -> Outcome {
    let limits = super::config::read()?.limits;
    let meant = short_names::meant(&args.image)?;
    let (reference, found) = first_of(meant, &args.registry, |reference| {
        let places = args.registry.places(&reference)?;
        let found = patiently(|cancelled| {
            fetch_document(&reference, &places, &limits.documents, cancelled)
        })?;
        Ok((reference, found))
    })?;
    let value = shown(&reference, &found, args.verbose)?;
    let text = serde_json::to_string_pretty(&value);
    let text = text.map_err(|source| CommandError::Json("the manifest", source))?;
    print(&(text + "\n"))?;
    Ok(Status::Success)
}

fn shown(
    reference: &ImageRef,
    found: &RemoteDocument,
    verbose: bool,
) -> Result<Value, CommandError> {
    let document: Value = serde_json::from_slice(&found.bytes)
        .map_err(|source| CommandError::Json("the manifest", source))?;
    if !verbose {
        return Ok(document);
    }
    Ok(json!({
        "Ref": reference.canonical(),
        "Descriptor": {
            "mediaType": found.media_type,
            "digest": found.digest.to_string(),
            "size": found.bytes.len(),
        },
        "Document": document,
    }))
}

/// Looks at a registry. Ctrl-C ends it, and is an error also if it comes too late for that.
pub(super) fn patiently<T>(
    look: impl FnOnce(&dyn Fn() -> bool) -> Result<T, LookError>,
) -> Result<T, CommandError> {
    let looked = interruptible(|cancelled| look(cancelled));
    match looked.map_err(CommandError::Terminal)? {
        (_, Some(signal)) => Err(CommandError::Ended(signal)),
        (Ok(found), None) => Ok(found),
        (Err(error), None) => Err(EngineError::Look(Box::new(error)).into()),
    }
}
