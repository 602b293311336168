//! `rocker ps`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rocker_engine::ContainerSummary;
use rocker_types::{ContainerStatus, VolumeSource};
use serde_json::{Value, json};

use super::{Context, Outcome, labels_text, ports_text, print};
use crate::exit_code::Status;
use crate::ui::{Column, ListFormat, Listing, human, local_time, shortened};

/// List containers
///
/// Those that run, or all of them with --all; the newest first.
#[derive(clap::Args, Debug)]
#[command(
    after_long_help = "Examples:\n  rocker ps -a\n  rocker ps --format 'table {{.Names}}\\t{{.Status}}'"
)]
pub(crate) struct PsArgs {
    /// List containers that do not run too
    #[arg(short, long)]
    all: bool,

    /// Print IDs only
    #[arg(short, long)]
    quiet: bool,

    /// How to print: table, wide, json, json-array, csv, names, a Go template, or table and a
    /// template
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,

    /// Print whole IDs and commands
    #[arg(long)]
    no_trunc: bool,
}

const SHOWN: &[Column] = &[
    Column::new("ID", "CONTAINER ID"),
    Column::new("Image", "IMAGE"),
    Column::new("Command", "COMMAND"),
    Column::new("RunningFor", "CREATED"),
    Column::new("Status", "STATUS"),
    Column::new("Ports", "PORTS"),
    Column::new("Names", "NAMES"),
];

const HIDDEN: &[Column] = &[
    Column::new("CreatedAt", "CREATED AT"),
    Column::new("State", "STATE"),
    Column::new("Labels", "LABELS"),
    Column::new("Mounts", "MOUNTS"),
    Column::new("LocalVolumes", "LOCAL VOLUMES"),
    Column::new("Networks", "NETWORKS"),
    Column::new("Platform", "PLATFORM"),
    Column::new("Pid", "PID"),
    Column::new("ExitCode", "EXIT CODE"),
    Column::new("RestartCount", "RESTARTS"),
];

/// How many characters of a command fit into the table.
const COMMAND_WIDTH: usize = 20;

pub(crate) fn ps(context: &mut Context, args: PsArgs) -> Outcome {
    let format = ListFormat::new(args.quiet, args.format.as_deref());
    let containers = context.engine()?.containers(args.all)?;
    let view = View {
        whole: args.no_trunc,
        ..View::new()
    };
    let rows = containers.iter().map(|container| {
        let mut row = view.shown(container);
        if !matches!(format, ListFormat::Table | ListFormat::Quiet) {
            row.extend(view.hidden(container));
        }
        Value::Object(row)
    });
    let listing = Listing {
        shown: SHOWN,
        hidden: HIDDEN,
        rows: rows.collect(),
        key: "ID",
        name: "Names",
        headings: true,
    };
    print(&listing.render(format)?)?;
    Ok(Status::Success)
}

type Row = serde_json::Map<String, Value>;

/// How containers are looked at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View {
    now: SystemTime,
    /// Nothing is cut.
    whole: bool,
}

impl View {
    /// As they are now, cut to the width of a table.
    pub(crate) fn new() -> Self {
        Self {
            now: SystemTime::now(),
            whole: false,
        }
    }

    /// The columns of the plain table.
    pub(crate) fn shown(self, container: &ContainerSummary) -> Row {
        let id = match self.whole {
            true => container.id.as_str(),
            false => container.id.short(),
        };
        fields([
            ("ID", json!(id)),
            ("Image", json!(container.definition.image)),
            ("Command", json!(self.command(container))),
            (
                "RunningFor",
                json!(format!("{} ago", self.since(Some(container.created_ns)))),
            ),
            ("Status", json!(self.status(container))),
            (
                "Ports",
                json!(ports_text(&container.ports, &container.definition.exposed)),
            ),
            ("Names", json!(container.name.as_str())),
        ])
    }

    /// What only templates and JSON show.
    pub(crate) fn hidden(self, container: &ContainerSummary) -> Row {
        let definition = &container.definition;
        let mounts: Vec<String> = definition
            .mounts
            .iter()
            .map(|mount| match &mount.spec.source {
                VolumeSource::Bind(path) => path.display().to_string(),
                VolumeSource::Named(name) => name.to_string(),
                VolumeSource::Anonymous => String::new(),
            })
            .collect();
        fields([
            ("CreatedAt", json!(local_time(container.created_ns))),
            ("State", json!(container.status.as_str())),
            ("Labels", json!(labels_text(&definition.labels))),
            ("_Labels", json!(definition.labels)),
            ("Mounts", json!(mounts.join(","))),
            (
                "LocalVolumes",
                json!(definition.volumes().len().to_string()),
            ),
            ("Networks", json!(definition.network.as_str())),
            ("Platform", json!("linux")),
            ("Pid", json!(container.pid.unwrap_or(0).to_string())),
            ("ExitCode", json!(container.exit_code.to_string())),
            ("RestartCount", json!(container.restarts.to_string())),
        ])
    }

    fn command(self, container: &ContainerSummary) -> String {
        let command = container.definition.argv().join(" ");
        let command = match self.whole {
            true => command,
            false => shortened(&command, COMMAND_WIDTH),
        };
        // Quoted, with control characters escaped: they come from images.
        Value::String(command).to_string()
    }

    /// The words that scripts look for.
    fn status(self, container: &ContainerSummary) -> String {
        let code = container.exit_code;
        match container.status {
            ContainerStatus::Created => "Created".to_owned(),
            ContainerStatus::Running => format!("Up {}", self.since(container.started_ns)),
            ContainerStatus::Paused => format!("Up {} (Paused)", self.since(container.started_ns)),
            ContainerStatus::Restarting => {
                format!(
                    "Restarting ({code}) {} ago",
                    self.since(container.finished_ns)
                )
            }
            ContainerStatus::Exited => {
                format!("Exited ({code}) {} ago", self.since(container.finished_ns))
            }
            ContainerStatus::Removing => "Removal In Progress".to_owned(),
            ContainerStatus::Dead => "Dead".to_owned(),
        }
    }

    fn since(self, ns: Option<i64>) -> String {
        let then = ns.and_then(|ns| u64::try_from(ns).ok()).unwrap_or_default();
        let then = UNIX_EPOCH + Duration::from_nanos(then);
        human::duration(self.now.duration_since(then).unwrap_or_default())
    }
}

fn fields<const N: usize>(fields: [(&str, Value); N]) -> Row {
    fields
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}
