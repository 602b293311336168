//! `rocker manifest inspect` and `rocker search`: what registries have.

use rocker_engine::{PullError, RemoteDocument, fetch_document, list_tags};
use rocker_types::ImageRef;
use serde_json::{Value, json};

use super::registry::RegistryArgs;
use super::{CommandError, Context, Outcome, print, short_names};
use crate::exit_code::Status;
use crate::terminal::{SignalPlan, Signals};
use crate::ui::{Column, ListFormat, Listing};

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

/// List the tags that a repository has at its registry
#[derive(clap::Args, Debug)]
#[command(
    after_long_help = "Examples:\n  rocker search --list-tags quay.io/podman/hello\n  rocker search --list-tags --limit 1000 docker.io/library/alpine"
)]
pub(crate) struct SearchArgs {
    /// List the tags of one repository
    #[arg(long, required = true)]
    list_tags: bool,

    /// How many to list
    #[arg(long, value_name = "NUMBER", default_value_t = 25)]
    limit: usize,

    /// How to print: table, json, or a Go template
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,

    /// The repository
    #[arg(value_name = "REPOSITORY")]
    repository: String,

    #[command(flatten)]
    registry: RegistryArgs,
}

const COLUMNS: &[Column] = &[
    Column {
        field: "Name",
        header: "NAME",
    },
    Column {
        field: "Tag",
        header: "TAG",
    },
];

pub(crate) fn manifest(_: &mut Context, args: ManifestArgs) -> Outcome {
    let reference = short_names::meant(&args.image)?.remove(0);
    let places = args.registry.places(&reference)?;
    let limits = super::config::read()?.limits;
    let found =
        patiently(|cancelled| fetch_document(&reference, &places, &limits.documents, cancelled))?;
    let value = shown(&reference, &found, args.verbose)?;
    let text = serde_json::to_string_pretty(&value);
    let text = text.map_err(|source| CommandError::Json("the manifest", source))?;
    print(&(text + "\n"))?;
    Ok(Status::Success)
}

pub(crate) fn search(_: &mut Context, args: SearchArgs) -> Outcome {
    let repository = short_names::meant(&args.repository)?.remove(0);
    if args.repository.contains('@') || names_a_tag(&args.repository) {
        return Err(CommandError::conflict(
            format!("{:?} is one image of a repository", args.repository),
            "leave the tag out",
        ));
    }
    let places = args.registry.places(&repository)?;
    let tags = patiently(|cancelled| list_tags(&repository, &places, args.limit, cancelled))?;
    let name = repository.canonical();
    let name = name
        .rsplit_once(':')
        .map_or(name.as_str(), |(name, _)| name);
    let rows = tags.iter().map(|tag| json!({"Name": name, "Tag": tag}));
    let listing = Listing {
        shown: COLUMNS,
        hidden: &[],
        rows: rows.collect(),
        key: "Tag",
        headings: true,
    };
    print(&listing.render(ListFormat::new(false, args.format.as_deref()))?)?;
    Ok(Status::Success)
}

/// Whether a tag was typed: a colon after the last slash.
fn names_a_tag(name: &str) -> bool {
    name.rsplit('/')
        .next()
        .is_some_and(|last| last.contains(':'))
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
fn patiently<T>(
    work: impl FnOnce(&dyn Fn() -> bool) -> Result<T, PullError>,
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
        (Err(error), None) => Err(CommandError::Engine(rocker_engine::EngineError::Pull(
            Box::new(error),
        ))),
    }
}
