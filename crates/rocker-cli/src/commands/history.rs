//! `rocker history`.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use rocker_engine::BuildStep;
use rocker_types::{Platform, is_plain};
use serde_json::{Value, json};

use super::{Context, Outcome, platform, print};
use crate::cli::values;
use crate::exit_code::Status;
use crate::ui::{Column, ListFormat, Listing, human, shortened};

/// Show how an image was built
///
/// One line for each step of the build, the last one first, with what it took on disk.
#[derive(clap::Args, Debug)]
#[command(
    after_long_help = "Examples:\n  rocker history debian\n  rocker history --no-trunc --format '{{.CreatedBy}}' debian"
)]
pub(crate) struct HistoryArgs {
    /// Print sizes and times for people to read, which is the default
    #[arg(short = 'H', long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = values::truth)]
    human: Option<bool>,

    /// Print IDs only
    #[arg(short, long)]
    quiet: bool,

    /// How to print: table, wide, json, json-array, csv, names, a Go template, or table and a
    /// template
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,

    /// Print whole IDs and instructions
    #[arg(long)]
    no_trunc: bool,

    /// Only if the image is for this platform: OS[/ARCH[/VARIANT]]
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<Platform>,

    /// The image, by name or ID
    #[arg(value_name = "IMAGE")]
    image: String,
}

const SHOWN: &[Column] = &[
    Column::new("ID", "IMAGE"),
    Column::new("CreatedSince", "CREATED"),
    Column::new("CreatedBy", "CREATED BY"),
    Column::new("Size", "SIZE"),
    Column::new("Comment", "COMMENT"),
];
const HIDDEN: &[Column] = &[Column::new("CreatedAt", "CREATED AT")];

/// How many characters of an instruction fit into the table.
const INSTRUCTION_WIDTH: usize = 45;

/// Docker's word for the ID of what is no image by itself.
const MISSING: &str = "<missing>";

pub(crate) fn history(context: &mut Context, args: HistoryArgs) -> Outcome {
    let engine = context.engine()?;
    let image = engine.find_image(&args.image)?;
    platform::require(engine, &args.image, args.platform.as_ref())?;
    let id = match args.no_trunc {
        true => image.id.to_string(),
        false => image.id.short().to_owned(),
    };
    let ids = std::iter::once(id.as_str()).chain(std::iter::repeat(MISSING));
    let steps = engine.history(&image.id.to_string())?;
    let rows = steps.iter().zip(ids).map(|(step, id)| row(step, id, &args));
    let listing = Listing {
        shown: SHOWN,
        hidden: HIDDEN,
        rows: rows.collect(),
        key: "ID",
        name: "ID",
        headings: true,
    };
    let format = ListFormat::new(args.quiet, args.format.as_deref());
    print(&listing.render(format)?)?;
    Ok(Status::Success)
}

fn row(step: &BuildStep, id: &str, args: &HistoryArgs) -> Value {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let created: Option<Timestamp> = step.entry.created.as_deref().and_then(|at| at.parse().ok());
    let at = created.map(|at| {
        let local = at.to_zoned(TimeZone::system());
        local.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
    });
    let at = at.unwrap_or_else(|| "N/A".to_owned());
    let human = args.human.unwrap_or(true);
    let instruction = visible(&text(&step.entry.created_by));
    json!({
        "ID": id,
        "CreatedSince": if human { human::ago(created) } else { at.clone() },
        "CreatedAt": at,
        "CreatedBy": if args.no_trunc { instruction } else { shortened(&instruction, INSTRUCTION_WIDTH) },
        "Size": if human { human::size(step.size_bytes) } else { step.size_bytes.to_string() },
        "Comment": visible(&text(&step.entry.comment)),
    })
}

/// On one line, and without what a terminal would obey: it comes from an image.
fn visible(text: &str) -> String {
    text.replace(|c| !is_plain(c), " ")
}
