//! `rocker rmi`.

use rocker_engine::{Engine, EngineError, RmiForce};
use rocker_types::ImageRef;

use super::image_filter;
use super::{CommandError, Context, Outcome, print};
use crate::exit_code::Status;
use crate::report;

/// Remove images
///
/// Takes a name away; the image goes with its last name, unless a container uses it or it is mounted. In a name, *
/// stands for anything but a slash.
#[derive(clap::Args, Debug)]
#[command(
    after_long_help = "Examples:\n  rocker rmi debian:trixie\n  rocker rmi -f 4f1c8c1d\n  rocker rmi 'app:*'"
)]
pub(crate) struct RmiArgs {
    /// Remove an image by its ID even if it has several names, or is mounted; one that is not there is no failure
    #[arg(short, long)]
    force: bool,

    /// Remove all images
    #[arg(short, long, conflicts_with = "images")]
    all: bool,

    /// Take an image that is not there as removed
    #[arg(short, long)]
    ignore: bool,

    /// Keep images without a name that the image was built on; rocker removes none of them
    #[arg(long)]
    no_prune: bool,

    /// Images to remove, by name or ID
    #[arg(required_unless_present = "all", value_name = "IMAGE")]
    images: Vec<String>,
}

pub(crate) fn rmi(context: &mut Context, args: RmiArgs) -> Outcome {
    let engine = context.engine()?;
    let mut status = Status::Success;
    let mut failed = |error: CommandError| {
        report::error(&error);
        status = Status::SomeFailed;
    };
    let force = RmiForce {
        names: args.force || args.all,
        mounts: args.force,
    };
    for image in wanted(engine, &args)? {
        // an IPv6 address of a registry stands in brackets too
        let is_pattern = image.contains(['*', '?', '[']) && image.parse::<ImageRef>().is_err();
        let queries = match is_pattern {
            true => names_like(engine, &image),
            false => Ok(vec![image]),
        };
        let queries = match queries {
            Ok(queries) => queries,
            Err(CommandError::Engine(EngineError::NoSuchImage(_))) if args.ignore => continue,
            Err(error) => {
                failed(error);
                continue;
            }
        };
        for query in queries {
            match engine.remove_image(&query, force) {
                Ok(removed) => {
                    let untagged = removed
                        .untagged
                        .iter()
                        .map(|name| format!("Untagged: {name}\n"));
                    let deleted = removed.deleted.iter().map(|id| format!("Deleted: {id}\n"));
                    print(&untagged.chain(deleted).collect::<String>())?;
                }
                Err(EngineError::NoSuchImage(_)) if args.ignore => {}
                // as docker: said, but nothing that a script should stop for
                Err(error @ EngineError::NoSuchImage(_)) if args.force => report::error(&error),
                Err(error) => failed(error.into()),
            }
        }
    }
    Ok(status)
}

fn wanted(engine: &mut Engine, args: &RmiArgs) -> Result<Vec<String>, CommandError> {
    if !args.all {
        return Ok(args.images.clone());
    }
    let images = engine.images()?;
    Ok(images.iter().map(|image| image.id.to_string()).collect())
}

/// All names that fit a pattern.
fn names_like(engine: &mut Engine, text: &str) -> Result<Vec<String>, CommandError> {
    let pattern = image_filter::pattern(text)
        .map_err(|message| CommandError::conflict(message, "a pattern has *, ? and [a-z] in it"))?;
    let images = engine.images()?;
    let names = images.iter().flat_map(|image| &image.tags);
    let names = names.filter(|name| image_filter::names(&pattern, name));
    let names: Vec<_> = names.map(ImageRef::canonical).collect();
    if names.is_empty() {
        return Err(EngineError::NoSuchImage(text.to_owned()).into());
    }
    Ok(names)
}
