//! `rocker inspect`, and its forms for one kind of object.

use rocker_engine::{Engine, EngineError};
use rocker_types::{ContainerQuery, Diagnose as _, ErrorKind};
use serde::Serialize as _;
use serde_json::Value;

use super::{CommandError, Context, Outcome, print};
use crate::exit_code::Status;
use crate::report;
use crate::template::Template;

/// Print everything about containers, images and volumes
///
/// A name is looked for among containers, then images, then volumes. The answer is a JSON array,
/// or what the template makes of each object.
#[derive(clap::Args, Debug)]
#[command(
    after_long_help = "Examples:\n  rocker inspect web\n  rocker inspect -f '{{.State.ExitCode}}' web\n  rocker inspect --type image debian"
)]
pub(crate) struct InspectArgs {
    /// How to print each object: json, or a Go template
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,

    /// Look among objects of one kind alone: container, image or volume
    #[arg(long = "type", value_name = "KIND", hide_possible_values = true)]
    kind: Option<Kind>,

    /// Names or IDs
    #[arg(required = true, value_name = "NAME|ID")]
    names: Vec<String>,
}

/// What there is to inspect.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Container,
    Image,
    Volume,
}

/// Print everything about objects of one kind
#[derive(clap::Args, Debug)]
#[command(
    after_long_help = "Examples:\n  rocker image inspect -f '{{.Os}}/{{.Architecture}}' debian"
)]
pub(crate) struct OneKindArgs {
    /// How to print each object: json, or a Go template
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,

    /// Names or IDs
    #[arg(required = true, value_name = "NAME|ID")]
    names: Vec<String>,
}

type Look = fn(&mut Engine, &str) -> Result<Value, EngineError>;

const CONTAINER: Look = |engine, name| engine.inspect_container(&ContainerQuery::new(name));
const IMAGE: Look = |engine, name| engine.inspect_image(name);
const VOLUME: Look = |engine, name| engine.inspect_volume(name);

pub(crate) fn inspect(context: &mut Context, args: InspectArgs) -> Outcome {
    let kind = args.kind;
    let args = OneKindArgs {
        format: args.format,
        names: args.names,
    };
    match kind {
        None => show(context, &args, &[CONTAINER, IMAGE, VOLUME]),
        Some(Kind::Container) => container(context, args),
        Some(Kind::Image) => image(context, args),
        Some(Kind::Volume) => volume(context, args),
    }
}

pub(crate) fn container(context: &mut Context, args: OneKindArgs) -> Outcome {
    show(context, &args, &[CONTAINER])
}

pub(crate) fn image(context: &mut Context, args: OneKindArgs) -> Outcome {
    show(context, &args, &[IMAGE])
}

pub(crate) fn volume(context: &mut Context, args: OneKindArgs) -> Outcome {
    show(context, &args, &[VOLUME])
}

fn show(context: &mut Context, args: &OneKindArgs, looks: &[Look]) -> Outcome {
    let template = match args.format.as_deref() {
        None | Some("" | "json") => None,
        Some(text) => Some(Template::parse(text)?),
    };
    let engine = context.engine()?;
    let mut status = Status::Success;
    let mut found = Vec::new();
    for name in &args.names {
        match find(engine, name, looks) {
            Ok(value) => found.push(value),
            Err(error) => {
                report::error(&error);
                status = Status::SomeFailed;
            }
        }
    }
    match (&template, args.format.as_deref()) {
        (Some(template), _) => {
            for value in &found {
                print(&format!("{}\n", template.render(value)?))?;
            }
        }
        (None, Some("json")) => {
            for value in &found {
                print(&format!("{value}\n"))?;
            }
        }
        (None, _) => print(&array(&found)?)?,
    }
    Ok(status)
}

fn find(engine: &mut Engine, name: &str, looks: &[Look]) -> Result<Value, CommandError> {
    for look in looks {
        match look(engine, name) {
            Err(error) if error.kind() == ErrorKind::NotFound && looks.len() > 1 => {}
            other => return Ok(other?),
        }
    }
    Err(CommandError::NoSuchObject(name.to_owned()))
}

/// Docker's indent is four blanks.
fn array(values: &[Value]) -> Result<String, CommandError> {
    let failed = |source| CommandError::Json("the objects", source);
    let mut text = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut text, formatter);
    values.serialize(&mut serializer).map_err(failed)?;
    Ok(String::from_utf8_lossy(&text).into_owned() + "\n")
}
