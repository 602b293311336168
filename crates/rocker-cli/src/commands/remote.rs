//! `rocker manifest inspect`: what registries have.

use rocker_engine::{EngineError, RemoteDocument, fetch_document};
use rocker_types::ImageRef;
use serde_json::{Value, json};

use super::registry::RegistryArgs;
use super::{CommandError, Context, Outcome, print, short_names};
use crate::exit_code::Status;
use crate::terminal::{SignalPlan, Signals};

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
    let reference = short_names::meant(&args.image)?.remove(0);
    let places = args.registry.places(&reference)?;
    let limits = super::config::read()?.limits;
    let found = patiently(|cancelled| {
        let found = fetch_document(&reference, &places, &limits.documents, cancelled);
        found.map_err(|error| EngineError::Pull(Box::new(error)))
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

/// Ctrl-C ends the waiting.
pub(super) fn patiently<T>(
    work: impl FnOnce(&dyn Fn() -> bool) -> Result<T, EngineError>,
) -> Result<T, CommandError> {
    let mut signals = Signals::take(SignalPlan::Interrupt).map_err(CommandError::Terminal)?;
    let stopped_by = std::cell::Cell::new(None);
    let cancelled = || {
        let signal = signals.next().ok().flatten();
        stopped_by.set(stopped_by.get().or(signal));
        stopped_by.get().is_some()
    };
    let outcome = work(&cancelled);
    signals
        .follow(SignalPlan::Ignore)
        .map_err(CommandError::Terminal)?;
    match (outcome, stopped_by.get()) {
        (Ok(found), _) => Ok(found),
        (Err(_), Some(signal)) => Err(CommandError::Ended(signal)),
        (Err(error), None) => Err(CommandError::Engine(error)),
    }
}
