//! `rocker volume`.

use rocker_types::VolumeName;
use serde_json::{Value, json};

use super::{Context, Outcome, print};
use crate::cli::values;
use crate::exit_code::Status;
use crate::ui::{Column, ListFormat, Listing};

/// Make a volume
///
/// Prints its name. Making one that exists already succeeds.
#[derive(clap::Args, Debug)]
#[command(
    after_long_help = "Examples:\n  rocker volume create data\n  rocker volume create --label tier=db"
)]
pub(crate) struct CreateArgs {
    /// Attach a label
    #[arg(long, value_name = "KEY[=VALUE]", value_parser = values::label)]
    label: Vec<(String, String)>,

    /// Name of the volume; a random one by default
    #[arg(value_name = "VOLUME")]
    name: Option<VolumeName>,
}

pub(crate) fn create(context: &mut Context, args: CreateArgs) -> Outcome {
    let labels = args.label.into_iter().collect();
    let name = context.engine()?.create_volume(args.name, labels)?;
    print(&format!("{name}\n"))?;
    Ok(Status::Success)
}

/// List volumes
#[derive(clap::Args, Debug)]
#[command(
    after_long_help = "Examples:\n  rocker volume ls\n  rocker volume ls --format '{{.Name}} {{.Mountpoint}}'"
)]
pub(crate) struct LsArgs {
    /// Print names only
    #[arg(short, long)]
    quiet: bool,

    /// How to print: table, wide, json, json-array, csv, names, or a Go template
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
}

const SHOWN: &[Column] = &[
    Column::new("Driver", "DRIVER"),
    Column::new("Name", "VOLUME NAME"),
];
const HIDDEN: &[Column] = &[
    Column::new("Scope", "SCOPE"),
    Column::new("Mountpoint", "MOUNTPOINT"),
    Column::new("Labels", "LABELS"),
];

pub(crate) fn ls(context: &mut Context, args: LsArgs) -> Outcome {
    let volumes = context.engine()?.volumes()?;
    let rows = volumes.iter().map(|volume| {
        json!({
            "Driver": "local",
            "Name": volume.name.as_str(),
            "Scope": "local",
            "Mountpoint": volume.mountpoint,
            "Labels": super::labels_text(&volume.labels),
            "_Labels": volume.labels,
        })
    });
    let listing = Listing {
        shown: SHOWN,
        hidden: HIDDEN,
        rows: rows.collect::<Vec<Value>>(),
        key: "Name",
        name: "Name",
        headings: true,
    };
    print(&listing.render(ListFormat::new(args.quiet, args.format.as_deref()))?)?;
    Ok(Status::Success)
}

/// Remove volumes
///
/// Prints each name as it was given. A volume that a container mounts is not removed.
#[derive(clap::Args, Debug)]
#[command(after_long_help = "Examples:\n  rocker volume rm data\n  rocker volume rm data cache")]
pub(crate) struct RmArgs {
    /// Volumes to remove, by name
    #[arg(required = true, value_name = "VOLUME")]
    volumes: Vec<String>,
}

pub(crate) fn rm(context: &mut Context, args: RmArgs) -> Outcome {
    context.for_each(&args.volumes, |engine, name| {
        let volume = engine.find_volume(name)?;
        Ok(engine.remove_volume(&volume.name)?)
    })
}
