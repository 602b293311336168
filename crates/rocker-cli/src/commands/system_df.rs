//! `rocker system df`.

use std::io::IsTerminal as _;

use rocker_engine::{DetailedUsage, DiskUsage, ImageUsage, Share};
use rocker_types::ImageRef;
use serde_json::{Value, json};

use super::image_filter::created;
use super::ps::View;
use super::{CommandError, Context, Outcome, labels_text, print};
use crate::exit_code::Status;
use crate::template::Template;
use crate::ui::{Column, ListFormat, Listing, human};

/// Show what images, containers and volumes take on disk
///
/// Sizes are those of du: blocks on disk, with everything that belongs to a thing. The rows
/// together are the whole data directory. On a terminal, and with --verbose, three rows more say
/// what logs, unfinished pulls and the database take.
///
/// What can be reclaimed is that of images without a container, of containers that do not run,
/// and of volumes that no container mounts.
#[derive(clap::Args, Debug)]
#[command(
    after_long_help = "Examples:\n  rocker system df -v\n  rocker system df --format '{{.Type}} {{.Size}}'"
)]
pub(crate) struct DfArgs {
    /// Show each image, container and volume
    #[arg(short, long)]
    verbose: bool,

    /// How to print: table, wide, json, json-array, csv, names, or a Go template
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
}

const SHOWN: &[Column] = &[
    Column::new("Type", "TYPE"),
    Column::new("TotalCount", "TOTAL"),
    Column::new("Active", "ACTIVE"),
    Column::new("Size", "SIZE"),
    Column::new("Reclaimable", "RECLAIMABLE"),
];
const IMAGES: &[Column] = &[
    Column::new("Repository", "REPOSITORY"),
    Column::new("Tag", "TAG"),
    Column::new("ID", "IMAGE ID"),
    Column::new("CreatedSince", "CREATED"),
    Column::new("Size", "SIZE"),
    Column::new("SharedSize", "SHARED SIZE"),
    Column::new("UniqueSize", "UNIQUE SIZE"),
    Column::new("Containers", "CONTAINERS"),
];
const CONTAINERS: &[Column] = &[
    Column::new("ID", "CONTAINER ID"),
    Column::new("Image", "IMAGE"),
    Column::new("Command", "COMMAND"),
    Column::new("LocalVolumes", "LOCAL VOLUMES"),
    Column::new("Size", "SIZE"),
    Column::new("RunningFor", "CREATED"),
    Column::new("Status", "STATUS"),
    Column::new("Names", "NAMES"),
];
const VOLUMES: &[Column] = &[
    Column::new("Name", "VOLUME NAME"),
    Column::new("Links", "LINKS"),
    Column::new("Size", "SIZE"),
];

pub(crate) fn df(context: &mut Context, args: DfArgs) -> Outcome {
    let engine = context.engine()?;
    let text = match (args.verbose, args.format.as_deref()) {
        (false, format) => {
            let usage = engine.disk_usage()?;
            let is_plain = format.is_none_or(|format| format.is_empty() || format == "table");
            let all = is_plain && std::io::stdout().is_terminal();
            listing(SHOWN, rows(&usage, all)).render(ListFormat::new(false, format))?
        }
        (true, None | Some("" | "table")) => {
            let detailed = engine.disk_usage_of_each()?;
            let usage = engine.disk_usage()?;
            tables(&detailed, &usage)?
        }
        (true, Some(format)) => {
            let value = value(&engine.disk_usage_of_each()?, &engine.disk_usage()?);
            match format {
                "wide" | "json-array" | "csv" | "names" => {
                    return Err(CommandError::conflict(
                        format!("--format {format} is for one list, and -v prints four"),
                        "use json or a Go template, or leave -v out",
                    ));
                }
                "json" => value.to_string() + "\n",
                format => Template::parse(format)?.render(&value)? + "\n",
            }
        }
    };
    print(&text)?;
    Ok(Status::Success)
}

fn listing(shown: &'static [Column], rows: Vec<Value>) -> Listing<'static> {
    Listing {
        shown,
        hidden: &[],
        rows,
        key: "Type",
        name: "Type",
        headings: true,
    }
}

/// Docker's four, so that scripts see what they know, and ours.
fn rows(usage: &DiskUsage, all: bool) -> Vec<Value> {
    let row = |name: &str, share: &Share| {
        json!({
            "Type": name,
            "TotalCount": share.count.to_string(),
            "Active": share.active.to_string(),
            "Size": human::size(share.bytes),
            "Reclaimable": reclaimable(share),
            "RawSize": share.bytes,
            "RawReclaimable": share.reclaimable_bytes,
        })
    };
    let of_rocker = |name: &str, bytes: u64| {
        json!({
            "Type": name, "TotalCount": "", "Active": "", "Size": human::size(bytes), "Reclaimable": "",
            "RawSize": bytes, "RawReclaimable": 0,
        })
    };
    let mut rows = vec![
        row("Images", &usage.images),
        row("Containers", &usage.containers),
        row("Local Volumes", &usage.volumes),
        json!({
            "Type": "Build Cache", "TotalCount": "0", "Active": "0", "Size": "0B", "Reclaimable": "0B",
            "RawSize": 0, "RawReclaimable": 0,
        }),
    ];
    if all {
        rows.push(of_rocker("Logs", usage.logs_bytes));
        rows.push(of_rocker("Partial downloads", usage.partial_bytes));
        rows.push(of_rocker("Database", usage.database_bytes));
    }
    rows
}

/// `1.2GB (80%)`, without the part where there is nothing to be a part of.
fn reclaimable(share: &Share) -> String {
    let size = human::size(share.reclaimable_bytes);
    match share
        .reclaimable_bytes
        .saturating_mul(100)
        .checked_div(share.bytes)
    {
        Some(percent) => format!("{size} ({percent}%)"),
        None => size,
    }
}

fn tables(
    detailed: &DetailedUsage,
    usage: &DiskUsage,
) -> Result<String, crate::template::TemplateError> {
    let mut text = String::new();
    let parts = [
        ("Images", IMAGES, images(detailed)),
        ("Containers", CONTAINERS, containers(detailed)),
        ("Local Volumes", VOLUMES, volumes(detailed)),
    ];
    for (title, columns, rows) in parts {
        let table = listing(columns, rows).render(ListFormat::Table)?;
        text.push_str(&format!("{title} space usage:\n\n{table}\n"));
    }
    text.push_str(&format!(
        "Build cache usage: 0B\n\nLogs: {}\nPartial downloads: {}\nDatabase: {}\n",
        human::size(usage.logs_bytes),
        human::size(usage.partial_bytes),
        human::size(usage.database_bytes)
    ));
    Ok(text)
}

fn value(detailed: &DetailedUsage, usage: &DiskUsage) -> Value {
    json!({
        "Images": images(detailed),
        "Containers": containers(detailed),
        "Volumes": volumes(detailed),
        "BuildCache": [],
        "LogsSize": usage.logs_bytes,
        "PartialSize": usage.partial_bytes,
        "DatabaseSize": usage.database_bytes,
    })
}

fn images(detailed: &DetailedUsage) -> Vec<Value> {
    let mut rows = Vec::new();
    for usage in &detailed.images {
        if usage.image.tags.is_empty() {
            rows.push(image(usage, None));
        }
        rows.extend(usage.image.tags.iter().map(|name| image(usage, Some(name))));
    }
    rows
}

fn image(usage: &ImageUsage, name: Option<&ImageRef>) -> Value {
    json!({
        "Repository": name.map_or_else(|| "<none>".to_owned(), ImageRef::familiar_repository),
        "Tag": name.and_then(ImageRef::tag).unwrap_or("<none>"),
        "ID": usage.image.id.short(),
        "CreatedSince": human::ago(created(&usage.image)),
        "Size": human::size(usage.shared_bytes + usage.unique_bytes),
        "SharedSize": human::size(usage.shared_bytes),
        "UniqueSize": human::size(usage.unique_bytes),
        "Containers": usage.image.containers.len().to_string(),
    })
}

fn containers(detailed: &DetailedUsage) -> Vec<Value> {
    let view = View::new();
    let rows = detailed.containers.iter().map(|(container, bytes)| {
        let mut row = view.shown(container);
        row.extend(view.hidden(container));
        row.insert("Size".to_owned(), json!(human::size(*bytes)));
        Value::Object(row)
    });
    rows.collect()
}

fn volumes(detailed: &DetailedUsage) -> Vec<Value> {
    let rows = detailed.volumes.iter().map(|(volume, links, bytes)| {
        json!({
            "Name": volume.name.as_str(),
            "Links": links.to_string(),
            "Size": human::size(*bytes),
            "Labels": labels_text(&volume.labels),
            "_Labels": volume.labels,
        })
    });
    rows.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_reclaimed_is_told_with_its_part() {
        let share = |bytes, reclaimable_bytes| Share {
            bytes,
            reclaimable_bytes,
            ..Share::default()
        };
        let cases = [
            (0, 0, "0B"),
            (3_000, 1_000, "1kB (33%)"),
            (5, 5, "5B (100%)"),
            (7, 0, "0B (0%)"),
        ];
        for (bytes, free, expected) in cases {
            assert_eq!(reclaimable(&share(bytes, free)), expected);
        }
    }
}
